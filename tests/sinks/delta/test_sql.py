from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from edge_delta.core.questions import COUNT, Condition, Question, Total, among, between, mine, named, within
from edge_delta.sinks.delta import sql

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        "node_id": ["o'brien", "o'brien", "other", "o'brien"],
        "source_generation": [0, 0, 0, 1],
        "id": [1, 2, 3, 2],
        'od"d Name': ["a'b", "c", "d", None],
        "at": [NOON, NOON, NOON, None],
    },
    schema_overrides={"at": pl.Datetime("us", "UTC"), "source_generation": pl.Int32},
)


@pytest.fixture
def ask(tmp_path):
    write_deltalake(tmp_path / "t", ROWS)
    table = DeltaTable(tmp_path / "t")

    def answered(question):
        return pl.DataFrame(QueryBuilder().register(sql.TABLE, table).execute(sql.statement(question)).read_all())

    return answered


def test_a_devices_rows_are_found_whatever_its_name_has(ask):
    assert sorted(ask(Question(mine("o'brien")))["id"]) == [1, 2, 2]
    assert sorted(ask(Question(mine("o'brien", 1)))["id"]) == [2]


def test_columns_of_any_name_are_asked_and_renamed(ask):
    rows = ask(Question((Condition('od"d Name', "=", "a'b"),), {"Text": 'od"d Name', **named("id")}))
    assert rows.to_dicts() == [{"Text": "a'b", "id": 1}]


@pytest.mark.parametrize("name", ["select", "from", "group", "order", "null", "Id"])
def test_a_column_may_be_called_like_a_word_of_sql(name, tmp_path):
    write_deltalake(tmp_path / "t", pl.DataFrame({name: [1, 2]}))
    statement = sql.statement(Question(between(name, 1, 2), named(name), {"n": COUNT}, order=(name,)))
    found = QueryBuilder().register(sql.TABLE, DeltaTable(tmp_path / "t")).execute(statement).read_all()
    assert pl.DataFrame(found).rows() == [(2, 1)]


def test_ranges_include_what_they_say(ask):
    assert sorted(ask(Question(between("id", 1, 3)))["id"]) == [2, 2, 3]
    assert sorted(ask(Question(between("id", -(2**63), 1)))["id"]) == [1]
    assert sorted(ask(Question(within("id", 2, 2)))["id"]) == [2, 2]
    assert sorted(ask(Question(among("at", [NOON])))["id"]) == [1, 2, 3]


def test_what_was_not_replayed_since_is_null_or_later(ask):
    later = Condition("at", "null or >=", datetime(2027, 1, 1, tzinfo=UTC))
    assert ask(Question((later,)))["id"].to_list() == [2]


def test_totals_are_by_group_and_repeated_groups_can_be_asked_for_alone(ask):
    totals = {"n": COUNT, "last": Total("max", "id")}
    assert ask(Question((), named("node_id"), totals, order=("node_id",))).to_dicts() == [
        {"node_id": "o'brien", "n": 3, "last": 2},
        {"node_id": "other", "n": 1, "last": 3},
    ]
    assert ask(Question((), named("id"), {"n": COUNT}, repeated=True)).to_dicts() == [{"id": 2, "n": 2}]
    assert ask(Question((), {"g": "source_generation"}, distinct=True, order=("g",)))["g"].to_list() == [0, 1]
