"""`edge-delta check`: every finding is ok, a warning or a failure, and says what to do; `--dry-run` writes nothing."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from edge_delta.doctor.findings import Level
from edge_delta.doctor.probe_s3 import clock
from tests.support.ask import ask
from tests.support.command import clean_environment


@pytest.fixture
def check(tmp_path):
    """The exit code and the findings."""

    def run(sqlite, place, *words, **env):
        done = ask(
            *("check", "--json", "--sqlite", sqlite, "--table-path", place.base),
            *("--state-dir", tmp_path / "state", *words),
            env={**place.environment, **env},
        )
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def of(findings, level):
    return [f for f in findings if f["level"] == level]


def test_before_the_first_start_all_is_well_and_nothing_is_left_behind(sensor, place, check, tmp_path):
    sensor.create()
    sensor.add(10)
    code, findings = check(sensor.path, place)
    assert (code, of(findings, "failed"), of(findings, "warning")) == (0, [], [])
    assert {f["area"] for f in findings} == {"settings", "state", "storage", "database", "table"}
    assert "its -wal file is visible" in str(findings)
    assert "sensor_id=sensor-0" in str(findings)
    assert not (tmp_path / "state").exists()
    assert not place.exists("_1_schematized")


def test_of_sources_that_would_mix_nothing_else_is_said(sensor, tmp_path):
    for table in ("a b", "a_b"):
        sensor.run(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, timestamp TEXT)')
    done = ask(
        *("check", "--json", "--sqlite", sensor.path, "--all-tables", "--table-path", tmp_path / "{table}"),
        *("--state-dir", tmp_path / "state"),
    )
    failures = of(json.loads(done.stdout), "failed")
    assert (done.returncode, {found["area"] for found in failures}) == (2, {"database"})
    assert all("table_path of its own" in str(found) for found in failures)


def test_the_store_is_tried_with_a_conditional_put(sensor, lake, check):
    sensor.create()
    code, findings = check(sensor.path, lake)
    assert code == 0
    assert "conditional puts are honoured" in str(findings)
    assert "the store's" in str(findings)


def test_after_a_delivery_cursor_and_source_agree(sensor, folder, check, command):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    code, findings = check(sensor.path, folder, "--node-id", "n1")
    assert code == 0
    assert "delivered up to id 10, which the source agrees with" in str(findings)


def test_many_small_files_are_a_warning(sensor, folder, check, command):
    sensor.create()
    sensor.add(201)
    command(sensor.path, folder, node_id="n1", max_batch_size=1).once().succeeded()
    code, findings = check(sensor.path, folder, "--node-id", "n1")
    assert code == 0
    [found] = of(findings, "warning")
    assert "has 201 files of 0.0 MB on average" in found["fact"]
    assert "edge-delta maintain" in found["cure"]


class Careless(http.server.BaseHTTPRequestHandler):
    """An S3 server that takes everything, whatever the conditions."""

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_POST(self):
        self._answer(b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")

    def do_GET(self):
        self._answer(b"<ListBucketResult/>")

    do_DELETE = do_GET  # noqa: N815

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_store_that_ignores_conditions_fails(sensor, lake, check):
    sensor.create()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, findings = check(sensor.path, lake, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert code == 3
    [failure] = [f for f in of(findings, "failed") if f["area"] == "storage"]
    assert "ignores If-None-Match" in failure["fact"]
    assert "honours conditional puts" in failure["cure"]


def test_wrong_credentials_are_told_without_showing_them(sensor, lake, check):
    sensor.create()
    code, findings = check(sensor.path, lake, AWS_SECRET_ACCESS_KEY="wrong-and-secret")
    assert code == 1
    assert "is refused" in of(findings, "failed")[0]["fact"]
    assert "credentials" in of(findings, "failed")[0]["cure"]
    assert "wrong-and-secret" not in str(findings)


def test_missing_credentials_are_told(sensor, lake, check, tmp_path):
    sensor.create()
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    code, findings = check(sensor.path, lake, **none)
    assert code == 1
    assert "no credentials" in of(findings, "failed")[0]["fact"]


def test_a_missing_bucket_is_told(sensor, lake, check):
    sensor.create()
    code, findings = check(sensor.path, lake, TABLE_PATH="", AWS_REGION="us-east-1")
    assert code == 0
    code, findings = check(sensor.path, lake, "--table-path", "s3://no-such-bucket/readings")
    assert code == 1
    assert "does not exist" in of(findings, "failed")[0]["fact"]


@pytest.mark.parametrize(("ahead", "level"), [(1, Level.OK), (120, Level.WARNING), (-120, Level.WARNING)])
def test_a_clock_that_is_wrong_is_a_warning(ahead, level):
    theirs = format_datetime(datetime.now(UTC) - timedelta(seconds=ahead), usegmt=True)
    found = clock({"ResponseMetadata": {"HTTPHeaders": {"date": theirs}}})
    assert found.level is level
    assert ("ahead of" if ahead > 0 else "behind") in found.fact


@pytest.mark.parametrize("zone", ["-0000", ""])
def test_a_date_without_a_zone_means_gmt(zone):
    now = datetime.now(UTC)
    found = clock({"ResponseMetadata": {"HTTPHeaders": {"date": f"{now:%a, %d %b %Y %H:%M:%S} {zone}"}}})
    assert found.level is Level.OK


def test_a_store_that_does_not_say_its_time_is_a_warning():
    for headers in ({}, {"date": "soon"}):
        assert clock({"ResponseMetadata": {"HTTPHeaders": headers}}).level is Level.WARNING


def test_wrong_settings_are_a_failure_with_code_2(sensor, folder, check):
    code, findings = check(sensor.path, folder, "--interval", "soon")
    assert code == 2
    assert [f["area"] for f in findings] == ["settings"]


def test_a_missing_database_does_not_hide_what_storage_says(folder, check, tmp_path):
    code, findings = check(tmp_path / "no.db", folder)
    assert code == 2
    assert [f["level"] for f in findings if f["area"] == "storage"] == ["ok"]
    assert "there is no database" in of(findings, "failed")[0]["fact"]


def test_rows_that_would_be_rejected_are_a_warning_with_the_reason(sensor, folder, check):
    sensor.create()
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', 'hot')")
    code, findings = check(sensor.path, folder)
    assert code == 0
    assert "1 of the next 1 rows would be rejected" in of(findings, "warning")[0]["fact"]


def test_a_replaced_source_is_a_warning_or_with_stop_a_decision(sensor, folder, check, command):
    sensor.create()
    sensor.add(10)
    command(sensor.path, folder, node_id="n1").once().succeeded()
    sensor.run("DELETE FROM readings")
    sensor.add(3, seed=9)
    code, findings = check(sensor.path, folder, "--node-id", "n1")
    assert code == 0
    assert "new generation" in of(findings, "warning")[0]["cure"]
    code, findings = check(sensor.path, folder, "--node-id", "n1", ON_SOURCE_RESET="stop")
    assert code == 3


def test_no_place_is_printed(sensor, folder, check):
    sensor.run("CREATE TABLE readings (id INTEGER PRIMARY KEY, timestamp TEXT, latitude REAL, longitude REAL)")
    sensor.run("INSERT INTO readings VALUES (1, '2026-01-01T00:00:00Z', 52.520008, 13.404954)")
    _, findings = check(sensor.path, folder)
    assert "52.52" not in str(findings)
    assert "13.40" not in str(findings)


def test_each_line_of_the_text_begins_with_how_it_is_meant(sensor, folder, tmp_path):
    sensor.create()
    done = ask("check", "--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", tmp_path / "state")
    assert done.returncode == 0
    assert all(line.split()[0] in ("ok", "warning", "failed") for line in done.stdout.splitlines())


@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized", "aggregated", "emergency"])
def test_a_dry_run_shows_the_next_batch_and_writes_nothing(mode, sensor, folder, tmp_path):
    sensor.create()
    sensor.add(10)
    before = sensor.path.stat().st_mtime_ns
    done = ask(
        *("run", "--dry-run", "--sqlite", sensor.path, "--table-path", folder.base, "--processing-mode", mode),
        *("--state-dir", tmp_path / "state"),
    )
    assert done.returncode == 0, done.stderr
    assert f"{mode}: 10 rows read" in done.stdout
    assert not (tmp_path / "lake").exists()
    assert not (tmp_path / "state").exists()
    assert sensor.path.stat().st_mtime_ns == before


def test_a_dry_run_of_many_columns_has_one_on_each_line(sensor, folder, tmp_path):
    texts = [f"c{i} TEXT" for i in range(28)]
    sensor.run(f"CREATE TABLE wide (id INTEGER PRIMARY KEY, Temp REAL, taken TEXT, {', '.join(texts)})")
    for i in range(4):
        sensor.run(f"INSERT INTO wide (Temp, taken, c0) VALUES ({i}.5, '2026-01-01T00:00:0{i}Z', '{'long ' * 30}')")
    (tmp_path / "edge.toml").write_text('[schematize.rename]\nTemp = "temperature"\n')
    done = ask(
        *("run", "--dry-run", "--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", tmp_path / "state"),
        *("--config", tmp_path / "edge.toml", "--timestamp-field", "taken"),
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert ["temperature", "Temp", "double", "0.5 | 1.5 | 2.5"] in lines
    assert ["reading_id", "id", "long", "1 | 2 | 3"] in lines
    assert ["humidity", "-", "double", "null | null | null"] in lines
    [stamp] = [line for line in lines if line[0] == "timestamp"]
    assert stamp[1:3] == ["taken", "timestamp"]
    assert {f"c{i}" for i in range(28)} <= {line[0] for line in lines}
    assert max(map(len, done.stdout.splitlines()[1:])) <= 120


def test_a_log_beside_the_database_that_may_not_be_read_is_named_with_the_cure(sensor, folder, command):
    """As after `chmod o+r` of the database alone, where the application's umask is 077 and its -wal file was there."""
    sensor.create()
    sensor.add(10)
    for suffix in ("-wal", "-shm"):
        sensor.path.with_name(sensor.path.name + suffix).chmod(0)
    edge = command(sensor.path, folder, node_id="n1", interval=None, retry_for=None)
    # Root reads everything, unless it is without the capabilities to.
    caps = "-dac_override,-dac_read_search"
    plain = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    words = [*plain, sys.executable, "-m", "edge_delta", *edge.arguments({}, "check")]
    done = subprocess.run(
        words, cwd=edge.directory, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"user {os.geteuid()} may not read sensor.db-wal (mode 0, of user {os.geteuid()})" in done.stdout
    assert f"chmod o+r {sensor.path} {sensor.path}-wal {sensor.path}-shm" in done.stdout


def test_a_dry_run_does_not_move_a_cursor(sensor, folder, command):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    version = folder.table().version()
    sensor.add(5, start=10)
    done = edge.once(dry_run=True)
    assert "5 rows read, 5 would go to" in done.stdout
    assert folder.table().version() == version
    edge.once().succeeded()
    assert folder.read().height == 15


def test_a_mode_without_any_time_is_no_good_news(sensor, folder, tmp_path):
    sensor.run("CREATE TABLE m (nr INTEGER PRIMARY KEY, wert REAL)")
    sensor.run("INSERT INTO m (wert) VALUES (1.5)")
    for mode, level in (("schematized", "warning"), ("raw", "ok")):
        flags = ("--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", tmp_path / "state")
        done = ask("check", *flags, "--processing-mode", mode, cwd=tmp_path)
        [told] = [line for line in done.stdout.splitlines() if "holds the reading's time" in line]
        assert told.split()[0] == level
        assert "timestamp_col" in told


def test_a_rename_that_renames_nothing_is_told_and_stops_nothing(sensor, folder, tmp_path):
    sensor.create()
    sensor.add(1)
    flags = ("--sqlite", sensor.path, "--table-path", folder.base, "--state-dir", tmp_path / "state")
    (tmp_path / "config.toml").write_text('[schematize]\nrename = { tmp_c = "temperature" }\n')
    assert "schematize.rename names 'tmp_c', which is no column" in ask("check", *flags, cwd=tmp_path).stdout
    assert ask("run", "--once", *flags, cwd=tmp_path).returncode == 0
