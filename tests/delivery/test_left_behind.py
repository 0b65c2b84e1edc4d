"""Rows of a file that has gone: read, or told as lost, and once."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import SourceReset, SourceUnavailable, StorageUnavailable
from edge_delta.core.events import Event
from edge_delta.core.model import Cursor, Mark, Waiting
from edge_delta.delivery.left_behind import LeftBehind


class Told:
    def __init__(self):
        self.events = []

    def warning(self, event, **said):
        self.events.append((event, said))


class File:
    """A source whose file has ten rows, and may have lost its name."""

    def __init__(self, *, moved=False, gone=None, file=(1, 2)):
        self.where, self.gone_for, self.file, self.rows, self.broken = moved, gone, file, 10, None
        self.census = self

    def moved(self):
        return self.where

    def gone(self):
        return self.gone_for

    def verify(self, _cursor):
        if self.broken is not None:
            raise self.broken

    def behind(self, rowid):
        return sum(1 for i in range(1, self.rows + 1) if i > rowid)

    def waiting(self, _cursor):
        return Waiting(1, self.rows)


class Lane:
    def __init__(self, name, rowid, *, stood=True):
        self.name, self.at, self.error, self.commits = name, Cursor(rowid=rowid), None, 0
        self.stood = self.at if stood else None

    def cursor(self):
        if self.error is not None:
            raise self.error
        self.stood = self.at
        return self.at

    def note(self, mark, value):
        self.at = self.at.marked(**{mark: value})

    def settle(self):
        if self.error is not None:
            raise self.error
        self.commits += 1


@pytest.fixture
def kept():
    return {}


def left(source, kept, log=None):
    def save(now):
        kept.clear()
        kept.update(now)

    return LeftBehind(source, lambda: dict(kept), save, log or Told())


def lost(*lanes):
    return [lane.at.marks.get(Mark.LOST, 0) for lane in lanes]


def test_what_another_process_left_is_told_of_each_lane_once(kept):
    left(File(moved=True), kept).note([Lane("a", 7), Lane("b", 4)])
    log, lanes = Told(), [Lane("a", 7), Lane("b", 4)]
    again = left(File(file=(1, 3)), kept, log)
    for _ in range(2):
        again.tell(lanes)
    assert [(event, said["mode"], said["rows"]) for event, said in log.events] == [
        (Event.LOST, "a", 3),
        (Event.LOST, "b", 3),
    ]
    assert lost(*lanes) == [3, 3]
    left(File(file=(1, 3)), kept, log).tell(lanes)
    assert lost(*lanes) == [3, 3]
    assert kept == {}


def test_a_lane_that_was_told_is_not_told_again_because_the_next_one_could_not_be(kept):
    left(File(moved=True), kept).note([Lane("a", 7)])
    lanes, again = [Lane("a", 7), Lane("b", 7)], left(File(file=(1, 3)), kept)
    lanes[1].error = StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        again.tell(lanes)
    lanes[1] = Lane("b", 7)
    again.tell(lanes)
    assert lost(*lanes) == [3, 3]


@pytest.mark.parametrize(("source", "rows"), [(File(), 10), (File(), 12), (File(file=(1, 3)), 10)])
def test_rows_that_are_there_again_are_not_lost(source, rows, kept):
    source.rows = rows
    left(File(moved=True), kept).note([Lane("a", 7)])
    lane = Lane("a", 7)
    left(source, kept).tell([lane])
    assert lost(lane) == [3 if source.file == (1, 3) else 0]


@pytest.mark.parametrize(("delivered", "rows"), [(0, 10), (6, 4), (10, 0)])
def test_rows_are_those_behind_the_cursor_where_no_table_answered_the_process_that_ended(delivered, rows, kept):
    away = Lane("a", 0, stood=False)
    away.error = StorageUnavailable("away")
    left(File(moved=True), kept).note([away])
    lane = Lane("a", delivered)
    left(File(file=(1, 3)), kept).tell([lane])
    assert lost(lane) == [rows]


@pytest.mark.parametrize(("answers", "rows"), [(True, 1), (False, 3)])
def test_rows_that_the_last_cycle_delivered_are_not_left_where_a_table_can_tell(answers, rows, kept):
    lane = Lane("a", 7)
    lane.at = Cursor(rowid=9)
    lane.error = None if answers else StorageUnavailable("away")
    left(File(moved=True), kept).note([lane])
    assert kept["left"]["rows"] == rows


@pytest.mark.parametrize(("fresh", "generation", "rowid", "rows"), [
    (False, 0, 7, 3),
    (False, 0, 9, 1),
    (False, 0, 10, 0),
    (True, 0, 7, 10),
    (True, 1, 4, 6),
    (True, 1, 10, 0),
])  # fmt: skip
def test_what_was_delivered_after_it_was_counted_is_not_lost(fresh, generation, rowid, rows, kept):
    source = File(moved=True)
    source.broken = SourceReset("another one") if fresh else None
    left(source, kept).note([Lane("a", 7)])
    lane = Lane("a", 0)
    lane.at = Cursor(generation=generation, rowid=rowid)
    left(File(file=(1, 3)), kept).tell([lane])
    assert lost(lane) == [rows]


def test_a_cycle_that_reads_it_to_its_end_forgets_it(kept):
    source = File(moved=True)
    own = left(source, kept)
    own.note([Lane("a", 7)])
    own.over()
    assert kept["left"]["rows"] == 3
    source.where = False
    own.over()
    assert kept == {}


@pytest.mark.parametrize("counted", [True, False])
def test_one_that_does_not_let_itself_be_read_is_given_up_and_told(counted, kept):
    source, log, lane = File(moved=True), Told(), Lane("a", 7)
    own = left(source, kept, log)
    own.tell([lane])
    source.broken = None if counted else SourceUnavailable("torn")
    own.note([lane])
    tries = 1
    while not own.given_up():
        tries += 1
    assert tries == 8
    source.where, source.file = False, (1, 3)
    own.tell([lane])
    assert [said["rows"] for _, said in log.events] == [3 if counted else None]
    assert lost(lane) == [3 if counted else 0]


def test_one_that_is_gone_stays_open_however_often_it_is_refused():
    own = left(File(gone=SourceUnavailable("gone")), {})
    assert not any(own.given_up() for _ in range(50))
