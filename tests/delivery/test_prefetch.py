"""Reading ahead of a long backlog: batches come in order, whole and for the mode that asks, though others read them."""

from __future__ import annotations

import io
import shutil
from contextlib import closing

import polars as pl
import pytest
from deltalake import DeltaTable
from msgspec.structs import replace

from edge_delta.core import events as telemetry
from edge_delta.core.errors import SourceReset
from edge_delta.core.model import Cursor, Mark
from edge_delta.delivery import fitting
from edge_delta.delivery.prefetch import ReadAhead, Room, stand_together
from edge_delta.settings import load as config
from edge_delta.sinks.delta.types import to_delta
from edge_delta.source import Database, SQLiteSource
from edge_delta.topology.lanes import Session, lanes_of
from tests.support.inprocess import deliver

ROWS = 120_000  # above what is worth a second reader
GAP = (70_001, 71_000)


@pytest.fixture
def backlog(sensor):
    sensor.create()
    sensor.add(ROWS)
    sensor.run("DELETE FROM readings WHERE id BETWEEN ? AND ?", *GAP)
    return sensor


def test_batches_come_in_the_order_of_their_rowids_whoever_reads_them(backlog):
    database = Database(backlog.path)
    with closing(database):
        reader, cursor, ids = ReadAhead(SQLiteSource(database)), Cursor(), []
        while (found := reader.read_after(cursor, lambda _batch: None, limit=5_000, upto=ROWS)) is not None:
            batch, _ = found
            assert batch.rows <= 5_000
            ids += batch.frame["_rowid"].to_list()
            cursor = batch.cursor
        reader.reopen()
    assert ids == [i for i in range(1, ROWS + 1) if not GAP[0] <= i <= GAP[1]]


def test_a_batch_that_is_read_ahead_is_worked_on_once_by_what_was_given_for_it(backlog):
    seen = []
    database = Database(backlog.path)
    with closing(database):
        reader, cursor = ReadAhead(SQLiteSource(database)), Cursor()
        for _ in range(4):
            batch, done = reader.read_after(cursor, lambda b: seen.append(b) or len(seen), limit=2_000, upto=ROWS)
            assert done is not None
            cursor = batch.cursor
        reader.reopen()
    assert len({b.first_rowid for b in seen}) == len(seen)


@pytest.fixture
def lane(backlog, folder, tmp_path):
    """The lane of schematized, which reads ahead."""
    database = Database(backlog.path)
    flags = {"sqlite": str(backlog.path), "table_path": folder.base, "state_dir": str(tmp_path / "state")}
    settings = config.load(flags | {"processing_mode": "schematized"}, environment={})
    with closing(database):
        session = Session(SQLiteSource(database), "n1", telemetry.configure(stream=io.StringIO()))
        yield lanes_of(settings, session)[0]
        session.reader.reopen()


@pytest.fixture
def made(monkeypatch):
    """Where the batches begin that a mode was applied to."""
    begins, really = [], fitting.process
    monkeypatch.setattr(
        fitting, "process", lambda batch, *rest: begins.append(batch.first_rowid) or really(batch, *rest)
    )
    return begins


def test_what_was_prepared_before_there_was_a_table_is_good_for_the_table_made_of_it(lane, made):
    for _ in range(4):
        lane.step(limit=2_000, upto=ROWS)
    assert len(made) == len(set(made)) >= 4


def test_what_was_prepared_for_other_columns_is_made_again(lane, made, folder):
    lane.step(limit=2_000, upto=ROWS)  # the next ones are prepared by now
    uri = folder.uri("_1_schematized")
    shutil.rmtree(uri)
    older = {name: pl.Int64() if dtype == pl.Int32 else dtype for name, dtype in lane.sink.columns().items()}
    DeltaTable.create(uri, to_delta(pl.Schema(older)))
    lane.forget()
    lane.sink._identity.forget()  # that another table in the place of this one stops it has a test of its own
    lane.start_from(Cursor(rowid=2_000))
    lane.step(limit=2_000, upto=ROWS)
    assert made.count(2_001) == 2
    written = folder.read("_1_schematized")
    assert written.height == 2_000
    assert written.schema["status_code"] == pl.Int64


def test_what_was_prepared_for_one_mode_never_reaches_another(backlog, folder, tmp_path):
    log = telemetry.configure(stream=io.StringIO())
    database = Database(backlog.path)
    with closing(database):
        session = Session(SQLiteSource(database), "n1", log)
        flags = {"sqlite": str(backlog.path), "table_path": folder.base, "state_dir": str(tmp_path / "state")}
        raw, schematized = (
            lanes_of(config.load(flags | {"processing_mode": mode}, environment={}), session)[0]
            for mode in ("raw", "schematized")
        )
        raw.step(limit=2_000, upto=ROWS)
        raw.step(limit=2_000, upto=ROWS)
        schematized.start_from(
            raw.cursor()
        )  # as when the mode is changed on the way: the next batches are read already
        schematized.step(limit=2_000, upto=ROWS)
        session.reader.reopen()
    written = folder.read("_1_schematized").sort("reading_id")
    assert written["reading_id"].to_list() == list(range(4_001, 6_001))
    assert written.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert folder.read("_0_raw").height == 4_000


def test_a_cell_that_does_not_fit_rejects_its_row_alone_far_ahead(backlog, folder):
    backlog.run("UPDATE readings SET temperature = 'broken' WHERE id IN (9, 90000)")
    assert deliver(backlog.path, folder).complete
    assert folder.read("_1_schematized").height == ROWS - 1_000 - 2
    assert sorted(folder.read("_rejected")["reading_id"]) == [9, 90_000]


def test_several_sources_read_no_more_batches_ahead_together_than_one_does(backlog):
    backlog.create("other")
    backlog.add(ROWS, "other")
    room, read, cursors = Room(2), {"readings": [], "other": []}, {"readings": Cursor(), "other": Cursor()}
    readers = {table: ReadAhead(SQLiteSource(Database(backlog.path), table), room) for table in read}
    ahead = []
    for _ in range(3):
        for table, reader in readers.items():  # in turn
            batch, done = reader.read_after(cursors[table], lambda _b: "ahead", limit=2_000, upto=ROWS)
            read[table] += batch.frame["_rowid"].to_list()
            cursors[table] = batch.cursor
            ahead.append((table, done))
            assert room.left >= 0
    for reader in readers.values():
        reader.reopen()
    assert room.left == 2
    assert [ids == list(range(1, len(ids) + 1)) for ids in read.values()] == [True, True]
    assert ("readings", "ahead") in ahead


def test_a_batch_is_kept_for_the_next_lane_and_let_go_by_the_last(backlog):
    database = Database(backlog.path)
    with closing(database):
        reader, nothing = ReadAhead(SQLiteSource(database)), lambda _batch: None
        first = reader.read_after(Cursor(), nothing, limit=100, kept=True)[0]
        second = reader.read_after(Cursor(marks={Mark.LOST: 3}), nothing, limit=100)[0]
        third = reader.read_after(Cursor(), nothing, limit=100)[0]
    assert second.frame is first.frame
    assert second.cursor == first.cursor.marked(**{Mark.LOST: 3})  # what a lane keeps with its place is its own
    assert third.frame is not first.frame


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"generation": 1}, id="another generation"),
        pytest.param({"witnesses": (7,)}, id="another row at the same place"),
        pytest.param({"rowid": 99}, id="another place"),
    ],
)
def test_a_batch_is_not_taken_by_a_lane_that_stands_elsewhere(backlog, other):
    database = Database(backlog.path)
    with closing(database):
        source = SQLiteSource(database)
        reader, nothing = ReadAhead(source), lambda _batch: None
        stands = source.placed(Cursor(), 100)
        kept = reader.read_after(stands, nothing, limit=100, kept=True)[0]
        assert stand_together(stands, replace(stands, tally=9))
        elsewhere = replace(stands, **other)
        assert not stand_together(stands, elsewhere)
        try:
            found = reader.read_after(elsewhere, nothing, limit=100)
        except SourceReset:  # the row is not the one that was delivered
            return
        assert found[0].frame is not kept.frame


def test_what_is_read_far_behind_leaves_what_was_read_ahead_for_whoever_waits_for_it(backlog):
    database, worked = Database(backlog.path), []
    with closing(database):
        reader, cursor = ReadAhead(SQLiteSource(database)), Cursor()

        def work(batch):
            worked.append(batch.first_rowid)
            return "ahead"

        for _ in range(3):
            batch, done = reader.read_after(cursor, work, limit=2_000, upto=ROWS)
            assert done == "ahead"
            cursor = batch.cursor
            beside, done = reader.read_after(Cursor(rowid=ROWS - 10), work, limit=2_000, upto=ROWS)
            assert (beside.rows, done) == (10, None)
        reader.leave()
    assert len(worked) == len(set(worked)) <= 5
