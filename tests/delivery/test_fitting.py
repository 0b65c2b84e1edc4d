"""From a plan to rows that the table can hold exactly, and the rest with a reason."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from msgspec.structs import replace

from edge_delta import modes
from edge_delta.core.model import Batch, Column, Context, Cursor, Kind, Layout
from edge_delta.core.plan import ROWID, TIME, Plan, Rule
from edge_delta.delivery import fitting
from edge_delta.settings import load as config

STAMP = Column("at", "at", "TEXT", Kind.TEXT, "TEXT")
FLAG = Column("ok", "ok", "BOOLEAN", Kind.BOOLEAN, "NUMERIC")
LAYOUT = Layout((STAMP, FLAG), STAMP, None)
UTC_TIME = pl.Datetime("us", "UTC")


def at(second):
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def micros(second):
    return round(at(second).timestamp() * 1_000_000)


def frame(times, first=1):
    return pl.DataFrame(
        {ROWID: range(first, first + len(times)), "at": times}, schema={ROWID: pl.Int64, "at": pl.String}
    )


def batch(times, first=1, layout=LAYOUT, **marks):
    rows = frame(times, first)
    return Batch(rows, (), Cursor(0, first + len(times) - 1, None, marks), first, layout)


def text(second):
    return at(second).isoformat()


def taken(one):
    return fitting.not_taken_over(one, one.layout)[ROWID].to_list()


# -- what an older tool delivered


def test_rows_up_to_an_older_tools_time_are_left_out_and_those_behind_its_last_id_are_not():
    times = [text(s) for s in range(6)]
    assert taken(batch(times, since=micros(2), since_rowid=6)) == [4, 5, 6]
    assert taken(batch(times, since=micros(2), since_rowid=2)) == [3, 4, 5, 6]
    assert taken(batch(times)) == [1, 2, 3, 4, 5, 6]


def test_rows_without_a_time_that_can_be_read_are_taken():
    assert taken(batch([text(1), "soon", None, text(5)], since=micros(2), since_rowid=4)) == [2, 3, 4]


def test_a_batch_behind_the_older_tools_last_id_is_taken_whole():
    one = batch([text(0), text(1)], 5, since=micros(9), since_rowid=4)
    assert fitting.not_taken_over(one, LAYOUT) is one.frame
    assert taken(batch([text(0), text(1)], 5, since=micros(9), since_rowid=5)) == [6]


def test_without_a_time_column_nothing_can_be_left_out():
    assert taken(batch([text(0)], layout=Layout((FLAG,), None, None), since=micros(9), since_rowid=9)) == [1]


# -- types that the table has


def plan(**columns):
    rows = pl.DataFrame({ROWID: range(1, len(next(iter(columns.values()))) + 1), **columns})
    return Plan(rows.lazy())


def test_numbers_that_the_tables_type_holds_are_kept_and_the_others_are_rejected_by_the_rule_schema():
    given = plan(n=[1.0, 2.5, None, 4.0])
    kept, rejected = fitting.split(fitting.fitted(given, {"n": pl.Int64()}), given.frame.collect())
    assert kept.to_dict(as_series=False) == {"n": [1, None, 4]}
    assert kept.schema == {"n": pl.Int64()}
    [one] = rejected
    assert (one.rowid, one.rule, one.column) == (2, "schema", "n")
    assert one.reason == "the table holds Int64 and cannot hold this Float64"


def test_a_column_is_the_tables_in_any_case():
    given = plan(Temp=[1, 2])
    assert fitting.fitted(given, {"tEMP": pl.Float64()}).frame.collect_schema()["Temp"] == pl.Float64


def test_a_cast_that_always_works_rejects_nothing():
    fitted = fitting.fitted(plan(n=[1, 2]), {"n": pl.String()})
    assert fitted.rules == ()
    assert fitted.frame.collect()["n"].to_list() == ["1", "2"]


@pytest.mark.parametrize(
    "columns", [{}, {"n": pl.Int64()}, {"n": None}, {"other": pl.String()}, {"_rowid": pl.String()}]
)
def test_a_plan_that_fits_is_left_as_it_is(columns):
    given = plan(n=[1, 2])
    assert fitting.fitted(given, columns) is given


def test_times_are_never_cast():
    given = plan(t=[at(1)], n=[1], s=["2026-01-01"]).with_frame(
        pl.LazyFrame({ROWID: [1], "t": [at(1)], "n": [1], "s": ["x"]}, schema_overrides={"t": UTC_TIME})
    )
    assert fitting.fitted(given, {"t": pl.String(), "n": UTC_TIME, "s": UTC_TIME}) is given


def test_a_plan_with_its_own_rows_is_left_as_it_is():
    given = Plan(plan(n=[1.5]).frame, (), lambda rows: rows)
    assert fitting.fitted(given, {"n": pl.Int64()}) is given


# -- kept and rejected


def ruled(select=None):
    rows = pl.DataFrame({ROWID: [1, 2, 3], "n": [5, -1, 7], "ok": [True, False, None]})
    low = Rule("low", "n", "below zero", pl.col("n") < 0)
    high = Rule("high", "n", "above six", pl.col("n") > 6)
    made = Plan(rows.lazy()).with_rules(low, high)
    return rows, Plan(made.frame, made.rules, select)


def test_rows_that_break_a_rule_come_with_it_and_their_cells_as_they_were_stored():
    rows, made = ruled()
    kept, rejected = fitting.split(made, rows)
    assert kept.to_dict(as_series=False) == {"n": [5], "ok": [True]}
    assert [(r.rowid, r.rule, r.column, r.reason) for r in rejected] == [
        (2, "low", "n", "below zero"),
        (3, "high", "n", "above six"),
    ]
    assert [r.cells for r in rejected] == [{"n": -1, "ok": 0}, {"n": 7, "ok": None}]
    assert type(rejected[0].cells["ok"]) is int  # SQLite has no other


def test_rows_that_are_kept_still_have_their_ids_for_who_asks():
    rows, made = ruled()
    kept, rejected = fitting.kept_rows(made, rows)
    assert kept.to_dict(as_series=False) == {ROWID: [1], "n": [5], "ok": [True]}
    assert len(rejected) == 2


def test_without_a_broken_rule_all_rows_are_kept_without_the_helping_columns():
    rows, made = ruled()
    good = Plan(made.frame.filter(pl.col("n") == 5), made.rules)
    assert fitting.kept_rows(good, rows.head(1))[0].columns == [ROWID, "n", "ok"]
    kept, rejected = fitting.split(good, rows.head(1))
    assert (kept.columns, rejected) == (["n", "ok"], [])
    bare = Plan(rows.lazy())
    assert fitting.split(bare, rows)[0].columns == ["n", "ok"]
    assert fitting.split(bare, rows)[1] == []


def test_what_a_mode_selects_of_the_kept_rows_is_what_is_written():
    rows, made = ruled(lambda kept: kept.select(pl.col(ROWID).alias("alert"), pl.col("n") * 2))
    kept, rejected = fitting.split(made, rows)
    assert kept.to_dict(as_series=False) == {"alert": [1], "n": [10]}
    assert len(rejected) == 2


# -- the newest time


def span(kept, times, layout=LAYOUT):
    one = batch(times, layout=layout)
    return fitting.time_span(kept, fitting.with_times(one, one.frame))


def test_the_span_of_times_is_that_of_the_kept_rows_if_they_have_times():
    kept = pl.DataFrame({"timestamp": [at(3), at(9)]}, schema={"timestamp": UTC_TIME})
    assert span(kept, [text(30)]) == (at(3), at(9))


def test_where_the_kept_rows_have_none_it_is_that_of_the_source():
    kept = pl.DataFrame({"timestamp": ["x"]})
    assert span(kept, [text(30), text(4), "soon"]) == (at(4), at(30))
    assert span(kept, [text(30)], Layout((FLAG,), None, None)) == (None, None)
    assert span(pl.DataFrame({"n": [1]}), [None]) == (None, None)


# -- all of it


def test_a_frame_without_rows_has_the_batchs_columns_in_their_kinds():
    assert fitting.blank([STAMP, FLAG]).schema == {ROWID: pl.Int64, "at": pl.String, "ok": pl.Boolean}


@pytest.fixture
def processed(tmp_path):
    settings = config.load({"sqlite": str(tmp_path / "a.db"), "table_path": str(tmp_path / "lake")}, environment={})
    mode, context = modes.load("schematized", settings), Context("n1", 0, at(0))
    return lambda times: fitting.process(batch(times, layout=Layout((STAMP,), STAMP, None)), mode, {}, context)


def test_a_batch_comes_out_of_a_mode_as_rows_for_its_table_and_rejected_ones(processed):
    done = processed([text(3), "soon", text(1)])
    assert done.frame[ROWID].to_list() == [1, 2, 3]
    assert done.kept["timestamp"].to_list() == [at(3), at(1)]
    assert [(r.rowid, r.column) for r in done.rejected] == [(2, "at")]
    assert done.last_time == at(3)


# -- conditions that the table has


def test_rows_that_the_tables_conditions_refuse_are_rejected_and_the_others_stay_what_they_were(processed):
    done = processed([text(3), text(1), "soon", text(2), text(4)])
    assert fitting.without_refused(done, {}) is done
    left = fitting.without_refused(done, {0: ("early", "second < 3"), 3: ("late", "second < 4")})
    assert left.kept["timestamp"].to_list() == [at(1), at(2)]
    assert [(r.rowid, r.rule, r.column) for r in left.rejected] == [
        (1, "constraint", "early"),
        (3, done.rejected[0].rule, "at"),
        (5, "constraint", "late"),
    ]
    assert "second < 4" in left.rejected[-1].reason
    again = fitting.without_refused(left, {1: ("even", "second % 2 = 1")})
    assert again.kept["timestamp"].to_list() == [at(1)]
    assert [r.rowid for r in again.rejected] == [1, 3, 4, 5]


def test_rows_that_stand_for_many_are_refused_by_no_condition():
    many = fitting.Processed(frame([text(1)]), frame([text(1)]), [], None)
    assert fitting.without_refused(many, {0: ("early", "second < 3")}) is many


def test_times_are_parsed_once_for_a_frame_and_anew_for_other_rows():
    one = batch([text(second) for second in range(5)])
    first, again = (fitting.with_times(one, one.frame)[TIME] for _ in range(2))
    assert one.made[TIME][1].to_list() == first.to_list() == again.to_list() == [at(second) for second in range(5)]
    some = one.frame.tail(2)
    assert fitting.with_times(replace(one, frame=some), some)[TIME].to_list() == [at(3), at(4)]
