"""edge-delta reset: the only way to go back."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import polars as pl
import pytest

from edge_delta.device.settled import settled_now
from edge_delta.device.state import read_mirror
from tests.support.ask import ask, verified
from tests.support.command import clean_environment, eventually
from tests.support.inprocess import deliver
from tests.support.tables import assert_both_readers_agree


def words_of(sqlite, place, tmp_path, *words, mode="schematized"):
    said = ("reset", "--sqlite", sqlite, "--table-path", place.base, "--state-dir", tmp_path / "state")
    return [*said, "--node-id", "n1", "--processing-mode", mode, *words]


def reset(sqlite, place, tmp_path, *words, mode="schematized"):
    return ask(*words_of(sqlite, place, tmp_path, *words, mode=mode), cwd=tmp_path, env=place.environment)


@pytest.fixture
def edge(sensor, folder, command):
    """A device that has delivered 100 readings, ten of them to the rejected table."""
    sensor.create()
    sensor.add(100)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id % 10 = 0")
    made = command(sensor.path, folder, node_id="n1", max_batch_size=30)
    made.once().succeeded()
    return made


def generations(place, suffix="_1_schematized"):
    table = place.read(suffix).sort("source_generation", "reading_id")
    return {g: rows["reading_id"].to_list() for (g,), rows in table.group_by("source_generation", maintain_order=True)}


def test_rows_that_come_again_may_not_be_purged_by_what_was_said_before(edge, sensor, folder, tmp_path):
    assert settled_now(read_mirror(tmp_path / "state")) == {"readings": 100}
    assert reset(sensor.path, folder, tmp_path, "--to-id", "41", "--yes").returncode == 0
    assert settled_now(read_mirror(tmp_path / "state")) == {"readings": 40}
    edge.once().succeeded()
    assert settled_now(read_mirror(tmp_path / "state")) == {"readings": 100}


@pytest.mark.parametrize(
    ("words", "first"),
    [
        pytest.param(["--to-id", "41"], 41, id="id"),
        pytest.param(["--to-time", "2026-01-01T00:01:20Z"], 81, id="time"),
        pytest.param(["--to-time", "2026-01-01 01:01:20+01:00"], 81, id="time in another zone"),
        pytest.param(["--to-beginning"], 1, id="beginning"),
    ],
)
def test_rows_from_there_on_come_again_once_as_the_next_generation(  # noqa: PLR0917
    words, first, edge, sensor, folder, tmp_path
):
    done = reset(sensor.path, folder, tmp_path, *words, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{101 - first} rows, ids {first} to 100" in done.stdout
    sensor.add(20, start=100)
    edge.once().succeeded()
    edge.once().succeeded()
    kept = [i for i in range(1, 121) if i % 10 or i > 100]
    assert generations(folder) == {0: [i for i in kept if i <= 100], 1: [i for i in kept if i >= first]}
    assert generations(folder, "_rejected") == {
        0: list(range(10, 101, 10)),
        1: [i for i in range(10, 101, 10) if i >= first],
    }
    assert_both_readers_agree(folder, "_1_schematized", "databricks_inserted_at")
    assert verified(sensor.path, folder, tmp_path, node_id="n1")["equal"]


@pytest.mark.usefixtures("edge")
def test_without_a_terminal_and_yes_it_says_what_it_would_do_and_ends_with_2(sensor, folder, tmp_path):
    version = folder.table().version()
    done = reset(sensor.path, folder, tmp_path, "--to-id", "41")
    assert done.returncode == 2
    assert "60 rows, ids 41 to 100" in done.stdout
    assert "--yes" in done.stderr
    assert folder.table().version() == version


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
@pytest.mark.usefixtures("edge")
def test_on_a_terminal_it_asks(answer, code, sensor, folder, tmp_path):
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    version = folder.table().version()
    words = [sys.executable, "-m", "edge_delta", *map(str, words_of(sensor.path, folder, tmp_path, "--to-beginning"))]
    done = subprocess.run(words, cwd=tmp_path, env=clean_environment(), stdin=theirs, capture_output=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code, done.stderr
    assert b"again? [y/N]" in done.stdout
    assert folder.table().version() == version + (code == 0)


@pytest.mark.parametrize("words", [["--to-id", "101"], ["--to-time", "2030-01-01"]])
@pytest.mark.usefixtures("edge")
def test_it_never_goes_forward(words, sensor, folder, tmp_path):
    done = reset(sensor.path, folder, tmp_path, *words, "--yes")
    assert done.returncode == 2
    assert "only goes back" in done.stderr


@pytest.mark.parametrize("words", [[], ["--to-id", "soon"], ["--to-time", "soon"], ["--to-id", "1", "--to-beginning"]])
def test_a_target_that_is_none_is_a_usage_error(words, sensor, folder, tmp_path):
    assert reset(sensor.path, folder, tmp_path, *words, "--yes").returncode == 2


def test_it_is_refused_while_the_job_runs(edge, sensor, folder, tmp_path):
    running = edge.start()
    running.wait_for("cycle finished")
    done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes")
    assert done.returncode == 3
    assert f"process {running.process.pid}" in done.stderr
    assert running.terminate() == 0


def test_a_rival_that_still_runs_elsewhere_takes_the_new_position_over(sensor, lake, command, tmp_path):
    sensor.create()
    sensor.add(100)
    running = command(sensor.path, lake, node_id="n1", max_batch_size=50).start(state_dir=tmp_path / "elsewhere")
    running.wait_until(lambda: lake.exists("_1_schematized") and lake.read().height == 100, what="the rows")
    assert reset(sensor.path, lake, tmp_path, "--to-id", "61", "--yes").returncode == 0
    sensor.add(30, start=100)
    eventually(lambda: generations(lake).get(1) == list(range(61, 131)), what="the rows again", tell=running.text)
    assert running.terminate() == 0
    assert generations(lake)[0] == list(range(1, 101))


def test_all_modes_go_back_and_what_they_hold_is_right(sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(3000)
    mode = "raw,schematized,aggregated"
    edge = command(sensor.path, folder, node_id="n1", processing_mode=mode)
    edge.once(flush=True).succeeded()
    assert reset(sensor.path, folder, tmp_path, "--to-id", "1201", "--yes", mode=mode).returncode == 0
    edge.once(flush=True).succeeded()
    counts = folder.read("_3_aggregated").group_by("source_generation").agg(rows=pl.col("record_count").sum())
    assert dict(counts.rows()) == {0: 1200, 1: 1800}
    found = verified(sensor.path, folder, tmp_path, node_id="n1", mode=mode)
    assert found["equal"], [t["differences"] for t in found["tables"]]


def test_where_nothing_was_delivered_there_is_nothing_to_go_back_to(sensor, folder, tmp_path):
    sensor.create()
    done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes")
    assert done.returncode == 1
    assert "nothing was delivered yet" in done.stdout


@pytest.mark.parametrize("first", [1, -49])
def test_an_id_before_the_first_row_goes_back_to_it(first, sensor, folder, tmp_path):
    sensor.create()
    sensor.add(100)
    sensor.run("UPDATE readings SET id = id + 1000")
    sensor.run("UPDATE readings SET id = id - 1001 + ?", first)
    deliver(sensor.path, folder)
    assert reset(sensor.path, folder, tmp_path, "--to-id=-60", "--yes").returncode == 0
    assert not deliver(sensor.path, folder).named("rows gone before they were delivered")
    assert generations(folder)[1] == [*range(first, first + 100)]


def superseded(place, mode):
    table = place.read("_superseded").filter(mode=mode).sort("after_id")
    return table.select("after_id", "upto_id").rows()


def test_alerts_and_readings_whose_rows_were_deleted_since_stay_current(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(20)
    deliver(sensor.path, folder)
    sensor.run("DELETE FROM readings WHERE id IN (5, 6, 7, 12)")
    done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes")
    assert "4 rows of the table stay" in done.stdout, done.stdout
    assert superseded(folder, "schematized") == [(0, 4), (7, 11), (12, 20)]


def in_windows(sensor, folder):
    """Five readings in the first minute, six in each after it, in windows of a minute; the settings of these."""
    sensor.create()
    for number in range(1, 31):
        time = f"strftime('%Y-%m-%dT%H:%M:%SZ', {1_767_225_600 + number * 10}, 'unixepoch')"
        sensor.run(f"INSERT INTO readings (id, sensor_id, timestamp, temperature) VALUES ({number}, 's', {time}, 1)")
    windows = {"AGGREGATE_CONFIG": '{"window_minutes": 1, "aggregations": {"temperature": ["sum"]}}'}
    deliver(sensor.path, folder, env=windows, processing_mode="aggregated", flush=True)
    return windows


def test_windows_that_lose_rows_to_a_reset_are_told_and_those_all_of_whose_rows_are_gone_stay(sensor, folder, tmp_path):
    windows = in_windows(sensor, folder)
    sensor.run("DELETE FROM readings WHERE id BETWEEN 12 AND 23 OR id = 26")
    done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes", mode="aggregated")
    assert "2 rows of the table stay" in done.stdout, done.stdout
    assert "1 ROWS ARE LOST" in done.stdout
    assert superseded(folder, "aggregated") == [(0, 11), (23, 30)]
    deliver(sensor.path, folder, env=windows, processing_mode="aggregated", flush=True)
    file = tmp_path / "windows.toml"
    file.write_text('[aggregate]\nwindow_minutes = 1\naggregations = { temperature = ["sum"] }\n', encoding="utf-8")
    found = verified(sensor.path, folder, tmp_path, node_id="n1", mode="aggregated", config=file)
    assert not found["equal"]


def test_rows_of_the_window_that_a_reset_goes_back_into_are_told_as_lost_though_they_lie_before_the_position(
    sensor, folder, tmp_path
):
    in_windows(sensor, folder)
    sensor.run("DELETE FROM readings WHERE id = 7")
    done = reset(sensor.path, folder, tmp_path, "--to-id", "9", "--yes", mode="aggregated")
    assert "1 ROWS ARE LOST" in done.stdout, done.stdout


@pytest.mark.parametrize("gone", ["id <= 5", "id BETWEEN 12 AND 23", "id > 0"], ids=str)
def test_windows_whose_rows_go_between_a_reset_and_the_next_run_stay_current(gone, sensor, folder, tmp_path):
    windows = in_windows(sensor, folder)
    assert reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes", mode="aggregated").returncode == 0
    sensor.run(f"DELETE FROM readings WHERE {gone}")
    for _ in range(2):
        deliver(sensor.path, folder, env=windows, processing_mode="aggregated", flush=True)
    assert sum(rows for _, rows in current_windows(folder)) == 30


def test_what_goes_of_windows_between_a_reset_and_the_next_run_is_told(sensor, folder, tmp_path):
    windows = in_windows(sensor, folder)
    assert reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes", mode="aggregated").returncode == 0
    sensor.run("DELETE FROM readings WHERE id IN (8, 20)")
    lost = []
    for _ in range(2):
        done = deliver(sensor.path, folder, env=windows, processing_mode="aggregated", flush=True)
        lost += [event["rows"] for event in done.named("rows lost")]
    assert lost == [2]
    assert sum(rows for _, rows in current_windows(folder)) == 28


@pytest.mark.parametrize("deleted", ["before", "after"])
def test_rows_of_an_open_window_that_a_reset_cannot_deliver_again_are_told(deleted, sensor, folder, tmp_path):
    windows = in_windows(sensor, folder)
    sensor.run(
        "INSERT INTO readings (id, sensor_id, timestamp, temperature) "
        "SELECT id + 30, sensor_id, strftime('%Y-%m-%dT%H:%M:%SZ', unixepoch(timestamp) + 300, 'unixepoch'), 1 "
        "FROM readings WHERE id < 10"
    )
    deliver(sensor.path, folder, env=windows, processing_mode="aggregated")
    delete = "DELETE FROM readings WHERE id BETWEEN 36 AND 38"
    if deleted == "before":
        sensor.run(delete)
    file = tmp_path / "windows.toml"
    file.write_text('[aggregate]\nwindow_minutes = 1\naggregations = { temperature = ["sum"] }\n', encoding="utf-8")
    done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes", "--config", file, mode="aggregated")
    assert ("3 ROWS ARE LOST" in done.stdout) == (deleted == "before")
    if deleted == "after":
        sensor.run(delete)
    found = deliver(sensor.path, folder, env=windows, processing_mode="aggregated", flush=True).named("rows lost")
    assert [event["rows"] for event in found] == [3] * (deleted == "after")
    assert sum(rows for _, rows in current_windows(folder)) == 36


@pytest.mark.parametrize("minutes", [5, 60])
def test_a_reset_to_other_windows_calls_no_row_of_open_ones_lost(minutes, sensor, folder, tmp_path):
    sensor.create()
    sensor.add(3_000)
    settings = {"processing_mode": "aggregated"}
    for length in (65 - minutes, minutes):
        file = tmp_path / f"{length}.toml"
        file.write_text(f"[aggregate]\nwindow_minutes = {length}\n", encoding="utf-8")
        if length == minutes:
            done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes", "--config", file, mode="aggregated")
            assert "LOST" not in done.stdout, done.stdout
        told = deliver(sensor.path, folder, config=file, **settings)
        assert not told.named("rows lost")


def test_rows_whose_ids_were_used_again_are_told_where_a_reset_takes_their_place(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(20)
    settings = {"processing_mode": ["schematized", "aggregated"], "env": {"SWEEP": "0"}, "flush": True}
    deliver(sensor.path, folder, **settings)
    for rowid in range(2, 6):
        sensor.run("DELETE FROM readings WHERE id = ?", rowid)
        time = f"strftime('%Y-%m-%dT%H:%M:%SZ', {1_767_225_600 + 4_000 + rowid}, 'unixepoch')"
        sensor.run(f"INSERT INTO readings (id, sensor_id, timestamp) VALUES ({rowid}, 's', {time})")
    deliver(sensor.path, folder, **settings)
    done = reset(sensor.path, folder, tmp_path, "--to-beginning", "--yes", mode="schematized,aggregated")
    assert done.stdout.count("4 ROWS ARE LOST") == 2, done.stdout


def current_windows(place):
    """First row and number of rows of the windows that count, as the view has it."""
    table, record = place.read("_3_aggregated"), place.read("_superseded").filter(mode="aggregated")
    gone = [
        (table["source_generation"] == generation)
        & (table["first_reading_id"] > after)
        & (table["last_reading_id"] <= upto)
        for generation, after, upto in record.select("source_generation", "after_id", "upto_id").rows()
    ]
    left = table.filter(~pl.any_horizontal(*gone)) if gone else table
    return left.select("first_reading_id", "record_count").rows()


def test_verify_calls_no_window_purged_that_a_reset_went_back_into(sensor, folder, tmp_path):
    windows = in_windows(sensor, folder)
    assert reset(sensor.path, folder, tmp_path, "--to-id", "9", "--yes", mode="aggregated").returncode == 0
    deliver(sensor.path, folder, env=windows, processing_mode="aggregated", flush=True)
    file = tmp_path / "windows.toml"
    file.write_text('[aggregate]\nwindow_minutes = 1\naggregations = { temperature = ["sum"] }\n', encoding="utf-8")

    def notes():
        found = verified(sensor.path, folder, tmp_path, node_id="n1", mode="aggregated", config=file)
        assert found["equal"], found["tables"][0]["differences"]
        return [note for note in found["tables"][0]["notes"] if note.startswith("1 windows have rows")]

    assert notes() == [
        "1 windows have rows that an earlier generation read, too, up to id 8: only checked for duplicates"
    ]
    sensor.run("DELETE FROM readings WHERE id <= 10")
    assert notes() == ["1 windows have rows that are purged: only checked for duplicates"]
