"""A route's two tables, looked after by the process that writes them."""

from __future__ import annotations

import io
from contextlib import closing

import pytest

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.source import Database, SQLiteSource
from edge_delta.topology.lanes import Session, lanes_of
from tests.support import modes


@pytest.fixture
def lane(sensor, folder, tmp_path):
    """The lane of schematized, which compacts both of its tables after three commits."""
    sensor.create()
    sensor.add(60)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 10 = 0")
    file = tmp_path / "settings.toml"
    values = {"sqlite": sensor.path, "table_path": folder.base, "state_dir": tmp_path / "state"}
    file.write_text(modes.toml(values | {"maintenance": {"keeper": True, "every_commits": 3}}), encoding="utf-8")
    database = Database(sensor.path)
    with closing(database):
        session = Session(SQLiteSource(database), "n1", telemetry.configure(stream=io.StringIO()))
        yield lanes_of(config.load({"config": str(file)}, environment={}), session)[0]
        session.reader.reopen()


def test_after_its_own_compaction_a_route_knows_the_files_that_are_there_now(lane, folder):
    for _ in range(3):
        lane.step(limit=10, upto=60)
        lane.route.look_after()
    for sink, suffix in ((lane.sink, "_1_schematized"), (lane.route.tables.rejects, "_rejected")):
        assert len(folder.table(suffix).file_uris()) == 1
        assert sink.files().live == 1, suffix
