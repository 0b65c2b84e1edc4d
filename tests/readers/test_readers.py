"""Every mode's table, read by other engines: their rows are the same as those that Polars sees, value for value.

`make test-readers` brings what is not there; Spark's part is in tests/spark.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.modes import add, create, deliver
from tests.support.sqlite import Sensor
from tests.support.tables import Place

ROOT = Path(__file__).parents[2]
MODES = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
SUFFIXES = ["_0_raw", "_1_schematized", "_2_sanitized", "_3_aggregated", "_4_emergency", "_rejected"]
OWN = Path(sys.prefix)
READERS = {
    "daft": OWN / "readers",
    "clickhouse": OWN / "readers",
    "pyarrow14": OWN / "arrow14",
    "duckdb": OWN,
}


def read(reader, environment, place):
    """What a reader finds in each table, its rows in one order."""
    done = subprocess.run(
        [environment / "bin" / "python", ROOT / "tests" / "readers" / "read.py", reader, place.base, *SUFFIXES],
        cwd=Path(place.base).parent,  # ClickHouse reads below it only
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path(place.base).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {suffix: sorted(map(json.dumps, rows)) for suffix, rows in found.items()}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of all modes, of two runs, with rejected rows."""
    folder = tmp_path_factory.mktemp("readers")
    place = Place(str(folder / "lake" / "readings"))
    (folder / "device").mkdir()
    with Sensor(folder / "device" / "sensor.db") as sensor:
        create(sensor)
        for start, count in ((0, 300), (300, 50)):
            add(sensor, count, start=start)
            deliver(sensor.path, place, MODES, flush=True)
    return place


@pytest.fixture(scope="module")
def by_polars(tables):
    found = read("polars", OWN, tables)
    assert all(found.values()), "a table has no rows"
    return found


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_sees_what_polars_sees_in_every_table(reader, request):
    environment = READERS[reader]
    if not (environment / "bin" / "python").exists():
        pytest.skip(f"NOT TESTED with {reader}: make test-readers brings it, where it can be had")
    found = read(reader, environment, request.getfixturevalue("tables"))
    for suffix, rows in request.getfixturevalue("by_polars").items():
        assert found[suffix] == rows, suffix
