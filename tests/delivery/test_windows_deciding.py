"""What is decided of windows batch by batch: which are written when, how far the cursor says that all is settled."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from edge_delta.core import events as telemetry
from edge_delta.core.model import Cursor, Mark
from edge_delta.delivery.open_windows import Emission
from edge_delta.delivery.windows import Windows
from edge_delta.settings import load as config
from edge_delta.sinks.delta.sink import DeltaSink
from edge_delta.topology.lanes import Session, lanes_of, open_source
from tests.delivery.test_windows import SUM, rows_at, windows
from tests.support import modes
from tests.support.command import parse_events

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
MEDIAN = {"pressure": ["sum", "count", "p50"]}


def micros(minute, second=0):
    return round((MIDNIGHT + timedelta(minutes=minute, seconds=second)).timestamp() * 1_000_000)


def row(rowid, minute, second=0, **cells):
    time = (MIDNIGHT + timedelta(minutes=minute, seconds=second)).isoformat()
    return {"id": rowid, "sensor_id": "a", "timestamp": time, "pressure": 1.0, **cells}


class Process:
    """Windows of a process that has just started, with a clock that stands; batches are delivered when they are asked.

    Args:
        stations: the source.
        place: the table.
        minute: of the first of January, 2026, what the clock says.
        early: whether open windows are written too.
        held: values that are sorted in memory.
        aggregate: settings of the section.
    """

    def __init__(self, stations, place, *, minute=600, early=False, held=1_000, **aggregate):
        file = stations.path.with_name("settings.toml")
        settings = {"sqlite": stations.path, "table_path": place.base, "state_dir": stations.path.parent / "state"}
        settings |= {"processing_mode": "aggregated", "aggregate": {"aggregations": SUM} | aggregate}
        file.write_text(modes.toml(settings), encoding="utf-8")
        loaded = config.load({"config": str(file)}, environment={})
        loaded.state_dir.mkdir(exist_ok=True)
        self._said = io.StringIO()
        log = telemetry.configure(stream=self._said)
        [self.lane] = lanes_of(loaded, Session(open_source(loaded), "n1", log))
        route = self.lane.route
        route.device = replace(route.device, now=lambda: MIDNIGHT + timedelta(minutes=self.minute))
        self.minute = minute
        self.own = Windows(route, Emission(early=early, chunk=100, folder=loaded.state_dir, held=held))
        self.cursor = self.lane.cursor()

    def deliver(self, limit=100):
        """One batch."""
        batch = self.lane.route.source.read_after(self.cursor, limit=limit)
        assert batch is not None
        return self._done(self.own.deliver(batch, None, self.cursor))

    def cycle_over(self):
        return self._done(self.own.cycle_over(self.cursor))

    def finish(self, **how):
        return self._done(self.own.finish(self.cursor, **how))

    def settle(self):
        """Commit the cursor without rows, as a lane does at its end."""
        stands = self.lane.sink.committed()
        if stands is None or stands.marks != self.cursor.marks or stands.rowid != self.cursor.rowid:
            self.lane.sink.append(self.own.no_rows(), self.cursor)

    def said(self, event):
        return [one for one in parse_events(self._said.getvalue()) if one["event"] == event]

    def _done(self, step):
        self.cursor = self.cursor if step is None else step.cursor
        return step


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


# -- which windows a batch, a cycle and an end write


def test_a_batch_that_closes_a_window_has_it_in_its_own_commit(stations, folder):
    modes.insert(stations, row(1, 0), row(2, 1), row(3, 30))
    step = Process(stations, folder).deliver()
    assert step.commit.rows == 1
    assert step.commit.cursor.rowid == 3
    assert windows(folder) == [(0, "a", 2, 2.0)]


def test_an_early_window_is_written_once_a_cycle_whatever_the_batches(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder, early=True)
    process.deliver(limit=1)
    process.cycle_over()
    assert windows(folder) == [(0, "a", 1, 1.0)]
    assert process.deliver(limit=1).commit is None
    assert process.deliver(limit=1).commit is None
    assert process.cycle_over().commit.rows == 1
    assert windows(folder) == [(0, "a", 3, 3.0)]


def test_a_process_asks_the_table_nothing_about_windows_that_it_wrote_itself(stations, folder, monkeypatch):
    asked, ask = [], DeltaSink.ask
    monkeypatch.setattr(DeltaSink, "ask", lambda sink, question: asked.append(question) or ask(sink, question))
    modes.insert(stations, *rows_at(0, 1))
    process = Process(stations, folder, early=True)
    process.deliver(limit=1)
    process.cycle_over()
    process.deliver(limit=1)
    process.cycle_over()
    assert windows(folder) == [(0, "a", 2, 2.0)]
    assert asked == []


def test_the_end_writes_windows_of_any_size_and_a_quick_one_leaves_those_that_would_take_long(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder, held=2, aggregations=MEDIAN)
    process.deliver()
    assert process.finish(quick=True) is None
    assert windows(folder) == []
    assert process.finish().commit.rows == 1
    assert windows(folder) == [(0, "a", 3, 3.0)]


@pytest.mark.parametrize(("held", "aggregations"), [(3, MEDIAN), (2, SUM)], ids=["all fit", "nothing is sorted"])
def test_a_quick_end_leaves_nothing_that_it_can_write_out_of_memory(held, aggregations, stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder, held=held, aggregations=aggregations)
    process.deliver()
    assert process.finish(quick=True).commit.rows == 1
    assert windows(folder) == [(0, "a", 3, 3.0)]


def test_windows_of_a_source_that_is_gone_are_written_out_of_memory_and_no_row_is_lost(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 30))
    process = Process(stations, folder)
    process.deliver()
    stations.run("DROP TABLE stations")
    step, lost = process.own.source_gone(process.cursor)
    assert step.commit.rows == 1
    assert lost == 0
    assert windows(folder) == [(0, "a", 2, 2.0), (30, "a", 1, 1.0)]


def test_rows_that_cannot_be_written_without_a_source_that_is_gone_are_counted(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder)
    process.deliver()
    process.finish()
    stations.run("DELETE FROM stations WHERE id = 3")  # as a backup does, behind which the window goes on
    process = Process(stations, folder)
    process.lane.check_source()
    process.cursor = process.lane.cursor()
    assert (process.cursor.generation, process.cursor.rowid) == (1, 2)
    modes.insert(stations, *rows_at(3, pressure=7.0))
    process.deliver()
    stations.run("DROP TABLE stations")
    assert process.own.source_gone(process.cursor) == (None, 1)
    assert windows(folder) == [(0, "a", 3, 3.0)]


# -- what of the times counts


def test_times_ahead_of_the_clock_count_up_to_the_tolerance(stations, folder):
    modes.insert(stations, row(1, 0), row(2, 30))
    Process(stations, folder, minute=20, future_tolerance=600).deliver()
    assert windows(folder) == [(0, "a", 1, 1.0)]


def test_times_further_ahead_of_the_clock_do_not_count(stations, folder):
    modes.insert(stations, row(1, 0), row(2, 30))
    step = Process(stations, folder, minute=20, future_tolerance=599).deliver()
    assert windows(folder) == []
    assert step.cursor.marks[Mark.WATERMARK] == micros(0)


def test_a_time_counts_beside_one_of_the_same_window_that_is_ahead_of_the_clock(stations, folder):
    modes.insert(stations, row(1, 6), row(2, 10), row(3, 11), row(4, 13))
    step = Process(stations, folder, minute=12, future_tolerance=0).deliver()
    assert step.cursor.marks[Mark.WATERMARK] == micros(11)
    assert windows(folder) == [(5, "a", 1, 1.0)]


def test_the_cursor_says_from_when_on_windows_wait_for_the_clock_and_that_none_does(stations, folder):
    modes.insert(stations, row(1, 0), row(2, 40), row(3, 33), row(4, 90))
    process = Process(stations, folder, minute=20, future_tolerance=0)
    assert process.deliver(limit=1).cursor.marks[Mark.AHEAD] == 0
    assert process.deliver().cursor.marks[Mark.AHEAD] == micros(33)
    process.minute = 120
    assert process.cycle_over().cursor.marks[Mark.AHEAD] == 0


# -- how far the cursor says that all is settled


def test_rows_that_belong_to_no_window_are_settled_at_once(stations, folder):
    modes.insert(stations, row(7, 0, timestamp=None), row(8, 1, timestamp="soon"))
    cursor = Process(stations, folder).deliver().cursor
    assert (cursor.rowid, cursor.settled) == (8, 8)
    assert cursor.marks[Mark.OPEN] == 9


def test_a_row_from_below_the_cursor_that_is_read_with_an_open_window_is_in_its_next_version(stations, folder):
    modes.insert(stations, row(1, 0), row(3, 2))
    process = Process(stations, folder)
    process.deliver()
    stands = process.finish().cursor
    assert Mark.SWEPT not in stands.marks
    modes.insert(stations, row(2, 1))
    cursor = Process(stations, folder).finish().cursor
    assert windows(folder) == [(0, "a", 3, 3.0)]
    assert cursor.marks.keys() == stands.marks.keys()
    assert [mark for mark, value in cursor.marks.items() if value != stands.marks[mark]] == [Mark.WRITTEN_IDS]


# -- what a step says


def test_a_batch_is_told_with_its_rows_and_times_and_a_commit_beside_it_with_none(stations, folder):
    modes.insert(stations, row(3, 31), row(4, 30), row(5, 32), row(6, 0, timestamp="soon"))
    process = Process(stations, folder)
    step = process.deliver()
    assert (step.mode, step.read, step.rejected, step.first_rowid) == ("aggregated", 4, 1, 3)
    assert step.first_time == MIDNIGHT + timedelta(minutes=30)
    assert step.last_time == MIDNIGHT + timedelta(minutes=32)
    step = process.finish()
    assert (step.mode, step.read, step.rejected, step.first_rowid) == ("aggregated", 0, 0, 6)
    assert (step.first_time, step.last_time) == (None, None)
    assert step.commit.rows == 1


# -- rows that are no longer what they were

PURGED = "rows purged before their window closed"


def test_values_that_were_purged_before_a_median_was_made_of_them_are_told_as_lost(stations, folder):
    modes.insert(stations, *rows_at(0, pressure=1.0), *rows_at(1, pressure=3.0), *rows_at(2, pressure=5.0))
    process = Process(stations, folder, aggregations=MEDIAN)
    process.deliver()
    stations.run("DELETE FROM stations WHERE id = 1")
    assert process.finish().cursor.marks[Mark.LOST] == 1
    assert [(one["rows"], one["windows"]) for one in process.said(PURGED)] == [(1, 1)]
    assert modes.read(folder, "_3_aggregated").select("record_count", "p50_pressure").rows() == [(3, 4.0)]


def test_nothing_is_told_as_lost_where_all_values_of_a_median_are_there(stations, folder):
    modes.insert(stations, *rows_at(0, pressure=1.0), *rows_at(1, pressure=5.0), *rows_at(2, pressure=7.0))
    process = Process(stations, folder, aggregations=MEDIAN)
    process.deliver(limit=2)
    process.deliver()
    assert Mark.LOST not in process.finish().cursor.marks
    assert not process.said(PURGED)
    assert modes.read(folder, "_3_aggregated").select("record_count", "p50_pressure").rows() == [(3, 5.0)]


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_restart_tells_how_many_rows_of_open_windows_are_gone(deleted, stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder)
    process.deliver()
    process.settle()
    assert process.cursor.marks[Mark.PENDING] == 3
    stations.run("DELETE FROM stations WHERE id <= ?", deleted)
    process = Process(stations, folder)
    assert process.finish().cursor.marks.get(Mark.LOST, 0) == deleted
    assert [(one["rows"], one["windows"]) for one in process.said(PURGED)] == [(deleted, 1)] * (deleted > 0)
    assert windows(folder) == [(0, "a", 3 - deleted, 3.0 - deleted)]


def test_lost_rows_add_up(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder)
    process.deliver()
    process.settle()
    for _ in range(2):
        stations.run("DELETE FROM stations WHERE id = (SELECT min(id) FROM stations)")
        process = Process(stations, folder)
        modes.insert(stations, *rows_at(3))
        process.deliver()
        process.settle()
    assert process.cursor.marks[Mark.LOST] == 2
    assert process.cursor.marks[Mark.PENDING] == 3


def test_going_back_to_rows_of_written_windows_loses_none(stations, folder):
    modes.insert(stations, *rows_at(0, 1, 2))
    process = Process(stations, folder)
    process.deliver()
    process.finish()
    process = Process(stations, folder)
    process.cursor = process.own.rewound(Cursor(rowid=3), process.cursor)
    assert process.finish() is None
    assert not process.said(PURGED)


@pytest.mark.parametrize("closed", [False, True])
def test_a_group_keeps_the_rows_that_another_group_got_the_ids_of(closed, stations, folder):
    modes.insert(stations, *rows_at(0, 1), *rows_at(2, sensor="b"), *rows_at(*[30] * closed))
    process = Process(stations, folder)
    process.deliver()
    process.finish()
    stations.run("DELETE FROM stations WHERE id = 2")
    modes.insert(stations, row(2, 1, sensor_id="b"), *rows_at(3, sensor="b"))
    Process(stations, folder).deliver()
    assert windows(folder)[:2] == [(0, "a", 2, 2.0), (0, "b", 3, 3.0)]


def test_rows_ahead_of_the_clock_are_told_once_and_again_after_there_were_none(stations, folder):
    modes.insert(stations, row(1, 30), row(2, 41), row(3, 40), row(4, 90))
    process = Process(stations, folder, minute=20, future_tolerance=0)
    process.deliver(limit=3)
    process.cycle_over()
    times = [(MIDNIGHT + timedelta(minutes=minute)).isoformat() for minute in (30, 41)]
    told = [(one["rows"], one["first"], one["last"]) for one in process.said("times ahead of the clock")]
    assert told == [(3, *times)]
    process.minute = 50
    process.cycle_over()
    process.deliver()
    assert [one["rows"] for one in process.said("times ahead of the clock")] == [3, 1]


def test_a_window_all_of_whose_values_were_purged_is_written_without_its_median(stations, folder):
    modes.insert(stations, *rows_at(0, 1, pressure=3.0))
    process = Process(stations, folder, aggregations=MEDIAN)
    process.deliver()
    modes.insert(stations, *rows_at(30))
    stations.run("DELETE FROM stations WHERE id <= 2")
    assert process.deliver().cursor.marks[Mark.LOST] == 2
    found = modes.read(folder, "_3_aggregated").select("record_count", "sum_pressure", "p50_pressure")
    assert found.rows() == [(2, 6.0, None)]
