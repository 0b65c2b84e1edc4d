"""All five modes at once: each table equals a plain computation by another engine, whatever happened on the way."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import polars as pl
import pytest

from tests.support import expected, modes
from tests.support.expected import ALL, assert_every_table_is_right
from tests.support.tables import assert_each_once


def configured(tmp_path, place):
    """A settings file with all modes."""
    file = tmp_path / "settings.toml"
    file.write_text(
        modes.toml({"table_path": place.base, "processing_mode": ALL} | expected.SETTINGS), encoding="utf-8"
    )
    return file


def run_with_kills(sensor, tmp_path, folder, command, *, rows, kills, size):
    """Rows arrive in portions, and the process is killed once a portion."""
    chance = random.Random(20261122)
    modes.create(sensor)
    edge = command(
        sensor.path,
        folder,
        config=configured(tmp_path, folder),
        table_path=None,
        node_id="n1",
        interval=0.05,
        max_batch_size=size,
    )
    portion = rows // (kills + 1)
    for kill in range(kills):
        modes.add(sensor, portion, start=kill * portion)
        running = edge.start()
        if chance.random() < 0.7:
            running.wait_for("batch committed", timeout=60)
        time.sleep(chance.uniform(0, 1.2))
        running.kill()
    modes.add(sensor, rows - kills * portion, start=kills * portion)
    edge.once(flush=True, timeout=900).succeeded()
    assert_every_table_is_right(sensor, folder)


@pytest.mark.parametrize(("rows", "size", "kills"), [(10_000, 1_000, 4), (20_000, 131_072, 0), (30_000, 131_072, 3)])
def test_every_modes_table_equals_a_plain_computation(  # noqa: PLR0917
    sensor, tmp_path, folder, command, rows, size, kills
):
    run_with_kills(sensor, tmp_path, folder, command, rows=rows, kills=kills, size=size)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 20])
@pytest.mark.parametrize("size", [1_000, 131_072])
def test_a_million_rows_in_every_mode_equal_a_plain_computation(  # noqa: PLR0917
    sensor, tmp_path, folder, command, size, kills
):
    run_with_kills(sensor, tmp_path, folder, command, rows=1_000_000, kills=kills, size=size)


def test_each_table_has_its_own_cursor(sensor, folder):
    modes.create(sensor)
    modes.add(sensor, 300)
    modes.deliver(sensor.path, folder, ["schematized"])
    modes.add(sensor, 300, start=300)
    done = modes.deliver(sensor.path, folder, ["raw", "schematized"], max_batch_size=200)
    rows = {mode: sum(e["rows_written"] for e in done.named("cycle finished") if e["mode"] == mode) for mode in ALL}
    timed = sensor.run(f"SELECT count(*) FROM stations WHERE id > 300 AND {expected.TIMED}")[0][0]
    assert rows["raw"] == 600
    assert rows["schematized"] == timed
    assert_each_once(folder.read("_0_raw")["source_rowid"], range(1, 601))


def test_rows_that_one_mode_rejects_are_kept_by_another(sensor, folder):
    modes.create(sensor)
    modes.insert(sensor, {"timestamp": "2026-01-01", "temperature": -400.0}, {"timestamp": "2026-01-01"})
    modes.deliver(sensor.path, folder, ["schematized", "sanitized"])
    assert folder.read("_1_schematized")["reading_id"].to_list() == [1, 2]
    assert folder.read("_2_sanitized")["reading_id"].to_list() == [2]
    assert modes.rejected(folder) == [(1, "impossible", "temperature")]


def test_a_mode_named_twice_runs_once(sensor, folder):
    modes.create(sensor)
    modes.add(sensor, 10)
    modes.deliver(sensor.path, folder, ["raw", "raw"])
    assert folder.read("_0_raw").height == 10


def test_no_table_of_a_mode_needs_more_than_the_oldest_protocol(sensor, folder):
    modes.create(sensor)
    modes.add(sensor, 2_000)
    modes.deliver(sensor.path, folder, ALL, flush=True, **expected.SETTINGS)
    for suffix in ("_0_raw", "_1_schematized", "_2_sanitized", "_3_aggregated", "_4_emergency", "_rejected"):
        protocol = folder.table(suffix).protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2), suffix
        stamps = [t for t in folder.read(suffix).schema.values() if isinstance(t, pl.Datetime)]
        assert stamps
        assert all(t.time_zone == "UTC" for t in stamps)


def uncommented(text):
    """config.toml.example with every key of the modes' sections in force."""
    sections = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    wanted = ("[schematize]", "[sanitize]", "[aggregate]", "[emergency]", "[gps_fuzzing]")
    return "".join(re.sub(r"^#(?=\w+ = )", "", s, flags=re.MULTILINE) for s in sections if s.startswith(wanted))


def test_the_settings_of_every_mode_in_the_example_run_as_they_stand(sensor, tmp_path, folder, command):
    example = (Path(__file__).parents[2] / "config.toml.example").read_text(encoding="utf-8")
    file = tmp_path / "config.toml"
    text = uncommented(example).replace("enabled = false", "enabled = true")
    text = re.sub(r"^harmless = .*$", 'harmless = ["location"]', text, flags=re.MULTILINE)
    assert text.count(" = ") > 25
    file.write_text(text, encoding="utf-8")
    modes.create(sensor)
    sensor.run("ALTER TABLE stations ADD COLUMN anomaly_type TEXT")
    modes.add(sensor, 2_000)
    edge = command(
        sensor.path, folder, config=file, node_id="n1", processing_mode=",".join(ALL), max_batch_size=700, flush=True
    )
    edge.once(env={"GPS_FUZZING_SECRET": modes.SECRET}).succeeded()
    assert_each_once(folder.read("_0_raw")["source_rowid"], range(1, 2_001))
    for suffix in ("_1_schematized", "_2_sanitized", "_3_aggregated", "_4_emergency"):
        assert folder.read(suffix).height > 0
