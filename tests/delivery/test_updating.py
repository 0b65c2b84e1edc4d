"""Rows that are updated after they were delivered: each new state once, with a higher version."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import write_deltalake

from edge_delta.ask import statements
from edge_delta.core import events as telemetry
from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config
from edge_delta.sinks.superseded import SCHEMA
from edge_delta.topology import commands
from tests.ask.test_current import in_duckdb
from tests.histories.process import Killed, Process
from tests.support.ask import ask, status
from tests.support.inprocess import deliver

APPEND = {"ON_UPDATE": "append"}
MODES = {"raw": ("_0_raw", "source_rowid"), "schematized": ("_1_schematized", "reading_id")}
MODES["sanitized"] = ("_2_sanitized", "reading_id")


def states(place, mode="schematized", column="temperature"):
    """Ids, versions and a value of all rows."""
    suffix, key = MODES[mode]
    return sorted(place.read(suffix).select(key, "row_version", column).rows())


@pytest.mark.parametrize("mode", list(MODES))
def test_the_new_state_of_an_updated_row_arrives_once_with_a_higher_version(mode, sensor, folder):
    sensor.create()
    sensor.add(50)
    settings = {"env": APPEND, "processing_mode": [mode]}
    deliver(sensor.path, folder, **settings)
    first = states(folder, mode)
    assert {version for _, version, _ in first} == {1}
    sensor.run("UPDATE readings SET temperature = 1.5 WHERE id IN (7, 50)")
    sensor.add(5, start=50)
    for _ in range(2):
        done = deliver(sensor.path, folder, **settings)
    assert not done.named("updated rows delivered")
    sensor.run("UPDATE readings SET temperature = NULL WHERE id = 7")
    [told] = deliver(sensor.path, folder, **settings).named("updated rows delivered")
    assert told["rows"] == 1
    found = states(folder, mode)
    assert len(found) == 50 + 5 + 2 + 1
    assert [(v, t) for i, v, t in found if i == 7][1:] == [(2, 1.5), (3, None)]
    assert [(v, t) for i, v, t in found if i == 50][1:] == [(2, 1.5)]


def judged(sensor, folder, mode="schematized", env=APPEND):
    """What `edge-delta verify` finds."""
    values = {"sqlite": str(sensor.path), "table_path": folder.base, "node_id": "n1", "processing_mode": [mode]}
    values["state_dir"] = str(sensor.path.parent / "state")
    [report] = commands.verify(config.load(values, environment=env), telemetry.configure(stream=io.StringIO()))
    return report


class Mortal(Process):
    """A process that can be killed at a commit, and appends new states."""

    def __init__(self, sensor, folder, **environment):
        values = {"sqlite": str(sensor.path), "table_path": folder.base, "node_id": "n1", "sweep": "0"}
        values |= {"state_dir": str(sensor.path.parent / "state"), "processing_mode": ["raw", "schematized"]}
        super().__init__(values, once=False)
        self.environment = {**APPEND, "SWEEP": "0", **environment}

    def _settings(self, **more):
        values = {**self.values, **more}
        values.pop("sweep", None)
        return config.load(values, environment=self.environment)


@pytest.mark.parametrize(("point", "restarts"), [("before a commit", True), ("after a commit", False)])
def test_a_process_killed_at_any_commit_delivers_each_state_once(point, restarts, sensor, folder):
    sensor.create()
    sensor.add(30)
    process = Mortal(sensor, folder)
    process.once = restarts
    process.deliver()
    for left in range(5):
        sensor.run("UPDATE readings SET temperature = ? WHERE id IN (3, 30)", 100.0 + left)
        sensor.add(1, start=100 + left)
        process.killer.arm(point, left)
        with contextlib.suppress(Killed):
            process.deliver()
        process.deliver()
    process.stop()
    for mode in ("raw", "schematized"):
        found = states(folder, mode)
        assert [v for i, v, _ in found if i == 3] == [1, 2, 3, 4, 5, 6]
        assert [t for i, _, t in found if i == 3][1:] == [100.0 + left for left in range(5)]
        assert len(found) == 30 + 5 + 2 * 5
    assert [report.counts for report in process.verify()] == [{}, {}]


def test_the_time_of_the_last_change_finds_rows_wherever_they_are(sensor, folder, tmp_path):
    sensor.run("CREATE TABLE r (id INTEGER PRIMARY KEY, timestamp TEXT, v REAL, updated_at TEXT)")
    sensor.run(
        "INSERT INTO r (timestamp, v, updated_at) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) "
        "SELECT '2026-01-01T00:00:00Z', i, '2026-01-01T00:00:00Z' FROM n"
    )
    env = {**APPEND, "UPDATED_COLUMN": "updated_at"}
    deliver(sensor.path, folder, env=env)
    for turn in range(3):
        sensor.run(
            "UPDATE r SET v = -?, updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id IN (2, 400)", turn + 1
        )
        sensor.run("UPDATE r SET v = 0.5 WHERE id = 100")  # nobody says so
        again = {"state_dir": str(tmp_path / "lost")} if turn == 2 else {}
        deliver(sensor.path, folder, env=env, **again)
    found = states(folder, column="v")
    assert [(v, x) for i, v, x in found if i == 2] == [(1, 2.0), (2, -1.0), (3, -2.0), (4, -3.0)]
    assert len(found) == 500 + 2 * 3 + 1  # with no state directory all rows are compared, and row 100 is found too


def test_one_row_whose_last_change_is_ahead_of_the_clock_hides_no_other(sensor, folder):
    sensor.run("CREATE TABLE r (id INTEGER PRIMARY KEY, timestamp TEXT, v REAL, updated_at TEXT)")
    sensor.run("INSERT INTO r VALUES (1, '2026-01-01', 1, '2099-01-01T00:00:00Z'), (2, '2026-01-01', 1, '2026-01-01')")
    env = {**APPEND, "UPDATED_COLUMN": "updated_at"}
    for turn in range(3):
        deliver(sensor.path, folder, env=env)
        sensor.run("UPDATE r SET v = ?, updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id = 2", -turn)
    deliver(sensor.path, folder, env=env)
    assert [x for i, _, x in states(folder, column="v") if i == 2] == [1, 0, -1, -2]


def test_a_row_that_an_update_breaks_is_rejected_and_comes_again_when_it_is_whole(sensor, folder):
    sensor.create()
    sensor.add(20)
    for value in (1.5, "broken", "broken", 2.5):
        sensor.run("UPDATE readings SET temperature = ? WHERE id IN (7, 20)", value)
        deliver(sensor.path, folder, env=APPEND)
        assert judged(sensor, folder).equal
    assert sorted(folder.read("_rejected")["reading_id"].to_list()) == [7, 20]
    found = states(folder)
    assert [(v, t) for i, v, t in found if i == 7] == [(1, 1.5), (2, 2.5)]
    assert len(found) == 22


def test_verify_takes_the_last_state_and_finds_one_that_is_missing_or_there_twice(sensor, folder):
    sensor.create()
    sensor.add(20)
    deliver(sensor.path, folder, env=APPEND)
    for value in (1.5, 2.5):
        sensor.run("UPDATE readings SET temperature = ? WHERE id IN (7, 8)", value)
        deliver(sensor.path, folder, env=APPEND)
    found = judged(sensor, folder)
    assert found.equal
    assert "4 earlier states of updated rows are there too, by row_version" in found.notes
    table, rows = folder.table(), folder.read()
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    last, middle = (
        rows.filter((pl.col("reading_id") == i) & (pl.col("row_version") == v)) for i, v in ((7, 3), (8, 2))
    )
    write_deltalake(
        table, rows.join(last, on=["reading_id", "row_version"], how="anti").vstack(middle), mode="overwrite"
    )
    assert judged(sensor, folder).counts == {"cell": 1, "twice": 1}


def test_ids_that_are_used_again_are_new_states_once_whether_a_look_or_a_sweep_finds_them(sensor, folder):
    sensor.create()
    sensor.add(40)
    env = {**APPEND, "SWEEP": "0", "UPDATE_WINDOW": "10"}
    deliver(sensor.path, folder, env=env)
    for slot in (3, 35):  # one out of reach of the window
        sensor.run("REPLACE INTO readings (id, sensor_id, timestamp) VALUES (?, 's', '2027-01-01T00:00:00Z')", slot)
    for _ in range(2):
        deliver(sensor.path, folder, env=env)
    found = states(folder)
    assert [i for i, v, _ in found if v == 2] == [3, 35]
    assert len(found) == 42


def test_windows_and_alerts_are_of_the_first_state_and_that_is_said(sensor, folder):
    sensor.create()
    sensor.add(20)
    env = {**APPEND, "AGGREGATE_CONFIG": '{"aggregations": {"temperature": ["sum"]}}'}
    modes = ["schematized", "aggregated", "emergency"]
    deliver(sensor.path, folder, env=env, processing_mode=modes)
    sensor.run("UPDATE readings SET temperature = 9000 WHERE id IN (5, 20)")
    done = deliver(sensor.path, folder, env=env, processing_mode=modes, flush=True)
    [said] = done.named("updates")
    assert (said["append"], said["ignore"]) == (["schematized"], ["aggregated", "emergency"])
    assert len(states(folder)) == 22
    assert folder.read("_3_aggregated")["record_count"].sum() == 20
    assert "row_version" not in folder.read("_3_aggregated").columns


def test_values_that_were_carried_over_stay_with_the_states_of_their_row(sensor, folder):
    sensor.create()
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature, humidity) VALUES ('s', '2026-01-01', 1, 10)")
    sensor.run(
        "INSERT INTO readings (sensor_id, timestamp, temperature, humidity) VALUES ('s', '2026-01-02', NULL, 11)"
    )
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature, humidity) VALUES ('s', '2026-01-03', 3, 12)")
    env = {**APPEND, "SANITIZE_CONFIG": '{"missing": {"temperature": "forward_fill"}}'}
    settings = {"env": env, "processing_mode": ["sanitized"]}
    deliver(sensor.path, folder, **settings)
    sensor.run("UPDATE readings SET humidity = 20 WHERE id = 2")
    deliver(sensor.path, folder, **settings)
    sensor.run("UPDATE readings SET temperature = 2 WHERE id = 2")
    for _ in range(2):
        deliver(sensor.path, folder, **settings)
    assert [t for i, _, t in states(folder, "sanitized") if i == 2] == [1, 1, 2]
    assert judged(sensor, folder, "sanitized", env).equal


def test_a_table_from_before_gets_versions_with_its_next_rows(sensor, folder):
    sensor.create()
    sensor.add(10)
    deliver(sensor.path, folder)
    assert "row_version" not in folder.read().columns
    sensor.run("UPDATE readings SET temperature = 1.5 WHERE id = 4")
    for _ in range(2):
        deliver(sensor.path, folder, env=APPEND)
    sensor.add(1, start=10)
    deliver(sensor.path, folder, env=APPEND)
    found = folder.read().select("reading_id", pl.col("row_version").fill_null(1)).rows()
    assert sorted(found) == sorted([*((i, 1) for i in range(1, 12)), (4, 2)])


@pytest.mark.parametrize(
    ("ddl", "modes", "env", "word"),
    [
        ("CREATE TABLE r (id INTEGER PRIMARY KEY, timestamp TEXT)", ["aggregated"], APPEND, "none of which is a mode"),
        ("CREATE TABLE r (timestamp TEXT, v REAL)", ["raw"], APPEND, "needs a table with an INTEGER PRIMARY KEY"),
        ("CREATE TABLE r (id INTEGER PRIMARY KEY, row_version INT)", ["raw"], APPEND, "makes a column row_version"),
        (
            "CREATE TABLE r (id INTEGER PRIMARY KEY, v REAL)",
            ["raw"],
            {**APPEND, "UPDATED_COLUMN": "changed"},
            "has no column 'changed'",
        ),
        (
            "CREATE TABLE r (id INTEGER PRIMARY KEY)",
            ["raw"],
            {**APPEND, "UPDATE_WINDOW": "0"},
            "needs an updated_column",
        ),
        ("CREATE TABLE r (id INTEGER PRIMARY KEY)", ["raw"], {"UPDATE_WINDOW": "5"}, "set on_update"),
    ],
)
def test_what_could_find_no_update_is_refused_at_the_start(  # noqa: PLR0917 - four of them are one case
    ddl, modes, env, word, sensor, folder
):
    sensor.run(ddl)
    with pytest.raises(ConfigurationError, match=word) as refused:
        deliver(sensor.path, folder, env=env, processing_mode=modes)
    assert refused.value.exit_code == 2


def test_updates_that_are_ignored_are_counted_once_each(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(20)
    deliver(sensor.path, folder)
    metrics = tmp_path / "m.prom"
    for value in (1.5, 2.5):
        sensor.run("UPDATE readings SET temperature = ? WHERE id = 20", value)
        for _ in range(2):
            deliver(sensor.path, folder, env={"METRICS_FILE": str(metrics)})
    state = sensor.path.parent / "state"
    [mode] = status(state)["modes"].values()
    assert (mode["updates_ignored"], mode["updates_delivered"]) == (2, 0)
    assert (
        'mode="schematized",node_id="n1",outcome="ignored",source="sensor",table="readings"} 1.0' in metrics.read_text()
    )
    assert "2 updates of delivered rows seen and ignored" in ask("status", "--state-dir", state).stdout
    found = judged(sensor, folder, env={})
    assert found.counts == {"cell": 1}
    assert any("2 updates of delivered rows" in note for note in found.notes)
    checked = ask("check", f"--sqlite={sensor.path}", f"--table-path={folder.base}", f"--state-dir={state}").stdout
    assert "updates of delivered rows are ignored; 2 were seen" in checked


def test_the_current_views_show_the_last_state_of_each_row(sensor, folder, monkeypatch):
    sensor.create()
    sensor.add(10)
    for value in (1.5, 2.5):
        deliver(sensor.path, folder, env=APPEND, processing_mode=["raw", "schematized", "sanitized"])
        sensor.run("UPDATE readings SET temperature = ? WHERE id IN (7, 10)", value)
    deliver(sensor.path, folder, env=APPEND, processing_mode=["raw", "schematized", "sanitized"])
    wanted = sensor.rows(columns="id, temperature")
    tables = {f"readings{suffix}": folder.read(suffix) for suffix, _ in MODES.values()}
    tables["readings_superseded"] = pl.DataFrame(schema=SCHEMA)
    with duckdb.connect() as connection:
        for name, frame in tables.items():
            connection.register(name, frame)
        for file in (statements.files()[2], statements.files()[10]):
            for _, statement in statements.split(file.read_text()):
                if re.match(r"CREATE OR REPLACE VIEW (delivered_readings|superseded|current_r|current_s)", statement):
                    connection.execute(in_duckdb(statement))
        for name, key in (("readings", "reading_id"), ("raw", "source_rowid"), ("sanitized", "reading_id")):
            assert connection.execute(f"SELECT {key}, temperature FROM current_{name} ORDER BY 1").fetchall() == wanted
        documented = (
            (Path(__file__).parents[2] / "docs" / "modes.md").read_text().partition("### Where rows are updated")[2]
        )
        sql, python = (re.search(rf"```{kind}[^\n]*\n(.*?)```", documented, re.DOTALL)[1] for kind in ("sql", "python"))
        connection.execute(re.sub(r"delta_scan\('[^']*/(\w+)'\)", r"\1", sql))
        assert connection.execute("SELECT reading_id, temperature FROM last_states ORDER BY 1").fetchall() == wanted
    monkeypatch.setattr(pl, "scan_delta", lambda path: tables[path.rpartition("/")[2]].lazy())
    exec(python, made := {})
    assert made["last_states"].select("reading_id", "temperature").sort("reading_id").collect().rows() == wanted


def test_the_statements_for_last_states_are_printed_for_tables_that_have_versions(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(3)
    texts = []
    for env in ({}, APPEND):
        deliver(sensor.path, folder, env=env)
        sensor.add(1, start=10)
        done = ask("sql", "11", f"--table-path={folder.base}", "--node-id=n1", f"--state-dir={tmp_path / 'state'}")
        texts.append([line for line in done.stdout.splitlines() if not line.startswith("--")])
    assert not any("row_version" in line for line in texts[0])
    assert sum("ORDER BY coalesce(row_version" in line for line in texts[1]) == 2  # all of them, and the recent ones


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("restarts", [True, False])
def test_a_column_that_comes_without_a_new_row_is_a_new_state_at_the_next_look(restarts, mode, sensor, folder):
    """Until a row brings it, the table does not have that column, and what is in it must not be taken for known."""
    sensor.create()
    sensor.add(6)
    process = Mortal(sensor, folder)
    process.values["processing_mode"], process.once = [mode], restarts
    process.deliver()
    sensor.run("ALTER TABLE readings ADD COLUMN unit TEXT")
    process.deliver()
    sensor.run("UPDATE readings SET unit = 'C' WHERE id IN (2, 6)")
    process.deliver()
    sensor.add(1, start=6)
    for _ in range(2):
        process.deliver()
    process.stop()
    assert [(i, v, u) for i, v, u in states(folder, mode, "unit") if v > 1] == [(2, 2, "C"), (6, 2, "C")]
    assert len(states(folder, mode, "unit")) == 9
    assert [report.counts for report in process.verify()] == [{}]
