"""Rows that come below the cursor: each of them once, and nothing else."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest
from deltalake import write_deltalake

from edge_delta.delivery import known_rows, survey, sweep, sweep_parts
from edge_delta.source.census import Census
from edge_delta.source.reader import SQLiteSource
from tests.support.inprocess import deliver
from tests.support.tables import Place

ALWAYS = {"SWEEP": "0"}
ALERTS = {**ALWAYS, "EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": 20}, "anomaly_flag": false}'}


def row(sensor, rowid, second):
    sensor.run(
        "INSERT OR REPLACE INTO readings (id, sensor_id, timestamp, temperature) "
        "VALUES (?, 's', strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch'), ?)",
        rowid,
        1_767_225_600 + second,
        second / 7,
    )


def ids(place, suffix="_1_schematized"):
    return sorted(place.read(suffix)["reading_id"].to_list())


def test_rows_filled_in_below_the_cursor_arrive_once(sensor, folder):
    sensor.create()
    for number in range(10, 200, 10):
        row(sensor, number, number)
    modes = ["schematized", "sanitized"]
    deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes)
    for number in (5, 15, 37, 101):
        row(sensor, number, number)
    found = deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes).named("rows below the cursor")
    assert [(f["mode"], f["rows"]) for f in found] == [("schematized", 4), ("sanitized", 4)]
    row(sensor, 500, 500)
    for _ in range(2):
        assert not deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes).named("rows below the cursor")
    wanted = sorted([*range(10, 200, 10), 5, 15, 37, 101, 500])
    assert ids(folder) == wanted
    assert ids(folder, "_2_sanitized") == wanted


def test_a_lost_state_directory_makes_the_sweep_ask_the_table(sensor, folder, tmp_path):
    sensor.create()
    for number in range(10, 100, 10):
        row(sensor, number, number)
    deliver(sensor.path, folder, env=ALWAYS)
    row(sensor, 15, 15)
    deliver(sensor.path, folder, env=ALWAYS)
    row(sensor, 25, 25)
    done = deliver(sensor.path, folder, env=ALWAYS, state_dir=str(tmp_path / "another"))
    assert [f["rows"] for f in done.named("rows below the cursor")] == [1]
    assert ids(folder) == sorted([*range(10, 100, 10), 15, 25])


def test_purged_and_rejected_rows_are_not_delivered_by_the_sweep(sensor, folder):
    sensor.create()
    for number in range(10, 200, 10):
        row(sensor, number, number)
    sensor.run("UPDATE readings SET temperature = 'broken' WHERE id IN (20, 150)")
    deliver(sensor.path, folder, env=ALWAYS)
    sensor.run("DELETE FROM readings WHERE id < 100")
    row(sensor, 105, 105)
    sensor.run("INSERT INTO readings (id, timestamp, temperature) VALUES (115, '2026-01-01T00:00:00Z', 'broken')")
    for _ in range(2):
        deliver(sensor.path, folder, env=ALWAYS)
    assert ids(folder) == sorted([*(n for n in range(10, 200, 10) if n not in (20, 150)), 105])
    assert sorted(folder.read("_rejected")["reading_id"].to_list()) == [20, 115, 150]


def test_ids_of_a_ring_that_are_used_again_are_new_rows(sensor, folder):
    sensor.create()
    second = 0
    for slot in range(1, 101):
        second += 1
        row(sensor, slot, second)
    deliver(sensor.path, folder, env=ALWAYS)
    turn = iter(list(range(1, 101)) * 3)
    for _ in range(7):
        for _ in range(30):
            second += 1
            row(sensor, next(turn), second)
        deliver(sensor.path, folder, env=ALWAYS)
    table = folder.read()
    assert table["timestamp"].n_unique() == 100 + 210
    assert table.height == 100 + 210


@pytest.fixture
def minutes(sensor, folder):
    """Three hundred rows, a minute apart, and a delivery of them."""
    sensor.create()
    sensor.run(
        "INSERT INTO readings (id, sensor_id, timestamp, temperature) "
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) "
        "SELECT i, 's', strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + 60 * i, 'unixepoch'), 20 FROM n"
    )
    run = partial(deliver, sensor.path, folder, env=ALERTS, processing_mode=["schematized", "emergency"])
    run()
    return run


@pytest.mark.parametrize("purged", [0, 9], ids=["all there", "old ones purged"])
def test_a_row_under_a_used_id_is_found_whose_time_lies_between_those_of_others(purged, minutes, sensor, folder):
    for rowid in range(40, 46):
        sensor.run("DELETE FROM readings WHERE id <= ?", purged * (rowid - 39))
        row(sensor, rowid, 60 * rowid + 150)
        sensor.run("UPDATE readings SET temperature = 90 WHERE id = ?", rowid)
        found = minutes().named("rows below the cursor")
        assert [(one["mode"], one["rows"]) for one in found] == [("emergency", 1), ("schematized", 1)]
    assert ids(folder) == sorted([*range(1, 301), *range(40, 46)])
    assert sorted(folder.read("_4_emergency")["reading_id"].unique()) == [*range(40, 46)]


def test_what_a_version_before_counted_tells_of_no_used_id(minutes, sensor, folder):
    state = sensor.path.parent / "state" / "sweep.json"
    kept = json.loads(state.read_text())
    for lane in ("schematized", "emergency"):
        assert all(len(one) == 7 for one in kept[lane]["ranges"])
        kept[lane]["ranges"] = [one[:6] for one in kept[lane]["ranges"]]
    state.write_text(json.dumps(kept))
    row(sensor, 301, 60 * 301)
    assert not minutes().named("rows below the cursor")
    row(sensor, 40, 60 * 40 + 150)
    assert [one["rows"] for one in minutes().named("rows below the cursor") if one["mode"] == "schematized"] == [1]
    assert ids(folder) == sorted([*range(1, 302), 40])


def test_a_sweep_is_not_due_before_its_time(sensor, folder):
    sensor.create()
    row(sensor, 10, 10)
    deliver(sensor.path, folder)
    row(sensor, 5, 5)
    assert not deliver(sensor.path, folder).named("rows below the cursor")
    state = sensor.path.parent / "state" / "sweep.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "at": 0}))
    row(sensor, 20, 20)
    assert deliver(sensor.path, folder).named("rows below the cursor")
    assert ids(folder) == [5, 10, 20]


AGGREGATE = {**ALWAYS, "AGGREGATE_CONFIG": '{"window_minutes": 1, "aggregations": {"temperature": ["sum", "max"]}}'}


def windows(place):
    table = place.read("_3_aggregated")
    columns = ["window_start", "record_count", "sum_temperature", "max_temperature"]
    return sorted((str(a), n, round(b, 6), c) for a, n, b, c in table.select(columns).rows())


def as_one_batch(sensor, tmp_path, name="whole"):
    place = Place(str(tmp_path / name / "t"))
    folder = str(tmp_path / name / "state")
    deliver(sensor.path, place, env=AGGREGATE, processing_mode=["aggregated"], flush=True, state_dir=folder)
    return windows(place)


@pytest.mark.parametrize("modes", [["aggregated"], ["schematized", "aggregated"]])
@pytest.mark.parametrize("keep_state", [True, False])
def test_rows_filled_in_below_the_cursor_reach_their_windows_once(modes, keep_state, sensor, folder, tmp_path):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": AGGREGATE, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    for turn, numbers in enumerate([(5, 15, 37, 385, 391), (11, 392), (1_000,), (12, 999)]):
        for number in numbers:
            row(sensor, number, number)
        for again in range(2):
            state = {} if keep_state else {"state_dir": str(tmp_path / f"s{turn}{again}")}
            deliver(sensor.path, folder, **settings, **state)
    deliver(sensor.path, folder, **settings, flush=True)
    assert windows(folder) == as_one_batch(sensor, tmp_path)


@pytest.mark.parametrize("modes", [["emergency"], ["schematized", "emergency"]])
def test_rows_filled_in_below_the_cursor_raise_their_alerts_once(modes, sensor, folder):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": ALERTS, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    for numbers in [(5, 15, 237, 385, 391), (211, 392), (1_000,), (12, 999)]:
        for number in numbers:
            row(sensor, number, number)
        for _ in range(2):
            deliver(sensor.path, folder, **settings)
    wanted = [i for i, t in sensor.rows(columns="id, temperature") if t > 20]
    assert ids(folder, "_4_emergency") == wanted


@pytest.mark.parametrize("few", [10_000, 5])
def test_rows_that_another_mode_read_in_order_and_alerts_did_not_raise_them(few, sensor, folder, monkeypatch):
    """The table of readings has the late row, so it cannot say that the alerts have not seen it."""
    monkeypatch.setattr(known_rows, "TIMED_ROWS", few)
    monkeypatch.setattr(sweep_parts, "TIMED_ROWS", few)
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    late, ends, looked = iter([205]), Census.ends, []

    def ends_while_a_row_comes(census, after, upto):
        looked.append(upto)
        for number in late if len(looked) > 1 else ():
            row(sensor, number, number)
        return ends(census, after, upto)

    monkeypatch.setattr(Census, "ends", ends_while_a_row_comes)
    deliver(sensor.path, folder, env=ALERTS, processing_mode=["emergency"])
    row(sensor, 305, 305)
    for _ in range(2):
        deliver(sensor.path, folder, env=ALERTS, processing_mode=["raw", "emergency"])
        row(sensor, 1_000 + len(looked), 1)
    wanted = [i for i, t in sensor.rows(columns="id, temperature") if t > 20]
    assert ids(folder, "_4_emergency") == wanted


@pytest.mark.parametrize("modes", [["aggregated"], ["raw", "aggregated"]])
def test_rows_that_come_while_windows_are_made_again_are_in_them_and_not_told_as_left(
    modes, sensor, folder, tmp_path, monkeypatch
):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": AGGREGATE, "processing_mode": modes, "flush": True}
    deliver(sensor.path, folder, **settings)
    row(sensor, 25, 25)
    late, listed = iter([26]), Census.ids

    def listed_before_a_row_comes(census, after, upto, *, timed):
        found = listed(census, after, upto, timed=timed)
        for number in late:
            row(sensor, number, number)
        return found

    monkeypatch.setattr(Census, "ids", listed_before_a_row_comes)
    for _ in range(2):
        done = deliver(sensor.path, folder, **settings)
        assert not done.named("rows below the cursor not delivered")
    assert next(late, None) is None
    assert windows(folder) == as_one_batch(sensor, tmp_path)


@pytest.mark.parametrize("modes", [["emergency"], ["raw", "emergency"]])
def test_used_ids_raise_their_alerts_once(modes, sensor, folder):
    sensor.create()
    for slot in range(1, 31):
        row(sensor, slot, slot)
    settings = {"env": ALERTS, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    second, slots = 300, iter(list(range(1, 31)) * 3)
    wanted = []
    for _ in range(4):
        for _ in range(11):
            second += 1
            wanted.append(second)
            row(sensor, next(slots), second)
        deliver(sensor.path, folder, **settings)
    assert sorted(round(v * 7) for v in folder.read("_4_emergency")["value"]) == wanted


@pytest.mark.parametrize("modes", [["emergency"], ["raw", "emergency"]])
def test_a_row_under_the_id_of_a_deleted_one_raises_its_alert(modes, sensor, folder):
    sensor.create()
    for number in range(1, 40):
        row(sensor, number, number)
    settings = {"env": {**ALERTS, "SWEEP": "1000000"}, "processing_mode": modes}
    deliver(sensor.path, folder, **settings)
    for number in range(40, 60):
        row(sensor, number, number)
    sensor.run("DELETE FROM readings WHERE id = 45")
    deliver(sensor.path, folder, **settings)
    row(sensor, 45, 301)
    row(sensor, 60, 60)
    deliver(sensor.path, folder, **{**settings, "env": ALERTS})
    assert ids(folder, "_4_emergency") == [45]


def test_alerts_of_rows_that_nobody_can_tell_are_said(sensor, folder, tmp_path):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    settings = {"env": ALERTS, "processing_mode": ["emergency"]}
    deliver(sensor.path, folder, **settings)
    row(sensor, 15, 300)
    [told] = deliver(sensor.path, folder, **settings, state_dir=str(tmp_path / "another")).named(
        "rows below the cursor not delivered"
    )
    assert (told["mode"], told["last_id"]) == ("emergency", 390)
    row(sensor, 25, 310)
    deliver(sensor.path, folder, **settings, state_dir=str(tmp_path / "another"))
    assert 25 in ids(folder, "_4_emergency")


RING = {**AGGREGATE, "AGGREGATE_CONFIG": '{"window_minutes": 1, "group_by": [], "aggregations": {"v": ["sum"]}}'}


COOLED = """[emergency]
severity_thresholds = { temperature = 50 }
anomaly_flag = false
cooldown = 30
"""


def test_late_rows_end_groups_of_alerts_and_repeat_none_within_the_cooldown(sensor, folder, command, tmp_path):
    def at(rowid, second, temperature):
        time = f"strftime('%Y-%m-%dT%H:%M:%SZ', {1_767_225_600 + second}, 'unixepoch')"
        sensor.run(
            f"INSERT INTO readings (id, sensor_id, timestamp, temperature) VALUES (?, 's', {time}, ?)",
            rowid,
            temperature,
        )

    file = tmp_path / "settings.toml"
    file.write_text("sweep = 0\n" + COOLED, encoding="utf-8")
    edge = command(sensor.path, folder, node_id="n1", config=file, processing_mode="emergency")
    sensor.create()
    for one in ((10, 100, 60), (20, 105, 61), (40, 200, 63)):
        at(*one)
    edge.once().succeeded()
    for one in ((15, 102, 64), (35, 160, 1), (36, 165, 60)):
        at(*one)
    for _ in range(2):
        edge.once().succeeded()
    told = folder.read("_4_emergency").sort("reading_id").select("reading_id", "severity").rows()
    assert told == [(10, "high"), (35, "over"), (36, "high"), (40, "high")]
    verified = edge.run("verify", interval=None, retry_for=None)
    assert verified.code == 0, verified.stdout


def turn_of(sensor, done, count, slots):
    for n in range(done, done + count):
        sensor.run(
            "INSERT OR REPLACE INTO ring VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + ?, 'unixepoch'), ?)",
            n % slots + 1,
            n,
            float(n),
        )
    return done + count


@pytest.mark.parametrize("modes", [["raw", "aggregated"], ["aggregated"]])
def test_a_ring_stays_one_source_and_each_of_its_rows_is_in_one_window(modes, sensor, folder):
    sensor.run("CREATE TABLE ring (slot INTEGER PRIMARY KEY, at TEXT, v REAL)")
    done = 0
    for _ in range(8):
        done = turn_of(sensor, done, 67, 230)
        run = deliver(sensor.path, folder, env=RING, processing_mode=modes, timestamp_col="at")
        assert not run.named("source reset")
    deliver(sensor.path, folder, env=RING, processing_mode=modes, timestamp_col="at", flush=True)
    table = folder.read("_3_aggregated").sort("window_start")
    wanted = [list(range(begin, min(begin + 60, done))) for begin in range(0, done, 60)]
    assert table.select("record_count", "sum_v").rows() == [(len(w), float(sum(w))) for w in wanted]


def test_verify_tells_rows_under_used_ids_from_rows_that_came_twice(sensor, folder, command):
    sensor.run("CREATE TABLE ring (slot INTEGER PRIMARY KEY, at TEXT, v REAL)")
    done = 0
    for _ in range(5):
        done = turn_of(sensor, done, 13, 30)
        deliver(sensor.path, folder, env=RING, processing_mode=["raw"], timestamp_col="at")
    flags = {"processing_mode": "raw", "timestamp_field": "at", "node_id": "n1"}
    told = command(sensor.path, folder, **flags).run("verify", interval=None, retry_for=None)
    assert "35 rows are there under ids that were used again since" in told.stdout
    assert told.code == 0, told.stdout
    table = folder.read("_0_raw")
    write_deltalake(folder.uri("_0_raw"), table.head(1), mode="append")
    told = command(sensor.path, folder, **flags).run("verify", interval=None, retry_for=None)
    assert told.code == 1
    assert "twice" in told.stdout


TURNING = {**RING, "EMERGENCY_CONFIG": '{"severity_thresholds": {"v": -1}, "anomaly_flag": false}'}


@pytest.mark.parametrize("modes", [["raw", "emergency"], ["aggregated"], ["emergency"]])
def test_a_ring_that_turned_whole_between_two_sweeps_is_told(modes, sensor, folder, command):
    """What was overwritten twice was never seen: nobody can know how many rows that were."""
    sensor.run("CREATE TABLE ring (slot INTEGER PRIMARY KEY, at TEXT, v REAL)")
    flags = {"processing_mode": modes, "timestamp_col": "at"}
    done, told = 0, []
    for rows in (60, 20, 60, 59, 70, 10):
        done = turn_of(sensor, done, rows, 60)
        run = deliver(sensor.path, folder, env=TURNING, **flags)
        told.append(sorted((e["mode"], e["rows"]) for e in run.named("all rows overwritten between two sweeps")))
    whole = [(mode, 60) for mode in sorted(modes)]
    assert told == [[], [], whole, [], whole, []]
    flags = {"processing_mode": modes[0], "timestamp_field": "at", "state_dir": sensor.path.parent / "state"}
    edge = command(sensor.path, folder, node_id="n1", **flags)
    not_of_status = dict.fromkeys(("sqlite", "table_path", "node_id", "processing_mode", "timestamp_field"))
    for name, flags in (("status", not_of_status), ("verify", {})):
        done = edge.run(name, env=TURNING, interval=None, retry_for=None, **flags)
        text = " ".join(done.stdout.split())
        assert "2 sweeps found all rows overwritten since the one before" in text, done.stderr


@pytest.mark.parametrize("modes", [["raw"], ["emergency"]])
def test_slots_of_a_ring_that_are_overwritten_between_its_first_read_and_the_first_sweep_arrive(
    modes, sensor, folder, monkeypatch
):
    """The first sweep compares with what was read, not with what is there by then."""
    sensor.run("CREATE TABLE ring (slot INTEGER PRIMARY KEY, at TEXT, v REAL)")
    turn_of(sensor, 0, 60, 60)
    run, came = sweep.Sweeping.run, []

    def late(*args):
        if not came:
            came.append(turn_of(sensor, 60, 17, 60))
        return run(*args)

    monkeypatch.setattr(sweep.Sweeping, "run", late)
    for _ in range(2):
        deliver(sensor.path, folder, env=TURNING, processing_mode=modes, timestamp_col="at")
    column = folder.read("_0_raw")["v"] if modes == ["raw"] else folder.read("_4_emergency")["value"]
    assert sorted(column) == [float(n) for n in range(77)]


def test_records_that_weewx_fills_in_later_arrive_once(sensor, folder):
    sensor.run("CREATE TABLE archive (dateTime INTEGER NOT NULL UNIQUE PRIMARY KEY, usUnits INTEGER, outTemp REAL)")

    def record(*minutes):
        sensor.many("INSERT INTO archive VALUES (?, 1, ?)", [(1_767_225_600 + 60 * m, m / 7) for m in minutes])

    modes = ["raw", "aggregated", "emergency"]
    env = {
        **ALWAYS,
        "AGGREGATE_CONFIG": '{"window_minutes": 10, "group_by": [], "aggregations": {"outTemp": ["sum"]}}',
        "EMERGENCY_CONFIG": '{"severity_thresholds": {"outTemp": 5}, "anomaly_flag": false}',
    }
    record(*range(20))
    for minutes in ([40, 41], range(20, 31), [42], range(31, 40), [60], range(43, 60)):
        record(*minutes)
        for _ in range(2):
            done = deliver(sensor.path, folder, env=env, processing_mode=modes, sqlite_table_name="archive")
            assert not done.named("rows below the cursor not delivered")
    deliver(sensor.path, folder, env=env, processing_mode=modes, sqlite_table_name="archive", flush=True)
    assert sorted(folder.read("_0_raw")["dateTime"]) == [1_767_225_600 + 60 * m for m in range(61)]
    table = folder.read("_3_aggregated").sort("window_start")
    assert table["record_count"].to_list() == [10] * 6 + [1]
    assert sorted(round(v * 7) for v in folder.read("_4_emergency")["value"]) == list(range(36, 61))


def test_rows_under_the_ids_that_sqlite_picks_after_the_largest_arrive_once(sensor, folder):
    sensor.create()
    for number in range(1, 6):
        row(sensor, number, number)
    modes = ["raw", "schematized"]
    deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes)
    row(sensor, 2**63 - 1, 100)
    for second in range(200, 212):
        sensor.add(1, start=second)
        deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes)
    wanted = sorted(i for (i,) in sensor.rows(columns="id"))
    assert len(wanted) == 18
    assert ids(folder) == wanted
    assert sorted(folder.read("_0_raw")["source_rowid"]) == wanted


def test_late_rows_are_there_once_though_the_process_is_killed_again_and_again(sensor, folder, command):
    sensor.create()
    for number in range(10, 400, 10):
        row(sensor, number, number)
    env = {**ALERTS, **AGGREGATE}
    device = command(
        sensor.path, folder, processing_mode="schematized,aggregated,emergency", node_id="n1", interval=None
    )
    device.once(env=env).succeeded()
    late = iter([n for n in range(1, 390) if n % 10])
    for patience in (0.25, 0.35, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7):
        for number in [next(late) for _ in range(5)]:
            row(sensor, number, number)
        running = device.start(once=True, env=env)
        time.sleep(patience)
        running.kill()
    device.once(env=env).succeeded()
    device.once(env=env, flush=True).succeeded()
    wanted = sorted(i for (i,) in sensor.rows(columns="id"))
    assert ids(folder) == wanted
    assert sum(n for _, n, _, _ in windows(folder)) == len(wanted)
    assert sum(s for _, _, s, _ in windows(folder)) == pytest.approx(sum(w / 7 for w in wanted))
    assert ids(folder, "_4_emergency") == [w for w in wanted if w / 7 > 20]


@pytest.mark.parametrize("used", [30, 60, 80])
def test_used_ids_are_told_though_the_state_directory_is_lost(used, sensor, folder, tmp_path):
    sensor.create()
    for slot in range(1, 101):
        row(sensor, slot, slot)
    deliver(sensor.path, folder, env=ALWAYS)
    for slot in range(1, used + 1):
        row(sensor, slot, 1_000 + slot)
    deliver(sensor.path, folder, env=ALWAYS, state_dir=str(tmp_path / "another"))
    table = folder.read()
    assert table.height == table["timestamp"].n_unique() == 100 + used


def test_times_that_are_read_otherwise_since_are_no_other_rows(sensor, folder, tmp_path):
    sensor.create()
    for number in range(1, 101):
        row(sensor, number, number)
    sensor.run("UPDATE readings SET timestamp = rtrim(timestamp, 'Z')")
    deliver(sensor.path, folder, env=ALWAYS)
    moved = {"source_time_zone": "Europe/Helsinki", "state_dir": str(tmp_path / "another")}
    deliver(sensor.path, folder, env=ALWAYS, **moved)
    assert folder.read().height == 100


@pytest.mark.parametrize("modes", [["schematized"], ["raw", "schematized", "sanitized"]], ids=len)
def test_a_time_column_that_is_named_later_makes_no_row_another_one(modes, sensor, folder):
    sensor.run("CREATE TABLE readings (id INTEGER PRIMARY KEY, measured TEXT, built TEXT, value REAL)")

    def add(first, count):
        sensor.run(
            "INSERT INTO readings WITH RECURSIVE n (i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i, "
            "strftime('%Y-%m-%dT%H:%M:%S+01:00', 1767225600 + i, 'unixepoch'), '2020-01-0' || (1 + i % 9), i / 7.0 "
            "FROM n",
            first,
            count,
        )

    add(1, 100)
    for turn, column in enumerate([None, "measured", "measured", "built", None]):
        named = {} if column is None else {"timestamp_field": column}
        for _ in range(2):
            done = deliver(sensor.path, folder, env=ALWAYS, processing_mode=modes, **named)
            assert not done.named("source reset")
        add(101 + 10 * turn, 10)
    for suffix in ("_1_schematized", *(["_2_sanitized"] if len(modes) > 1 else [])):
        assert ids(folder, suffix) == [*range(1, 141)]


def test_lanes_that_wrote_nothing_yet_begin_in_the_generation_of_the_others(sensor, folder):
    sensor.create()
    for number in range(1, 50):
        row(sensor, number, number)
    env = {**AGGREGATE, **ALERTS}
    deliver(sensor.path, folder, env=env, processing_mode=["raw"])
    for suffix in ("", "-wal", "-shm"):
        sensor.path.with_name(sensor.path.name + suffix).unlink(missing_ok=True)
    sensor.open(sensor.path)
    sensor.create()
    for number in range(1, 30):
        row(sensor, number, 2_000 + number)
    deliver(sensor.path, folder, env=env, processing_mode=["aggregated", "emergency", "raw"], flush=True)
    tables = ("_3_aggregated", "_4_emergency")
    generations = {s: set(folder.read(s)["source_generation"]) for s in tables}
    assert generations == {"_3_aggregated": {1}, "_4_emergency": {1}}
    assert set(folder.read("_0_raw").filter(folder.read("_0_raw")["temperature"] > 200)["source_generation"]) == {1}


def test_a_sweep_reads_nothing_of_a_source_that_was_not_written_since(sensor, folder):
    sensor.create()
    for number in range(1, 20):
        row(sensor, number, number)
    state = sensor.path.parent / "state" / "last_upload.json"

    def swept():
        deliver(sensor.path, folder, env=ALWAYS)
        return json.loads(state.read_text())["sweep"]["at"]

    swept()
    time.sleep(2.1)
    first = swept()
    assert swept() == first
    row(sensor, 25, 25)
    sensor.run("DELETE FROM readings WHERE id = 3")
    assert swept() > first
    row(sensor, 3, 50)
    swept()
    assert folder.read().height == 21


def test_a_table_refilled_between_counting_and_reading_puts_no_row_into_the_generation_before(
    sensor, folder, monkeypatch
):
    sensor.create()
    sensor.add(100)
    deliver(sensor.path, folder, env=ALWAYS)
    sensor.run("DELETE FROM readings WHERE id < 100")
    row(sensor, 50, 50)
    read, refills = SQLiteSource.read_ids, []

    def refilled(source, rowids):
        if not refills:
            refills.append(rowids)
            sensor.run("DELETE FROM readings")
            sensor.add(70, start=3000)
        return read(source, rowids)

    monkeypatch.setattr(SQLiteSource, "read_ids", refilled)
    deliver(sensor.path, folder, env=ALWAYS)
    assert refills
    assert folder.read().height == 100
    deliver(sensor.path, folder, env=ALWAYS)
    by_generation = dict(folder.read().group_by("source_generation").len().iter_rows())
    assert by_generation == {0: 100, 1: 70}


@pytest.mark.parametrize("modes", [["schematized"], ["emergency", "raw"], ["schematized", "aggregated"]])
def test_a_look_that_takes_too_long_goes_on_in_the_next_cycles_and_finds_each_row_once(
    modes, sensor, folder, monkeypatch
):
    monkeypatch.setattr(survey, "_IN_A_RANGE", 16)
    alerts = {"EMERGENCY_CONFIG": '{"severity_thresholds": {"temperature": -1}, "anomaly_flag": false}'}

    def run(every):
        done = deliver(sensor.path, folder, env={"SWEEP": every} | alerts, processing_mode=modes, flush=True)
        return sum(one["rows"] for one in done.named("rows below the cursor"))

    sensor.create()
    sensor.add(160)
    sensor.run("DELETE FROM readings WHERE id % 10 = 5")
    run("0")
    state = sensor.path.parent / "state" / "sweep.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"at": time.time() - 5_000}))
    for number in (5, 75, 155):
        row(sensor, number, number)
    monkeypatch.setattr(survey, "LOOK_SECONDS", 0.0)
    found = [run("3600") for _ in range(12)]
    assert sum(found) == 3 * len({*modes} - {"aggregated"}), found  # a flush writes them with their open windows
    assert "aggregated" not in modes or folder.read("_3_aggregated")["record_count"].sum() == 147
    assert sum(1 for rows in found if rows) == 3, "each is found by a look of its own"
    assert json.loads(state.read_text())["at"] > time.time() - 3_000
    row(sensor, 25, 25)
    assert run("3600") == 0, "the next look is due in an hour"


@pytest.mark.parametrize("emit", ["closed", "early"])
def test_a_row_filled_into_an_open_window_while_nothing_runs_is_written_by_a_flush_and_called_delivered(
    emit, sensor, folder
):
    """The window is made again of all of its rows, so the sweep finds none that it lacks, and no other row is new."""
    env = {**ALWAYS, "AGGREGATE_CONFIG": json.dumps({"window_minutes": 10, "emit": emit})}

    def run():
        return deliver(
            sensor.path, folder, env=env, processing_mode=["schematized", "aggregated"], flush=emit == "closed"
        )

    sensor.create()
    sensor.add(160)
    sensor.run("DELETE FROM readings WHERE id % 10 = 5")
    run()
    for number in (5, 75, 155):
        row(sensor, number, number)
        done = run()
        assert done.complete
        assert not done.named("rows below the cursor not delivered")
    assert folder.read("_3_aggregated")["record_count"].sum() == 147
