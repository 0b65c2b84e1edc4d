"""run > cycle > drain > step, as the running process shows it."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.proxy import Answer, DropBefore, Stall
from tests.support.sqlite import LiveWriter
from tests.support.tables import assert_both_readers_agree, assert_each_once

COMMIT = r"_delta_log/\d{20}\.json$"


def ids(place):
    return assert_both_readers_agree(place, "_1_schematized", "reading_id")["reading_id"].to_list()


# -- once and again and again


def test_once_drains_everything_and_reports_each_cycle_in_two_events(sensor, folder, command):
    sensor.create()
    sensor.add(250)
    done = command(sensor.path, folder, node_id="n1", max_batch_size=100).once().succeeded()
    [before], [after] = done.named("cycle started"), done.named("cycle finished")
    assert {k: before[k] for k in ("rows_waiting", "first_id", "last_id", "will_fetch")} == {
        "rows_waiting": 250,
        "first_id": 1,
        "last_id": 250,
        "will_fetch": 100,
    }
    assert {k: after[k] for k in ("rows_written", "rows_rejected", "first_id", "last_id", "rows_left")} == {
        "rows_written": 250,
        "rows_rejected": 0,
        "first_id": 1,
        "last_id": 250,
        "rows_left": 0,
    }
    assert [e["rows"] for e in done.named("batch committed")] == [100, 100, 50]
    assert done.stdout == ""
    assert ids(folder) == list(range(1, 251))


def test_once_ends_although_the_writer_goes_on(sensor, folder, command):
    sensor.create()
    sensor.add(100)
    with LiveWriter(sensor.path, rate=2000):
        done = command(sensor.path, folder, node_id="n1", max_batch_size=50).once(timeout=30).succeeded()
    [started] = done.named("cycle started")
    assert max(ids(folder)) == started["last_id"]


def test_an_empty_table_makes_no_table_and_no_error(sensor, folder, command):
    sensor.create()
    edge = command(sensor.path, folder, node_id="n1")
    done = edge.once().succeeded()
    assert done.named("cycle finished")[0]["rows_left"] == 0
    assert not folder.exists("_1_schematized")
    sensor.add(3)
    edge.once().succeeded()
    assert ids(folder) == [1, 2, 3]


def test_a_second_once_writes_nothing(sensor, folder, command):
    sensor.create()
    sensor.add(30)
    edge = command(sensor.path, folder, node_id="n1")
    edge.once().succeeded()
    version = folder.table().version()
    assert not edge.once().succeeded().named("batch committed")
    assert folder.table().version() == version


def test_rows_that_appear_later_are_delivered_by_the_next_cycle(sensor, folder, command):
    sensor.create()
    running = command(sensor.path, folder, node_id="n1").start()
    running.wait_for("cycle finished")
    for count in (1, 20, 300):
        sensor.add(count)
        wanted = sensor.rows()[-1][0]
        running.wait_until(lambda w=wanted: folder.exists("_1_schematized") and folder.read().height == w, what="rows")
    assert running.terminate() == 0
    assert ids(folder) == list(range(1, 322))


def test_a_row_committed_late_with_an_older_time_is_delivered(sensor, folder, command):
    sensor.create()
    edge = command(sensor.path, folder, node_id="n1")
    for time_of in ("2026-05-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z", "1999-01-01T00:00:00Z"):
        sensor.run("INSERT INTO readings (timestamp) VALUES (?)", time_of)
        edge.once().succeeded()
    assert ids(folder) == [1, 2, 3, 4]


# -- an idle cycle


@pytest.mark.slow
def test_an_idle_cycle_on_five_million_rows_costs_nothing(sensor, proxy, wired_lake, command):
    idle(sensor, proxy, wired_lake, command, rows=5_000_000)


def test_an_idle_cycle_sends_no_request_and_takes_under_20_ms(sensor, proxy, wired_lake, command):
    idle(sensor, proxy, wired_lake, command, rows=50_000)


def idle(sensor, proxy, place, command, *, rows):
    sensor.create()
    sensor.add(rows)
    running = command(sensor.path, place, node_id="n1", interval=0.1).start()
    running.wait_until(lambda: any(e["last_id"] == rows for e in done(running)), what="the backlog", timeout=120)
    time.sleep(1)  # connections, threads and caches settle
    requests, cycles, cpu = len(proxy.requests()), len(done(running)), running.cpu_seconds()
    time.sleep(4)
    cycles, cpu = len(done(running)) - cycles, running.cpu_seconds() - cpu
    assert len(proxy.requests()) == requests > 0
    assert cycles >= 10
    assert cpu / cycles < 0.020
    # It is still awake.
    sensor.add(1)
    running.wait_until(lambda: any(e["last_id"] == rows + 1 for e in done(running)), what="the next row")
    assert running.terminate() == 0


def done(running):
    return [e | {"last_id": e.get("last_id")} for e in running.named("cycle finished")]


# -- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_batch_in_flight_with_0(number, sensor, folder, command):
    sensor.create()
    sensor.add(30_000)
    edge = command(sensor.path, folder, node_id="n1", max_batch_size=100)
    running = edge.start()
    running.wait_for("batch committed", count=3)
    running.signal(number)
    started = time.monotonic()
    assert running.wait(12) == 0
    assert time.monotonic() - started < 10
    assert running.named("stopping")
    assert running.named("stopped")
    delivered = ids(folder)
    assert 300 <= len(delivered) < 30_000
    assert len(delivered) % 100 == 0
    assert running.named("batch committed")[-1]["cursor"] == delivered[-1]
    edge.once(max_batch_size=50_000).succeeded()
    assert ids(folder) == list(range(1, 30_001))


def test_a_signal_while_it_waits_ends_it_at_once(sensor, folder, command):
    sensor.create()
    sensor.add(5)
    running = command(sensor.path, folder, node_id="n1", interval=3600).start()
    running.wait_for("cycle finished")
    started = time.monotonic()
    assert running.terminate() == 0
    assert time.monotonic() - started < 3


def test_a_signal_while_the_store_hangs_ends_it_within_10_seconds(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(100)
    proxy.plan(Stall(60), method="PUT", path=COMMIT, skip=2, times=None)
    edge = command(sensor.path, wired_lake, node_id="n1", max_batch_size=20)
    running = edge.start()
    running.wait_until(lambda: len(proxy.requests("PUT", COMMIT)) >= 3, what="the request that hangs")
    started = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait(12) == 0
    assert time.monotonic() - started < 10
    assert running.named("stopped") == [running.named("stopped")[0] | {"batch_given_up": True}]
    proxy.clear()
    proxy.cut_all()
    edge.once().succeeded()
    assert ids(wired_lake) == list(range(1, 101))


def test_a_second_signal_ends_it_at_once(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(100)
    proxy.plan(Stall(60), method="PUT", path=COMMIT, skip=2, times=None)
    edge = command(sensor.path, wired_lake, node_id="n1", max_batch_size=20)
    running = edge.start()
    running.wait_until(lambda: len(proxy.requests("PUT", COMMIT)) >= 3, what="the request that hangs")
    running.signal(signal.SIGTERM)
    running.wait_for("stopping")
    started = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait(5) == 128 + signal.SIGTERM
    assert time.monotonic() - started < 1.5
    proxy.clear()
    edge.once().succeeded()
    assert ids(wired_lake) == list(range(1, 101))


# -- outages


def test_an_outage_is_said_once_and_its_end_once(sensor, proxy, wired_lake, command):
    sensor.create()
    sensor.add(50)
    running = command(sensor.path, wired_lake, node_id="n1").start()
    running.wait_for("batch committed")
    proxy.down = True
    proxy.cut_all()
    sensor.add(50)
    running.wait_for("unavailable", timeout=40)
    sensor.add(50)
    proxy.clear()
    running.wait_for("recovered", timeout=40)
    running.wait_until(lambda: wired_lake.read().height == 150, what="the rows that waited")
    assert running.terminate() == 0
    assert len(running.named("unavailable")) == 1
    assert len(running.named("recovered")) == 1
    assert ids(wired_lake) == list(range(1, 151))


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        pytest.param(DropBefore(), {"method": "PUT", "path": "parquet", "times": 2}, id="uploads are cut"),
        pytest.param(Answer(500), {"method": "PUT", "path": COMMIT, "times": 3}, id="commits fail with 500"),
        pytest.param(Answer(503, "SlowDown"), {"times": 6}, id="everything fails with 503"),
        pytest.param(Answer(403, "AccessDenied"), {"method": "PUT", "times": 2}, id="writing is forbidden"),
        pytest.param(Answer(429, "TooManyRequests"), {"method": "GET", "times": 3}, id="reading is limited"),
    ],
)
def test_faults_on_the_wire_neither_lose_nor_repeat_rows(  # noqa: PLR0917
    fault, where, sensor, proxy, wired_lake, command
):
    sensor.create()
    sensor.add(200)
    rule = proxy.plan(fault, skip=3, **where)
    running = command(sensor.path, wired_lake, node_id="n1", max_batch_size=50).start()
    running.wait_until(
        lambda: any(e["cursor"] == 200 for e in running.named("batch committed")), what="the last batch", timeout=45
    )
    assert running.terminate() == 0
    assert rule.hits > 0
    assert ids(wired_lake) == list(range(1, 201))


# -- several processes


def test_two_devices_that_make_the_table_at_once_both_deliver(sensor, lake, command, tmp_path):
    sensor.create()
    sensor.add(200)
    edges = [
        command(sensor.path, lake, node_id=f"n{i}", state_dir=tmp_path / f"state{i}", max_batch_size=50, retry_for=30)
        for i in range(2)
    ]
    both = [edge.start(once=True) for edge in edges]
    for running in both:
        assert running.wait(60) == 0, running.text()
    table = lake.read()
    assert_each_once(
        table.select("node_id", "reading_id").rows(), [(f"n{i}", r) for i in range(2) for r in range(1, 201)]
    )


def test_two_processes_of_one_device_that_do_not_share_a_state_directory_deliver_once(sensor, lake, command, tmp_path):
    sensor.create()
    sensor.add(600)
    edge = command(sensor.path, lake, node_id="n1", max_batch_size=20)
    both = [edge.start(state_dir=tmp_path / f"state{i}") for i in range(2)]
    both[0].wait_until(
        lambda: lake.exists("_1_schematized") and lake.read().height >= 600, what="the backlog", timeout=60
    )
    sensor.add(50, start=600)
    both[0].wait_until(lambda: lake.read().height >= 650, what="the next rows", timeout=30)
    assert [running.terminate() for running in both] == [0, 0]
    assert ids(lake) == list(range(1, 651))


# -- memory


def test_memory_does_not_grow_with_the_backlog(sensor, folder, command):
    sensor.create()
    # Both are long enough to be read ahead, and short enough to end before the first compaction.
    backlogs = (120_000, 480_000)
    peaks = [peak(sensor, folder, command, rows=rows, run=i, size=20_000) for i, rows in enumerate(backlogs)]
    assert peaks[1] < peaks[0] * 1.15


@pytest.mark.slow
def test_memory_does_not_grow_from_one_to_five_million_rows(sensor, folder, command):
    sensor.create()
    peaks = [
        peak(sensor, folder, command, rows=rows, run=i, size=131_072) for i, rows in enumerate((1_000_000, 5_000_000))
    ]
    assert peaks[1] < peaks[0] * 1.15
    assert peaks[1] < 400


def peak(sensor, place, command, *, rows, run, size=5000):
    """The process's high-water mark over a whole backlog."""
    there = sensor.run("SELECT count(*) FROM readings")[0][0]
    sensor.add(rows - there, start=there)
    running = command(sensor.path, place, node_id=f"n{run}", max_batch_size=size).start(fresh=True)
    running.wait_until(lambda: any(e["last_id"] == rows for e in done(running)), what="the backlog", timeout=180)
    megabytes = running.peak_megabytes()
    assert running.terminate() == 0
    return megabytes


def test_what_an_urgent_mode_delivered_at_once_reaches_the_other_modes_in_the_next_cycle(sensor, folder, command):
    sensor.create()
    sensor.add(20)
    modes = "schematized,emergency"
    running = command(sensor.path, folder, node_id="n1", processing_mode=modes, interval=4, fuzz_factor=0).start()
    running.wait_for("cycle finished", count=2)
    sensor.run("INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', 5000)")
    running.wait_until(
        lambda: any(e["mode"] == "emergency" and e["last_id"] == 21 for e in running.named("cycle finished")),
        what="the urgent mode's delivery",
    )
    assert max(folder.read()["reading_id"]) == 20  # it did not wait for the cycle
    running.wait_until(lambda: max(folder.read()["reading_id"]) == 21, what="the other mode's row")
    assert running.terminate() == 0
