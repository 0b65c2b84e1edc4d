"""Rows that are held back until they have been there for a while."""

from __future__ import annotations

import json
import signal
import time

import pytest

from edge_delta.core.model import Waiting
from edge_delta.delivery.settling import Settling
from tests.support.ask import ask, status
from tests.support.inprocess import deliver

LONG = {"SETTLE": "100000"}


def values(place):
    return dict(place.read().select("reading_id", "temperature").rows())


def insert(sensor, value=None):
    sensor.run(
        "INSERT INTO readings (sensor_id, timestamp, temperature) VALUES ('s', '2026-01-01T00:00:00Z', ?)", value
    )


def test_a_row_that_is_completed_while_it_is_held_arrives_whole_and_once(sensor, folder, command):
    sensor.create()
    edge = command(sensor.path, folder, node_id="n1", interval=0.2)
    running = edge.start(env={"SETTLE": "2", "SWEEP": "0"})
    for number in range(1, 6):
        insert(sensor)
        time.sleep(0.3)
        sensor.run("UPDATE readings SET temperature = ? WHERE id = ?", float(number), number)
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 5, what="all rows")
    assert values(folder) == {number: float(number) for number in range(1, 6)}
    insert(sensor)
    running.wait_until(lambda: status(edge.directory / "state")["modes"]["schematized"]["rows_held"] == 1, what="held")
    assert running.terminate() == 0  # it waits for the next start, in SQLite
    running = edge.start(env={"SETTLE": "0.5"})
    running.wait_until(lambda: folder.read().height == 6, what="the row that waited")


def test_a_single_run_leaves_what_is_too_new_for_the_next_one_and_says_so(sensor, folder):
    sensor.create()
    sensor.add(10)
    done = deliver(sensor.path, folder, env=LONG)
    assert done.complete
    assert [e["rows_left"] for e in done.named("cycle finished")] == [10]
    assert not folder.exists("_1_schematized")
    state = sensor.path.parent / "state"
    assert status(state)["modes"]["schematized"]["rows_held"] == 10
    assert "10 rows held back until they are settled" in ask("status", "--state-dir", state).stdout
    kept = json.loads((state / "sweep.json").read_text())
    kept["settle"]["seen"][0][0] -= 200_000
    (state / "sweep.json").write_text(json.dumps(kept))
    sensor.add(5, start=10)
    deliver(sensor.path, folder, env=LONG)
    assert sorted(values(folder)) == list(range(1, 11))
    deliver(sensor.path, folder, env=LONG, flush=True)
    assert sorted(values(folder)) == list(range(1, 16))
    assert status(state)["modes"]["schematized"]["rows_held"] == 0


def test_a_source_that_is_replaced_is_read_to_its_end_without_waiting(sensor, folder, command):
    sensor.create()
    sensor.add(5)
    running = command(sensor.path, folder, node_id="n1", interval=0.3).start(env=LONG)
    running.wait_for("cycle finished")
    first, other = sensor.path, sensor.path.with_name("other.db")
    sensor.open(other)
    sensor.create()
    sensor.add(3, start=1_000)
    sensor.close()
    for suffix in ("-wal", "-shm"):
        first.with_name(first.name + suffix).unlink(missing_ok=True)
    other.replace(first)
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 5, what="the rows of before")
    running.wait_for("source replaced")
    time.sleep(0.5)
    assert folder.read().height == 5
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


@pytest.mark.parametrize("kill", [True, False])
def test_rows_that_a_killed_process_has_seen_wait_at_most_once_more(kill, sensor, folder, command):
    sensor.create()
    sensor.add(5)
    edge = command(sensor.path, folder, node_id="n1", interval=0.2)
    running = edge.start(env={"SETTLE": "2"})
    running.wait_for("cycle finished")
    running.kill() if kill else running.terminate()
    assert not folder.exists("_1_schematized")
    running = edge.start(env={"SETTLE": "2"})
    running.wait_until(lambda: folder.exists("_1_schematized") and folder.read().height == 5, what="all rows")
    assert sorted(values(folder)) == [1, 2, 3, 4, 5]


def test_ids_are_settled_by_when_they_were_seen_whatever_the_clock_and_the_source_do():
    now, kept = [1_000.0], {}
    made = {"load": lambda: kept, "save": lambda what: (kept.clear(), kept.update(what)), "clock": lambda: now[0]}
    one = Settling(60, **made)
    waiting = Waiting(1, 1_000)
    for second in range(300):
        now[0] = 1_000.0 + second
        one.look(second + 1, generation=0)
        last = one.limit(waiting).last_rowid
        assert last is None if second < 60 else second - 61 <= last <= second - 59
    assert len(one._seen) < 70
    one.keep()
    again = Settling(60, **made)
    again.look(300, generation=0)
    assert again.limit(waiting) == one.limit(waiting)
    again.look(100, generation=0)  # the newest were deleted; what gets their ids is new
    assert again.limit(waiting) == Waiting(1, 100)
    again.look(300, generation=0)
    assert again.limit(waiting) == Waiting(1, 100)
    again.look(50, generation=1)
    assert again.limit(waiting) == Waiting(None, None)
    kept["settle"]["boot"] = "another"
    fresh = Settling(60, **made)
    fresh.look(300, generation=0)
    assert fresh.limit(waiting) == Waiting(None, None)


def test_rows_that_get_the_ids_of_held_ones_wait_where_the_table_was_empty_in_between():
    """As where a table is dropped and made again before anything of it was delivered."""
    clock, kept = [0.0], {}
    made = {"load": lambda: kept, "save": kept.update, "clock": lambda: clock[0]}
    one = Settling(30, **made)
    one.look(12, 0)
    one.keep()
    clock[0] = 40
    again = Settling(30, **made)
    again.look(None, 0)
    again.keep()
    clock[0] = 50
    last = Settling(30, **made)
    last.look(4, 0)
    assert last.limit(Waiting(1, 4)) == Waiting(None, None)
    clock[0] = 80
    assert last.limit(Waiting(1, 4)) == Waiting(1, 4)
