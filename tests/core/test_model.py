"""The values that cross borders: what a cursor says, and how much is waiting behind one."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from edge_delta.core.model import (
    BEFORE_FIRST,
    Batch,
    Column,
    Commit,
    Context,
    Cursor,
    Inventory,
    Kind,
    Layout,
    Refused,
    Rejection,
    Step,
    Waiting,
)

ID = Column("Id", "id", "INTEGER", Kind.INTEGER, "INTEGER")
TEMPERATURE = Column("Temp", "temp", "REAL", Kind.REAL, "REAL")
LAYOUT = Layout((ID, TEMPERATURE), None, ID)


def test_a_new_cursor_stands_before_every_rowid_that_sqlite_can_have():
    assert Cursor() == Cursor(0, -9223372036854775808, None, {})
    assert Cursor().rowid == BEFORE_FIRST


def test_the_next_generation_begins_before_its_first_row_and_keeps_nothing():
    assert Cursor(3, 77, 5, {"since": 1}).next_generation() == Cursor(4)


def test_a_cursor_that_moves_keeps_its_generation_and_its_marks():
    assert Cursor(3, 77, 5, {"since": 1}).moved_to(80, (9, 8)) == Cursor(3, 80, None, {"since": 1}, witnesses=(9, 8))


def test_marks_are_added_and_replaced():
    cursor = Cursor(3, 77, 5, {"since": 1, "begins": 2})
    assert cursor.marked(begins=4, open=5) == Cursor(3, 77, 5, {"since": 1, "begins": 4, "open": 5})
    assert cursor.marks == {"since": 1, "begins": 2}


@pytest.mark.parametrize(("first_open", "settled"), [(None, 77), (50, 49), (78, 77), (90, 77)])
def test_a_row_is_settled_once_it_is_delivered_and_in_no_open_window(first_open, settled):
    marks = {} if first_open is None else {"open": first_open}
    assert Cursor(0, 77, None, marks).settled == settled


def test_each_commit_of_a_sweep_has_another_number():
    once = Cursor(3, 77, None, {"since": 1}).swept()
    assert once == Cursor(3, 77, None, {"since": 1, "swept": 1})
    assert once.swept().marks["swept"] == 2


def test_an_inventory_tells_of_what_was_looked_at():
    assert str(Inventory(1_200, 3_000_000, "2026-01-01T00:00:00Z")) == "1,200 live files (3.0 MB)"
    whole = Inventory(1, 10**10, "2026-01-01T00:00:00Z", 2, 1_500_000, 3, 0, 4, None)
    assert str(whole) == (
        "1 live files (10,000.0 MB), 2 kept for the retention (1.5 MB), 3 dead (0.0 MB), 4 in the log"
    )


@pytest.mark.parametrize(
    ("first", "last", "rows"),
    [(None, None, 0), (1, None, 0), (None, 1, 0), (1, 1, 1), (5, 9, 5), (-3, 3, 7), (0, 0, 1)],
)
def test_what_waits_is_the_width_of_the_ids(first, last, rows):
    assert Waiting(first, last).rows == rows


def test_a_column_is_found_by_its_name_in_any_case():
    assert (LAYOUT.named("ID"), LAYOUT.named("temp"), LAYOUT.named("other")) == (ID, TEMPERATURE, None)


def test_rejected_rows_of_a_batch_count_as_read():
    rejected = Rejection(2, "type", "temp", "no number", {})
    frame = pl.DataFrame({"_rowid": [1, 3, 4]})
    assert Batch(frame, (rejected,), Cursor(0, 4), 1, LAYOUT).rows == 4


def test_a_step_without_a_commit_wrote_nothing():
    commit = Commit("t", 7, 5, Cursor(0, 9), 0.1)
    assert commit.bytes == 0
    steps = [Step("raw", "t", 6, 1, Refused(), one, 4, Cursor(0, 9), None) for one in (commit, None)]
    assert [step.written for step in steps] == [5, 0]


def test_nothing_is_refused_and_nothing_remembered_unless_it_is_said():
    refused = Refused()
    assert (refused.rows, refused.bytes, refused.by_rule) == (0, 0, {})
    assert Context("n1", 0, datetime(2026, 1, 1, tzinfo=UTC)).memory is None


def test_a_layout_names_its_columns_as_sqlite_does():
    assert LAYOUT.names == ("Id", "Temp")


def test_what_is_not_said_was_one_try_none_of_it_late_and_no_checksum():
    commit = Commit("t", 3, 10, Cursor(), 0.1)
    step = Step("raw", "t", 10, 0, Refused(), commit, 1, Cursor(), None)
    assert (Cursor().tally, commit.tries, step.late) == (0, 1, 0)
