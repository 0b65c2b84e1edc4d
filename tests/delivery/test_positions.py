"""How far a mode has come that passes over all rows is in its table's log, also while a process runs for months."""

from __future__ import annotations

import io
import threading

import pytest

from edge_delta.core import events as telemetry
from edge_delta.settings import load as config
from edge_delta.topology import build
from tests.support.command import eventually
from tests.support.tables import Place


def add_harmless(sensor, table):
    sensor.add(100, table)
    sensor.run(f"UPDATE {table} SET status_code = NULL, humidity = NULL, temperature = 20")


@pytest.mark.parametrize("tables", [["readings"], ["readings", "others"]])
@pytest.mark.parametrize("due", [{"_EVERY": 0.0}, {"_ROWS": 100}, {}])
def test_a_running_process_commits_the_position_of_alerts_that_nothing_raised(
    tables, due, sensor, tmp_path, monkeypatch
):
    for name, limit in due.items():
        monkeypatch.setattr(f"edge_delta.delivery.positions.{name}", limit)
    for table in tables:
        sensor.create(table)
        add_harmless(sensor, table)
    places = [Place(str(tmp_path / "lake" / table)) for table in tables]
    values = {"sqlite": str(sensor.path), "table_path": str(tmp_path / "lake" / "{table}"), "node_id": "n1"}
    values |= {"sqlite_table_name": tables, "interval": 0.2}
    settings = config.load(
        values | {"state_dir": str(sensor.path.parent / "state"), "processing_mode": ["emergency"]}, environment={}
    )
    stop = threading.Event()
    run = threading.Thread(target=build.run, args=(settings, telemetry.configure(stream=io.StringIO()), stop))
    run.start()
    try:
        eventually(lambda: all(place.exists("_4_emergency") for place in places), what="the alerts' tables")
        first = [place.table("_4_emergency").version() for place in places]
        if due:
            for table in tables:
                add_harmless(sensor, table)
            eventually(
                lambda: all(
                    place.table("_4_emergency").version() > version
                    for place, version in zip(places, first, strict=True)
                ),
                what="a later position of each",
            )
    finally:
        stop.set()
        run.join()
    assert not any(place.read("_4_emergency").height for place in places)
