"""Several tables and files in one process: each row once, and what goes wrong with one is its own."""

from __future__ import annotations

import io
import json
import subprocess
import threading

import polars as pl
import pytest

from edge_delta.cli.main import main
from edge_delta.core import events
from edge_delta.core.errors import SourcesFailed
from edge_delta.settings import load as config
from edge_delta.topology import build
from tests.support.command import EdgeDelta, eventually, parse_events
from tests.support.sqlite import Sensor

HOME_ASSISTANT = (
    (
        "CREATE TABLE states (state_id INTEGER NOT NULL, entity_id CHAR(0), state VARCHAR(255), last_updated_ts FLOAT, "
        "context_id_bin BLOB, metadata_id INTEGER, PRIMARY KEY (state_id))"
    ),
    "CREATE TABLE states_meta (metadata_id INTEGER NOT NULL, entity_id VARCHAR(255), PRIMARY KEY (metadata_id))",
    (
        "CREATE TABLE events (event_id INTEGER NOT NULL, event_type CHAR(0), time_fired_ts FLOAT, context_id_bin BLOB, "
        "event_type_id INTEGER, PRIMARY KEY (event_id))"
    ),
    (
        "CREATE TABLE statistics (id INTEGER NOT NULL, created_ts FLOAT, metadata_id INTEGER, start_ts FLOAT, "
        "mean FLOAT, last_reset CHAR(0), PRIMARY KEY (id))"
    ),
    (
        'CREATE TABLE recorder_runs (run_id INTEGER NOT NULL, start DATETIME NOT NULL, "end" DATETIME, '
        "closed_incorrect BOOLEAN NOT NULL, created DATETIME NOT NULL, PRIMARY KEY (run_id))"
    ),
    (
        "CREATE TABLE migration_changes (migration_id VARCHAR(255) NOT NULL, version SMALLINT NOT NULL, "
        "PRIMARY KEY (migration_id))"
    ),
)


@pytest.fixture
def hall(tmp_path):
    (tmp_path / "hall").mkdir()
    with Sensor(tmp_path / "hall" / "hall.db") as process:
        yield process


@pytest.fixture
def written(tmp_path, sensor, hall):
    """A settings file with two sources: tables a and b of the one, a of the other."""
    for table in ("a", "b"):
        sensor.create(table)
        sensor.add(300, table)
    hall.create("a")
    hall.add(200, "a", seed=9)
    file = tmp_path / "config.toml"
    file.write_text(
        f"""node_id = "n1"
state_dir = "{tmp_path}/state"
table_path = "{tmp_path}/lake/{{source}}/{{table}}"
retry_for = 0
[[sources]]
sqlite = "{sensor.path}"
tables = "*"
[[sources]]
name = "other"
sqlite = "{hall.path}"
tables = ["a"]
processing_mode = ["raw", "schematized"]
"""
    )
    return file


def run(file, **flags):
    """One run in this process; its events."""
    lines = io.StringIO()
    settings = config.load({"config": str(file), "once": True, **flags}, environment={})
    try:
        build.run(settings, events.configure(stream=lines), threading.Event(), flags=flags)
    finally:
        run.events = parse_events(lines.getvalue())
    return run.events


def ids(tmp_path, table):
    return sorted(pl.read_delta(str(tmp_path / "lake" / table))["id" if "raw" in table else "reading_id"])


def test_each_row_of_each_table_of_each_file_is_there_once(tmp_path, written, sensor, hall):
    run(written)
    sensor.add(50, "b", start=300)
    hall.add(10, "a", start=200)
    run(written)
    assert ids(tmp_path, "sensor/a_1_schematized") == list(range(1, 301))
    assert ids(tmp_path, "sensor/b_1_schematized") == list(range(1, 351))
    assert ids(tmp_path, "other/a_0_raw") == ids(tmp_path, "other/a_1_schematized") == list(range(1, 211))


def test_a_flush_is_in_the_log_of_each_source(tmp_path, written):
    told = run(written, processing_mode=["aggregated"], flush=True)
    finished = [e for e in told if e["event"] == "cycle finished"]
    for source in ("sensor/a", "sensor/b", "other/a"):
        windows = pl.read_delta(str(tmp_path / "lake" / f"{source}_3_aggregated")).height
        assert sum(e["rows_written"] for e in finished if e["source"] == source) == windows > 0


def test_nothing_depends_on_the_state_directories(tmp_path, written, sensor):
    run(written)
    subprocess.run(["rm", "-r", str(tmp_path / "state")], check=True)
    sensor.add(5, "a", start=300)
    run(written)
    assert ids(tmp_path, "sensor/a_1_schematized") == list(range(1, 306))
    assert ids(tmp_path, "other/a_0_raw") == list(range(1, 201))


def test_a_table_that_was_alone_goes_on_where_it_stood_when_others_come_beside_it(tmp_path, written, sensor):
    path = f"{tmp_path}/lake/sensor/a"
    alone = {"sqlite": str(sensor.path), "sqlite_table_name": "a", "table_path": path, "node_id": "n1"}
    settings = config.load({**alone, "state_dir": f"{tmp_path}/state", "once": True}, environment={})
    build.run(settings, events.configure(stream=io.StringIO()), threading.Event())
    sensor.add(7, "a", start=300)
    run(written)
    assert ids(tmp_path, "sensor/a_1_schematized") == list(range(1, 308))
    kept = json.loads((tmp_path / "state/sources/sensor/a.source/last_upload.json").read_text())
    assert kept["tables"]["schematized"]["rows_written"] == 307


def test_a_damaged_database_ends_its_own_sources_and_no_other(tmp_path, written, hall):
    hall.close()
    with hall.path.open("r+b") as file:
        file.write(b"this is no database any more")
    with pytest.raises(SourcesFailed, match=r"1 of 3 sources ended by an error: other/a") as found:
        run(written)
    assert found.value.exit_code == 2
    assert ids(tmp_path, "sensor/a_1_schematized") == list(range(1, 301))
    [failed] = [e for e in run.events if e["event"] == "failed"]
    assert (failed["source"], failed["exit_code"]) == ("other/a", 2)
    assert "is not a SQLite database" in failed["error"]


def test_the_exit_code_is_the_worst_and_the_others_went_on(tmp_path, written, sensor, hall):
    """One is locked (1), one needs a person (3)."""
    run(written)
    hall.run("DELETE FROM a")
    hall.run("INSERT INTO a (sensor_id, timestamp, temperature) VALUES ('new', '2026-03-01T00:00:00Z', 1)")
    written.write_text(written.read_text().replace("retry_for", 'on_source_reset = "stop"\nretry_for'))
    sensor.add(20, "b", start=300)
    with pytest.raises(SourcesFailed) as found:
        run(written)
    assert found.value.exit_code == 3
    assert ids(tmp_path, "sensor/b_1_schematized") == list(range(1, 321))


def test_status_health_and_verify_know_each_source(tmp_path, written, capsys):
    run(written)
    place = ["--config", str(written), "--state-dir", f"{tmp_path}/state"]
    assert main(["health", *place, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["sources"]) == {"sensor/a", "sensor/b", "other/a"}
    assert main(["status", *place, "--source", "other"]) == 0
    assert main(["status", *place, "--source", "unknown"]) == 2
    shown = capsys.readouterr().out
    assert "other/a" in shown
    assert "sensor/b" not in shown
    assert main(["status", *place, "--settled", "--table", "b"]) == 0
    assert capsys.readouterr().out == "300\n"
    assert main(["verify", *place, "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert sorted((t["source"], t["mode"]) for t in tables) == [
        *(("other/a", mode) for mode in ("raw", "schematized")),
        *((f"sensor/{table}", "schematized") for table in ("a", "b")),
    ]
    assert main(["query", *place, "SELECT count(*) AS n FROM b_1_schematized", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 300}
    assert main(["query", *place, "INFO", "--format", "json", "--source", "other"]) == 0
    assert [t["cursor"]["source_table"] for t in json.loads(capsys.readouterr().out)] == ["a", "a"]


def test_a_database_that_is_gone_is_no_green_light(tmp_path, written, sensor, capsys):
    """Which tables it has cannot even be told."""
    sensor.close()
    sensor.path.rename(tmp_path / "away.db")
    with pytest.raises(SourcesFailed, match="sensor"):
        run(written)
    assert ids(tmp_path, "other/a_0_raw") == list(range(1, 201))
    flags = ["--state-dir", f"{tmp_path}/state", "--health-after", "0.01"]
    assert main(["health", *flags]) == 1
    assert "sensor/*: " in capsys.readouterr().out


def test_the_database_of_home_assistant_is_delivered_whole_by_naming_nothing_but_its_file(tmp_path, sensor):
    """Its schema, as of version 43 of the recorder, and what its columns hold."""
    count = {"states": 40, "states_meta": 3, "events": 20, "statistics": 10, "recorder_runs": 1, "migration_changes": 1}
    for statement in HOME_ASSISTANT:
        sensor.run(statement)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {})"
    values = {
        "states": "i, NULL, CASE i % 2 WHEN 0 THEN 'unavailable' ELSE '21.5' END, 1767225600.25 + i, randomblob(16), 1",
        "states_meta": "i, 'sensor.t' || i",
        "events": "i, NULL, 1767225600.25 + i, randomblob(16), 1",
        "statistics": "i, 1767225600.25 + i, 1, 1767225600.0 + i, 1.5, NULL",
        "recorder_runs": "i, '2026-01-01 00:00:00.000000', NULL, 0, '2026-01-01 00:00:00.000000'",
        "migration_changes": "'state_context_id_as_binary', 1",
    }
    for table, row in values.items():
        sensor.run(f"INSERT INTO {table} {numbers.format(count[table])} SELECT {row} FROM n")
    flags = {"sqlite": str(sensor.path), "table_path": f"{tmp_path}/lake/{{table}}", "node_id": "ha"}
    flags |= {"state_dir": str(tmp_path / "state"), "once": True, "all_tables": True, "processing_mode": "raw"}
    log = io.StringIO()
    assert build.run(config.load(flags, environment={}), events.configure(stream=log), threading.Event())
    assert '"event": "table left out"' not in log.getvalue()
    found = {table: pl.read_delta(str(tmp_path / "lake" / f"{table}_0_raw")) for table in count}
    assert {table: rows.height for table, rows in found.items()} == count
    assert set(found["states"]["state"]) == {"unavailable", "21.5"}
    assert found["states"]["context_id_bin"].dtype == pl.Binary


def test_a_reset_goes_back_in_the_named_source_only(tmp_path, written, capsys):
    run(written)
    place = ["--config", str(written)]
    assert main(["reset", *place, "--to-id", "11", "--yes"]) == 2
    assert "Name one with --table" in capsys.readouterr().err
    assert main(["reset", *place, "--source", "sensor", "--table", "b", "--to-id", "291", "--yes"]) == 0
    run(written)
    assert len(ids(tmp_path, "sensor/b_1_schematized")) == 310
    assert len(ids(tmp_path, "sensor/a_1_schematized")) == 300


def test_one_file_of_metrics_has_each_source_by_its_labels(tmp_path, written):
    prom = tmp_path / "edge.prom"
    written.write_text(written.read_text().replace("retry_for", f'metrics_file = "{prom}"\nretry_for'))
    run(written)
    text = prom.read_text()
    own = 'node_id="n1",source="other",table="a"'
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if "{" in line}
    assert values['edge_delta_rows_total{mode="raw",node_id="n1",outcome="written",source="other",table="a"}'] == 200
    assert f"edge_delta_healthy{{{own}}} 1.0" in text
    assert f"edge_delta_settled_id{{{own}}} 200.0" in text
    assert 'source="sensor",table="b"' in text


def test_sources_are_added_and_taken_out_while_it_runs(tmp_path, written, sensor, hall):
    edge = EdgeDelta(tmp_path, {"config": str(written), "interval": 0.3})
    try:
        running = edge.start()
        running.wait_until((tmp_path / "lake/other/a_0_raw/_delta_log").exists, what="the first", timeout=40)
        text = written.read_text().replace('tables = ["a"]', 'tables = ["late"]')
        hall.create("late")
        hall.add(5, "late")
        written.write_text(text)
        table = tmp_path / "lake/other/late_0_raw"
        running.wait_until((table / "_delta_log").exists, what="the added table", timeout=40)
        told = {(e["source"], e["added"]) for e in running.named("sources changed")}
        assert told == {("other/a", False), ("other/late", True)}
        for table in ("x1", "y1"):
            hall.create(table)
            hall.add(5, table)
        with written.open("a") as file:
            file.write(f'[[sources]]\nsqlite = "{hall.path}"\ntables = ["x*"]\n')
            file.write(f'[[sources]]\nsqlite = "{hall.path}"\ntables = ["y*"]\nprocessing_mode = "raw"\n')
        eventually((tmp_path / "lake/hall/y1_0_raw/_delta_log").exists, what="the second pattern's table", timeout=40)
        hall.create("y2")  # is meant by the second pattern of the file
        hall.add(5, "y2")
        eventually((tmp_path / "lake/hall/y2_0_raw/_delta_log").exists, what="its later table", timeout=40)
        sensor.create("later")
        sensor.add(9, "later")
        eventually((tmp_path / "lake/sensor/later_1_schematized/_delta_log").exists, what="the new table", timeout=20)
        assert running.terminate() == 0
    finally:
        edge.end()


# -- commands


def test_a_dry_run_shows_the_next_batch_of_each_source_and_writes_nothing(tmp_path, written, capsys):
    assert main(["run", "--dry-run", "--config", str(written)]) == 0
    shown = capsys.readouterr().out
    for source, mode, rows in (
        ("sensor/a", "schematized", 300),
        ("sensor/b", "schematized", 300),
        ("other/a", "raw", 200),
    ):
        assert f"{source}: {mode}: {rows} rows read, {rows} would go to {tmp_path}/lake/{source}_" in shown
    assert not (tmp_path / "lake").exists()


def test_a_dry_run_and_status_name_a_damaged_source_and_show_the_others(written, sensor, capsys):
    [[root]] = sensor.run("SELECT rootpage FROM sqlite_schema WHERE name = 'a'")
    sensor.close()
    with sensor.path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    assert main(["run", "--dry-run", "--config", str(written)]) == 1
    shown = capsys.readouterr()
    assert "sensor/b: schematized: 300 rows read" in shown.out
    assert "other/a: raw: 200 rows read" in shown.out
    assert f"edge-delta: sensor/a: {sensor.path} is damaged" in shown.err
    with pytest.raises(SourcesFailed, match="1 of 3 sources ended by an error: sensor/a"):
        run(written)
    main(["status", "--config", str(written), "--source", "sensor", "--table", "a"])
    shown = capsys.readouterr().out
    assert f"{sensor.path}, table a" in shown
    assert "Name the one to read" not in shown


def test_replay_puts_the_rejected_rows_of_each_source_through_its_modes_again(tmp_path, written, capsys):
    text = written.read_text().replace('processing_mode = ["raw", "schematized"]', "")
    limit = "\n[sanitize.ranges]\ntemperature = { max = %s }\n"
    written.write_text('processing_mode = "sanitized"\n' + text + limit % "20")
    run(written)
    there = {source: len(ids(tmp_path, f"{source}_2_sanitized")) for source in ("sensor/a", "sensor/b", "other/a")}
    written.write_text('processing_mode = "sanitized"\n' + text + limit % "2000")
    assert main(["replay", "--config", str(written), "--source", "sensor", "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)
    assert set(outcomes) == {"sensor/a", "sensor/b"}
    for source, count in (("sensor/a", 300), ("sensor/b", 300)):
        missing = count - there[source]
        assert missing > 0
        assert outcomes[source] == {"sanitized": {"tried": missing, "passed": missing}}
        assert ids(tmp_path, f"{source}_2_sanitized") == list(range(1, count + 1))
    assert len(ids(tmp_path, "other/a_2_sanitized")) == there["other/a"] < 200


def test_maintain_looks_after_the_tables_of_each_source_and_of_those_that_are_named(tmp_path, written, sensor, capsys):
    for start in (300, 310, 320):
        run(written)
        sensor.add(10, "b", start=start)
    run(written)
    tables = {f"{tmp_path}/lake/{name}" for name in ("other/a_0_raw", "other/a_1_schematized")}
    assert main(["maintain", "--config", str(written), "--source", "other", "--json"]) == 0
    assert {table for table, report in json.loads(capsys.readouterr().out).items() if report} == tables
    assert main(["maintain", "--config", str(written), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    tables |= {f"{tmp_path}/lake/sensor/{table}_1_schematized" for table in "ab"}
    assert {table for table, report in reports.items() if report} == tables
    assert reports[f"{tmp_path}/lake/sensor/b_1_schematized"]["files_before"] > 1
    assert reports[f"{tmp_path}/lake/sensor/b_1_schematized"]["inventory"]["live"] == 1
    assert ids(tmp_path, "sensor/b_1_schematized") == list(range(1, 331))


def test_the_statements_of_each_source_are_of_its_own_tables_in_its_own_schema(tmp_path, written, capsys):
    run(written)
    assert main(["sql", "--config", str(written), "02"]) == 0
    parts = capsys.readouterr().out.split("-- sensor/a\n")[1]
    a, _, rest = parts.partition("-- sensor/b\n")
    b, _, other = rest.partition("-- other/a\n")
    for part, source in ((a, "sensor/a"), (b, "sensor/b"), (other, "other/a")):
        assert f"{tmp_path}/lake/{source}_1_schematized" in part
        assert part.count(f"{tmp_path}/lake/") == part.count(f"{tmp_path}/lake/{source}_")
        assert f"sensor_data_{source.replace('/', '_')}" in part


def test_a_purge_goes_over_all_sources_and_one_that_cannot_be_read_keeps_no_other_from_it(
    written, sensor, hall, capsys
):
    sensor.add(900, "b", start=300)
    run(written)
    place = ["purge", "--config", str(written), "--keep", "7d", "--json"]
    assert main([*place, "--dry-run"]) == 0
    found = {t["table"]: t["rows"] for t in json.loads(capsys.readouterr().out)["tables"] if t["rows"]}
    assert found == {"b": 700}  # the last 500 of each stay
    assert len(sensor.rows("b")) == 1200
    hall.close()
    hall.path.rename(hall.path.with_suffix(".away"))
    assert main(place) == 2
    assert [t["rows"] for t in json.loads(capsys.readouterr().out)["tables"]] == [0, 700]
    assert [row[0] for row in sensor.rows("b", "id")] == list(range(701, 1201))
    assert len(sensor.rows("a")) == 300


@pytest.fixture
def three(tmp_path):
    """Files with a table each, which are searched for, and settings for them."""
    for name in "abc":
        add(tmp_path, name, f"of_{name}", 3)
    sources = "".join(f'[[sources]]\nsqlite = "{tmp_path}/{name}.db"\ntables = "*"\n' for name in "abc")
    path = tmp_path / "three.toml"
    place = f'state_dir = "{tmp_path}/state"\ntable_path = "{tmp_path}/lake/{{table}}"\n'
    path.write_text(f'node_id = "n"\nretry_for = 0\n{place}{sources}')
    return path


def add(folder, file, table, rows):
    with Sensor(folder / f"{file}.db") as sensor:
        if not sensor.run("SELECT 1 FROM sqlite_master WHERE name = ?", table):
            sensor.create(table)
        sensor.add(rows, table)


def test_a_table_of_another_files_name_that_the_application_makes_stops_these_two_alone(three, tmp_path):
    run(three)
    add(tmp_path, "b", "of_a", 3)
    add(tmp_path, "c", "of_c", 4)
    for _ in range(2):
        with pytest.raises(SourcesFailed) as found:
            run(three)
        assert found.value.exit_code == 2
        assert "a/of_a, b/of_a" in found.value.fact
    assert ids(tmp_path, "of_c_1_schematized") == list(range(1, 8))
    assert ids(tmp_path, "of_a_1_schematized") == list(range(1, 4))


@pytest.mark.parametrize("became", ["gone", "text"])
def test_what_became_of_one_file_keeps_no_command_from_the_others(became, three, tmp_path, capsys):
    run(three)
    (tmp_path / "b.db").unlink()
    if became == "text":
        (tmp_path / "b.db").write_text("no database")
    place = ["--config", str(three)]
    capsys.readouterr()
    for words in (["verify"], ["replay"], ["purge", "--keep", "0", "--dry-run"]):
        assert main([*words, *place, "--source", "a"]) == 0
        assert main([*words, *place]) == (1 if became == "gone" else 2), words
        shown = capsys.readouterr()
        assert "b/*: " in shown.err
        assert "c/of_c" in shown.out
    run(three, source=["a"])
