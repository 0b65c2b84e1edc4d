"""What goes wrong between the device and the store, one fault a test: nothing is lost, nothing is there twice, and the
log says once that it is unavailable and once that it is over.
"""

from __future__ import annotations

import io
import json
import statistics
import time
from pathlib import Path

import pytest

from edge_delta.core import events as telemetry
from edge_delta.core.errors import StorageUnavailable
from edge_delta.core.retry import Outage
from tests.support import modes
from tests.support.proxy import Answer, CutBody, DropAnswer, DropBefore, Stall
from tests.support.tables import assert_both_readers_agree, assert_each_once
from tests.support.weed import ACCESS_KEY, SECRET_KEY

COMMIT = r"_delta_log/\d{20}\.json$"
DATA = r"\.parquet"


@pytest.fixture
def edge(tmp_path, sensor, wired_lake, command):
    """A device on S3 behind the proxy, which waits for an answer for one second."""
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml({"storage": {"request_timeout": 1.0, "connect_timeout": 1.0}}), encoding="utf-8")
    sensor.create()
    return command(sensor.path, wired_lake, node_id="n1", config=file, max_batch_size=50)


def ids(place):
    return assert_both_readers_agree(place, "_1_schematized", "reading_id")["reading_id"].to_list()


FAULTS = [
    pytest.param(DropBefore(), {"method": "PUT", "path": DATA}, id="a data file's connection is dropped"),
    pytest.param(DropAnswer(), {"method": "PUT", "path": DATA}, id="a data file arrives and its answer does not"),
    pytest.param(DropBefore(), {"method": "PUT", "path": COMMIT}, id="a commit's connection is dropped"),
    pytest.param(Answer(500), {}, id="500 for everything"),
    pytest.param(Answer(503, "SlowDown"), {"method": "PUT"}, id="503 SlowDown for writing"),
    pytest.param(Answer(429, "TooManyRequests"), {}, id="429 for everything"),
    pytest.param(Answer(403, "ExpiredToken"), {}, id="403 for an expired token"),
    pytest.param(Stall(3), {"method": "PUT", "path": COMMIT}, id="a commit hangs past the timeout"),
    pytest.param(CutBody(10), {"method": "GET", "path": COMMIT}, id="the log's body is cut"),
]


@pytest.mark.parametrize(("fault", "where"), FAULTS)
def test_a_fault_that_lasts_is_said_once_and_loses_and_repeats_nothing(  # noqa: PLR0917
    fault, where, sensor, proxy, edge, wired_lake
):
    sensor.add(100)
    running = edge.start()
    running.wait_for("batch committed", count=2)
    if isinstance(fault, CutBody):  # the log is read by the next process
        running.terminate()
    rule = proxy.plan(fault, times=None, **where)
    sensor.add(100, start=100)
    if isinstance(fault, CutBody):
        running = edge.start()
    running.wait_for("unavailable", timeout=60)
    proxy.clear()
    running.wait_for("recovered", timeout=60)
    running.wait_until(lambda: wired_lake.read().height == 200, what="the rows that waited", timeout=60)
    assert running.terminate() == 0
    assert rule.hits
    assert len(running.named("unavailable")) == len(running.named("recovered")) == 1
    assert running.named("recovered")[0]["after_seconds"] > 0
    assert ids(wired_lake) == list(range(1, 201))


@pytest.mark.parametrize("fault", [Answer(500), Answer(403, "ExpiredToken"), CutBody(10)], ids=["500", "403", "cut"])
def test_a_look_at_delivered_rows_that_the_store_does_not_answer_is_an_outage(  # noqa: PLR0917
    fault, tmp_path, sensor, proxy, edge, wired_lake
):
    """What fails while a table's files are read comes from DataFusion, without a class that tells why."""
    sensor.add(60)
    path, backup = sensor.path, tmp_path / "backup.db"
    sensor.run(f"VACUUM INTO '{backup}'")
    sensor.add(40, start=60)
    edge.once().succeeded()
    sensor.open(tmp_path / "another.db")
    backup.rename(path)
    sensor.open(path)
    sensor.add(20, start=100)
    rule = proxy.plan(fault, times=None, method="GET", path=DATA)
    running = edge.start()
    running.wait_for("unavailable", timeout=60)
    proxy.clear()
    running.wait_for("recovered", timeout=60)
    running.wait_for("cycle finished")
    assert running.terminate() == 0
    assert rule.hits
    assert len(running.named("unavailable")) == len(running.named("recovered")) == 1
    assert running.named("source reset")[0]["known_until"] == 60
    assert wired_lake.read()["timestamp"].n_unique() == wired_lake.read().height == 120


def test_commits_whose_answers_are_lost_are_there_once(sensor, proxy, edge, wired_lake):
    sensor.add(200)
    rule = proxy.plan(DropAnswer(), method="PUT", path=COMMIT, skip=1, times=6)
    edge.once(retry_for=60).succeeded()
    assert rule.hits
    assert ids(wired_lake) == list(range(1, 201))


def test_once_gives_up_after_retry_for_with_1_and_the_next_run_delivers(sensor, proxy, edge, wired_lake):
    sensor.add(60)
    proxy.plan(Answer(503, "SlowDown"), times=None)
    done = edge.once(retry_for=2)
    assert done.code == 1
    assert len(done.named("unavailable")) == 1
    proxy.clear()
    edge.once().succeeded()
    assert ids(wired_lake) == list(range(1, 61))


def test_credentials_that_are_renewed_in_their_file_are_taken_over_without_a_restart(
    tmp_path, sensor, proxy, edge, wired_lake
):
    file = tmp_path / "credentials"

    def issued(key, secret):
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n", encoding="utf-8")

    edge.environment = {k: v for k, v in wired_lake.environment.items() if "KEY" not in k}
    edge.environment["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
    sensor.add(100)
    issued("expired", "of no use any more")
    running = edge.start()
    refused = running.wait_for("unavailable", timeout=60)
    assert "of no use" not in str(refused)
    issued(ACCESS_KEY, SECRET_KEY)
    running.wait_for("recovered", timeout=60)
    running.wait_for("batch committed", timeout=60)
    running.wait_until(lambda: wired_lake.read().height == 100, what="the rows", timeout=30)
    assert running.terminate() == 0
    assert proxy.requests()
    assert ids(wired_lake) == list(range(1, 101))


def test_credentials_that_expire_while_it_runs_are_fetched_again_through_the_chain(
    tmp_path, sensor, proxy, edge, wired_lake
):
    issued, config = tmp_path / "issued", tmp_path / "aws-config"
    answer = {"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY}
    script = tmp_path / "issue.sh"
    script.write_text(
        f"#!/bin/sh\necho >>{issued}\n"
        f"at=$(date -u -d '+3 seconds' +%Y-%m-%dT%H:%M:%SZ)\n"
        f"echo '{json.dumps(answer)[:-1]}, \"Expiration\": \"'$at'\"}}'\n",
        encoding="ascii",
    )
    config.write_text(f"[default]\ncredential_process = sh {script}\n", encoding="ascii")
    edge.environment = {k: v for k, v in wired_lake.environment.items() if "KEY" not in k}
    edge.environment |= {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}

    def times():
        return len(issued.read_text(encoding="ascii").splitlines()) if issued.exists() else 0

    sensor.add(100)
    running = edge.start()
    running.wait_for("batch committed", count=2, timeout=60)
    expired_at = times()
    assert expired_at > 0
    proxy.chaos = lambda _method, _path: Answer(403, "ExpiredToken") if times() == expired_at else None
    sensor.add(100, start=100)
    running.wait_until(lambda: times() > expired_at, what="new credentials", timeout=60)
    running.wait_until(lambda: wired_lake.read().height == 200, what="the rows", timeout=60)
    assert running.terminate() == 0
    assert len(running.named("unavailable")) == len(running.named("recovered")) <= 1
    assert ids(wired_lake) == list(range(1, 201))


def test_pauses_grow_to_a_limit_and_are_never_in_step():
    stream = io.StringIO()
    outage = Outage(telemetry.configure(stream=stream))
    typical = []
    for _ in range(12):
        pauses = [outage.pause() for _ in range(300)]
        assert len(set(pauses)) > 290
        typical.append(statistics.median(pauses))
        outage.failed(StorageUnavailable("the store does not answer"), pauses[0])
    assert typical[0] < 1 < typical[3] < typical[6] < typical[-1] <= 300
    assert stream.getvalue().count('"unavailable"') == 1
    outage.over()
    assert outage.pause() <= 1


def test_the_writers_log_stays_bounded_while_a_backlog_goes_up_at_1_mb_a_second(sensor, proxy, wired_lake, command):
    """No more than four times what SQLite's automatic checkpoint allows (1,000 pages)."""
    sensor.run("CREATE TABLE readings (id INTEGER PRIMARY KEY, timestamp TEXT, note TEXT)")

    def add(count):
        sensor.run(
            "INSERT INTO readings (timestamp, note) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            f"LIMIT {count}) SELECT '2026-01-01T00:00:00+00:00', hex(randomblob(400)) FROM n"
        )

    add(12_000)
    proxy.bytes_per_second = 1_000_000
    running = command(sensor.path, wired_lake, node_id="n1", max_batch_size=4000).start()
    log, largest = sensor.path.with_name("sensor.db-wal"), 0
    running.wait_for("cycle started")
    deadline = time.monotonic() + 90
    while not running.named("cycle finished") and time.monotonic() < deadline:
        add(100)
        largest = max(largest, log.stat().st_size)
        time.sleep(0.05)
    assert running.named("cycle finished")
    proxy.bytes_per_second = None
    page = sensor.run("PRAGMA page_size")[0][0]
    assert 0 < largest < 4 * 1000 * page
    last = sensor.run("SELECT max(id) FROM readings")[0][0]
    running.wait_until(lambda: wired_lake.read().height == last, what="all rows", timeout=60)
    assert running.terminate() == 0
    assert_each_once(wired_lake.read()["reading_id"], range(1, last + 1))


def test_no_secret_is_shown_at_any_log_level_whatever_fails(sensor, proxy, edge):
    sensor.add(10)
    secrets = {"AWS_SECRET_ACCESS_KEY": "a-secret-key-of-mine", "AWS_SESSION_TOKEN": "a-session-token-of-mine"}
    secrets["GPS_FUZZING_SECRET"] = "a-fuzzing-secret-of-mine"
    texts = []
    for fault in (Answer(403, "ExpiredToken"), Answer(400, "InvalidToken"), DropBefore(), None):
        proxy.clear()
        if fault is not None:
            proxy.plan(fault, times=None)
        done = edge.once(env=secrets, retry_for=1, verbose=True)
        assert done.code == 1
        texts.append(done.stdout + done.stderr)
    for text in texts:
        assert not [name for name, secret in secrets.items() if secret in text]


def in_an_outage(sensor, proxy, edge):
    """A process that delivered a hundred rows, when the store ceased to answer and twenty more came."""
    sensor.add(100)
    running = edge.start()
    running.wait_for("batch committed", count=2)
    proxy.plan(Answer(503), times=None)
    sensor.add(20, start=100)
    running.wait_for("unavailable", timeout=60)
    return running


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "deleted and made again"])
def test_rows_of_a_file_that_goes_during_an_outage_are_delivered_after_it(sensor, proxy, edge, wired_lake, replaced):
    """They are nowhere else: a file that no name leads to is not let go because a store does not answer."""
    running = in_an_outage(sensor, proxy, edge)
    sensor.add(30, start=120)
    sensor.unlink()
    if replaced:
        sensor.open(sensor.path)
        sensor.create()
        sensor.add(7, start=1_000)
    time.sleep(3)  # some tries
    proxy.clear()
    there = 157 if replaced else 150
    running.wait_until(lambda: wired_lake.read().height == there, what="the rows that waited", timeout=60)
    assert running.terminate() == 0
    generations = wired_lake.read()["source_generation"].to_list()
    assert (generations.count(0), generations.count(1)) == (150, there - 150)


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_rows_of_a_file_that_went_during_an_outage_are_told_as_lost_where_the_process_ended(  # noqa: PLR0917
    how, sensor, proxy, edge, wired_lake, tmp_path
):
    """The next process finds another file, and no row in it tells of those."""
    running = in_an_outage(sensor, proxy, edge)
    sensor.unlink()
    sensor.open(sensor.path)
    sensor.create()
    sensor.add(7, start=1_000)
    state = tmp_path / "state" / "sweep.json"
    if how == "terminate":
        assert running.terminate() == 0
    else:
        running.wait_until(
            lambda: state.exists() and '"left"' in state.read_text(), what="a try that fails", timeout=60
        )
        running.kill()
    proxy.clear()
    done = edge.once()
    assert [(e["mode"], e["rows"]) for e in done.named("rows lost")] == [("schematized", 20)]
    assert wired_lake.read().height == 107
    told = edge.run("verify")
    assert told.code == 1
    assert "20 rows that were read went with their source" in told.stdout
    assert '"rows_lost": 20' in (tmp_path / "state" / "last_upload.json").read_text()
    assert not edge.once().named("rows lost")
    assert "left" not in json.loads(state.read_text())


def replaced_by_a_file(base):
    base.write_bytes(b"")


def replaced_by_a_link_to_itself(base):
    base.symlink_to(base)


@pytest.mark.parametrize("replaced", [replaced_by_a_file, replaced_by_a_link_to_itself])
def test_a_folder_that_something_else_takes_the_place_of_is_an_outage_and_its_return_the_end(
    replaced, sensor, folder, command, tmp_path
):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1")
    base, away = Path(folder.base).parent, tmp_path / "away"
    running = edge.start()
    running.wait_for("batch committed")
    base.rename(away)
    replaced(base)
    sensor.add(10, start=100)
    told = running.wait_for("unavailable")
    assert f"folder {folder.uri('_1_schematized')} cannot be reached" in told["error"]
    assert "Check that each part of the path is a folder" in told["error"]
    base.unlink()
    away.rename(base)
    running.wait_for("batch committed", count=2)
    assert running.terminate() == 0
    assert len(running.named("unavailable")) == 1
    assert ids(folder) == list(range(1, 21))


@pytest.mark.parametrize("replaced", [replaced_by_a_file, replaced_by_a_link_to_itself])
def test_once_and_check_say_what_is_in_the_way_of_a_folder(replaced, sensor, folder, command, tmp_path):
    sensor.create()
    sensor.add(10)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    base = Path(folder.base).parent
    base.rename(tmp_path / "away")
    replaced(base)
    sensor.add(10, start=100)
    done = edge.once(retry_for=1)
    assert done.code == 1
    assert f"folder {folder.uri('_1_schematized')} cannot be reached" in done.error
    assert f"'{base}" in done.error
    for words in ("check", "verify", "maintain"):
        told = edge.run(words, interval=None, retry_for=None)
        assert told.code == 1, told.stdout
        assert "cannot be reached" in told.stdout + told.stderr
        assert "mistake of edge-delta" not in told.stdout + told.stderr
