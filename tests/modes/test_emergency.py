"""emergency: the alerts that have to come, once each, and soon."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import polars as pl
import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.modes import emergency
from tests.support import modes
from tests.support.tables import Place

SUFFIX = "_4_emergency"
DAY = "2026-01-01T00:00:00Z"
COLUMNS = {
    "alert_id": "long", "sensor_id": "string", "timestamp": "timestamp", "alert_type": "string", "severity": "string",
    "message": "string", "databricks_inserted_at": "timestamp", "node_id": "string", "reading_id": "long",
    "source_generation": "integer", "anomaly_type": "string", "value": "double", "limit_value": "double",
    "unit": "string", "silenced": "long",
}  # fmt: skip


@pytest.fixture
def stations(sensor):
    modes.create(sensor)
    return sensor


def run(sensor, place, *, size=131_072, settings=None, **emergency):
    return modes.deliver(sensor.path, place, "emergency", max_batch_size=size, emergency=emergency, **(settings or {}))


def alerts(place, *columns):
    if not place.exists(SUFFIX):
        return []
    columns = columns or ("reading_id", "alert_type")
    return modes.read(place, SUFFIX).sort("reading_id", "alert_type").select(columns).rows()


# -- keywords


WORDS = {
    "EMERGENCY": True,
    "emergency": True,
    "an Emergency, now": True,
    "(emergency)": True,
    "first line\nEMERGENCY\nlast line": True,
    "EMERGENCY!": True,
    "Notfall: EMERGENCY": True,
    "emergencys": False,
    "nonemergency": False,
    "emergency_stop": False,
    "EMERGENCY2": False,
    "éemergency": False,
    "": False,
    None: False,
}


def test_keywords_are_whole_words_in_any_case(stations, folder):
    modes.insert(stations, *({"timestamp": DAY, "note": text} for text in WORDS))
    run(stations, folder)
    assert alerts(folder) == [(i, "keyword_emergency") for i, hit in enumerate(WORDS.values(), 1) if hit]


def test_a_keyword_can_hold_more_than_letters(stations, folder):
    notes = ["code C++ red", "code C+ red", "fire & smoke", "fire&smoke", "FEUER", "Überlauf", "überlauf droht"]
    modes.insert(stations, *({"timestamp": DAY, "note": text} for text in notes))
    run(stations, folder, trigger_keywords=["C++", "fire & smoke", "überlauf"])
    assert [row for row, _ in alerts(folder)] == [1, 3, 6, 7]


def test_keywords_are_looked_for_in_the_named_columns_only(stations, folder):
    modes.insert(
        stations,
        {"timestamp": DAY, "note": "EMERGENCY"},
        {"timestamp": DAY, "location": "EMERGENCY"},
        {"timestamp": DAY, "sensor_id": "EMERGENCY"},
    )
    run(stations, folder, keyword_columns=["location"])
    assert alerts(folder, "reading_id", "message") == [(2, "keyword EMERGENCY in location")]


def test_one_keyword_in_two_columns_is_one_alert_and_two_keywords_are_two(stations, folder):
    modes.insert(stations, {"timestamp": DAY, "note": "fire, EMERGENCY", "location": "EMERGENCY exit"})
    run(stations, folder, trigger_keywords=["EMERGENCY", "fire", "Fire"])
    assert alerts(folder) == [(1, "keyword_emergency"), (1, "keyword_fire")]


# -- thresholds and the anomaly flag


def test_thresholds_are_strict_and_have_two_sides_and_a_severity(stations, folder):
    values = [35.0, 35.0001, -10.0, -10.0001, None]
    modes.insert(stations, *({"timestamp": DAY, "temperature": v} for v in values))
    modes.insert(stations, *({"timestamp": DAY, "co2": v} for v in (1000.0, 1000.5)))
    run(
        stations,
        folder,
        severity_thresholds={"temperature": {"min": -10, "max": 35, "severity": "critical"}, "co2": 1000},
    )
    assert alerts(folder, "reading_id", "alert_type", "severity", "message") == [
        (2, "temperature_high", "critical", "temperature 35.0001 is above 35"),
        (4, "temperature_low", "critical", "temperature -10.0001 is below -10"),
        (7, "co2_high", "high", "co2 1000.5 is above 1000"),
    ]


def test_the_anomaly_flag_of_the_source_makes_alerts_unless_switched_off(stations, folder, tmp_path):
    modes.insert(stations, *({"timestamp": DAY, "anomaly_flag": flag} for flag in (0, 1, None, 2)))
    run(stations, folder, anomaly_severity="low")
    assert alerts(folder, "reading_id", "alert_type", "severity") == [(2, "anomaly", "low"), (4, "anomaly", "low")]
    quiet = Place(str(tmp_path / "quiet"))
    run(stations, quiet, anomaly_flag=False)
    assert alerts(quiet) == []


def test_status_code_200_makes_no_alert(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, status_code INTEGER)")
    sensor.run("".join(("INSERT INTO t (timestamp, status_code) VALUES ", ", ".join([f"('{DAY}', 200)"] * 3))))
    sensor.run(f"INSERT INTO t (timestamp, status_code) VALUES ('{DAY}', 503)")
    run(sensor, folder)
    assert alerts(folder) == [(4, "anomaly")]


def test_a_row_that_trips_two_rules_makes_two_alerts(stations, folder):
    modes.insert(stations, {"timestamp": DAY, "temperature": 99.0, "anomaly_flag": 1, "note": "EMERGENCY"})
    run(stations, folder, severity_thresholds={"temperature": 35})
    assert alerts(folder) == [(1, "anomaly"), (1, "keyword_emergency"), (1, "temperature_high")]


def test_an_alert_carries_what_was_measured_its_limit_and_its_unit(sensor, folder):
    sensor.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL, temperature_unit TEXT, co2 INTEGER, "
        "unit TEXT, anomaly_type TEXT)"
    )
    sensor.run(
        f"INSERT INTO t VALUES (1, '{DAY}', 99.5, 'F', 700, 'ppm', 'drift'), (2, '{DAY}', -5, 'C', 3, NULL, NULL)"
    )
    limits = {"temperature": {"min": 0, "max": 90}, "co2": 500}
    run(sensor, folder, severity_thresholds=limits)
    assert alerts(folder, "alert_type", "value", "limit_value", "unit", "anomaly_type") == [
        ("co2_high", 700.0, 500.0, "ppm", "drift"),
        ("temperature_high", 99.5, 90.0, "F", "drift"),
        ("temperature_low", -5.0, 0.0, "C", None),
    ]


def test_the_alert_of_a_flag_that_was_made_here_says_what_it_was_made_of(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL, status_code INTEGER)")
    sensor.run(f"INSERT INTO t VALUES (1, '{DAY}', 99.5, 200), (2, '{DAY}', 20, 503), (3, '{DAY}', -5, 503)")
    limits = {"temperature": {"min": 0, "max": 90}}
    run(sensor, folder, settings={"schematize": {"thresholds": limits}})
    assert alerts(folder, "value", "limit_value") == [(99.5, 90.0), (503.0, None), (-5.0, 0.0)]


def test_the_table_has_the_promised_columns(stations, folder):
    modes.insert(stations, {"sensor_id": "a", "timestamp": DAY, "note": "EMERGENCY"})
    run(stations, folder)
    fields = {f.name: f.type.type for f in folder.table(SUFFIX).schema().fields}
    assert fields == COLUMNS
    [(sensor, moment, node, row)] = alerts(folder, "sensor_id", "timestamp", "node_id", "reading_id")
    assert (sensor, moment, node, row) == ("a", modes.EPOCH * 1_000_000, "n1", 1)


# -- the same alert has the same id


def test_alert_ids_are_the_same_on_every_run_and_in_every_folder(stations, folder, tmp_path):
    modes.add(stations, 3_000)
    run(stations, folder, severity_thresholds={"temperature": 35})
    again = Place(str(tmp_path / "again"))
    run(stations, again, severity_thresholds={"temperature": 35}, size=77)
    columns = ("alert_id", "reading_id", "alert_type", "severity", "message")
    assert alerts(folder, *columns) == alerts(again, *columns)
    ids = [found[0] for found in alerts(folder, "alert_id")]
    assert len(set(ids)) == len(ids) > 500
    assert all(0 <= one < 2**63 for one in ids)


def test_alert_ids_differ_by_node_and_generation(stations, folder):
    modes.insert(stations, {"timestamp": DAY, "note": "EMERGENCY"})
    run(stations, folder)
    run(stations, folder, settings={"node_id": "n2"})
    stations.run("DELETE FROM stations")
    modes.insert(stations, {"timestamp": "2026-02-01", "note": "EMERGENCY"})
    run(stations, folder)
    assert len({found[0] for found in alerts(folder, "alert_id")}) == 3


# -- cooldown


def at(second, text="EMERGENCY", sensor="a"):
    moment = datetime.fromtimestamp(modes.EPOCH + second, UTC).isoformat()
    return {"sensor_id": sensor, "timestamp": moment, "note": text}


COOLED = [0, 30, 59, 60, 100, 119, 120, 400]


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("restarts", [False, True])
def test_cooldown_silences_a_sensor_and_rule_across_batches_and_restarts(stations, folder, size, restarts):
    for second in COOLED:
        modes.insert(stations, at(second), at(second, sensor="b" if second == 59 else "c", text="all is well"))
        if restarts:
            run(stations, folder, size=size, cooldown=60)
    run(stations, folder, size=size, cooldown=60)
    first = modes.EPOCH * 1_000_000
    told = [((moment - first) // 1_000_000, n) for moment, n in alerts(folder, "timestamp", "silenced")]
    assert told == [(0, 0), (60, 2), (120, 2), (400, 0)]


HOT = [
    (0, 40.0),
    (10, 41.0),
    (20, 30.0),
    (25, 29.0),
    (30, 42.0),
    (70, 43.0),
    (80, None),
    (90, 20.0),
    (95, 50.0),
    (96, 1.0),
]


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_group_of_alerts_ends_once_with_the_value_that_came_back(stations, folder, size, restarts):
    limits = {"severity_thresholds": {"temperature": {"max": 35, "severity": "critical"}}, "cooldown": 60}
    for second, value in HOT:
        modes.insert(stations, at(second, "x") | {"temperature": value}, at(second, "x", "b") | {"temperature": 1.0})
        if restarts:
            run(stations, folder, size=size, **limits)
    run(stations, folder, size=size, **limits)
    first = modes.EPOCH * 1_000_000
    told = [
        ((moment - first) // 1_000_000, severity, value, n)
        for moment, severity, value, n in alerts(folder, "timestamp", "severity", "value", "silenced")
    ]
    assert told == [
        (0, "critical", 40.0, 0),
        (20, "over", 30.0, 1),
        (70, "critical", 43.0, 1),
        (90, "over", 20.0, 0),
    ]
    assert set(alerts(folder, "sensor_id", "alert_type", "limit_value")) == {("a", "temperature_high", 35.0)}
    ids = alerts(folder, "alert_id")
    assert len(set(ids)) == len(ids)


def test_kills_repeat_and_lose_neither_an_alert_nor_an_end(stations, folder, command, tmp_path):
    config = tmp_path / "settings.toml"
    limits = {"severity_thresholds": {"temperature": 35}, "cooldown": 4, "min_pause": 0.05}
    config.write_text(modes.toml({"emergency": limits}), encoding="utf-8")
    edge = command(stations.path, folder, config=config, processing_mode="emergency", node_id="n1", max_batch_size=3)
    second = 0
    for kill in range(5):
        running = edge.start()
        for _ in range(15):
            modes.insert(stations, at(second, "x") | {"temperature": 40.0 if second % 10 < 7 else 20.0})
            second += 1
        running.wait_for("batch committed", count=1 + kill % 3)
        running.kill()
    edge.once().succeeded()
    once = Place(str(tmp_path / "once"))
    run(stations, once, **limits)
    columns = ("reading_id", "alert_type", "severity", "alert_id", "value", "silenced")
    assert alerts(folder, *columns) == alerts(once, *columns)
    assert {severity for (severity,) in alerts(once, "severity")} == {"high", "over"}


def test_without_a_cooldown_no_end_is_written(stations, folder):
    modes.insert(stations, at(0), at(1, "all is well"))
    run(stations, folder)
    assert alerts(folder, "severity") == [("critical",)]


def test_cooldown_is_by_sensor_and_by_rule(stations, folder):
    modes.insert(stations, at(0), at(1, sensor="b"), at(2, text="fire"), at(3, text="EMERGENCY fire"))
    run(stations, folder, cooldown=60, trigger_keywords=["EMERGENCY", "fire"])
    assert alerts(folder, "reading_id", "alert_type", "severity") == [
        (1, "keyword_emergency", "critical"),
        (2, "keyword_emergency", "critical"),
        (3, "keyword_emergency", "over"),
        (3, "keyword_fire", "critical"),
    ]


def test_an_alert_that_comes_late_from_another_time_is_not_silenced(stations, folder):
    modes.insert(stations, at(10_000), at(5_000), at(9_990), at(10_030), at(10_060))
    run(stations, folder, cooldown=60, size=1)
    assert [row for row, _ in alerts(folder)] == [1, 2, 5]


# -- quiet times


def test_a_batch_without_alerts_writes_no_empty_file_and_no_commit_a_cycle(stations, folder, command):
    modes.insert(stations, at(0))
    file = stations.path.parent / "settings.toml"
    file.write_text(modes.toml({"emergency": {"min_pause": 0.05}}), encoding="utf-8")
    edge = command(stations.path, folder, config=file, processing_mode="emergency", node_id="n1", interval=0.2)
    running = edge.start()
    running.wait_for("batch committed")
    version = folder.table(SUFFIX).version()
    for second in range(1, 11):
        modes.insert(stations, at(second, text="all is well"))
        time.sleep(0.15)
    running.wait_until(
        lambda: any(e.get("last_id") == 11 for e in running.named("cycle finished")), what="the quiet rows"
    )
    assert folder.table(SUFFIX).version() == version
    assert running.terminate() == 0
    # What was quiet is settled at the end, once, and is not looked at again.
    assert folder.table(SUFFIX).version() == version + 1
    assert folder.table(SUFFIX).get_add_actions().num_rows == 1
    done = edge.once().succeeded()
    assert done.named("cycle started")[0]["rows_waiting"] == 0


def test_rows_without_an_alert_are_neither_rejected_nor_lost_count_of(stations, folder):
    modes.insert(stations, at(0), at(1, text="all is well"), {"timestamp": "soon", "note": "x"})
    done = run(stations, folder)
    [cycle] = done.named("cycle finished")
    assert (cycle["rows_written"], cycle["rows_rejected"], cycle["rows_left"]) == (1, 1, 0)
    assert modes.rejected(folder) == [(3, "type", "timestamp")]


# -- settings that cannot work


def test_without_any_column_that_could_trigger_it_does_not_start(sensor, folder, command):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL)")
    edge = command(sensor.path, folder, processing_mode="emergency", node_id="n1")
    done = edge.once()
    assert done.code == 2
    assert "no alert could ever come" in done.error
    edge.once(env={"EMERGENCY_CONFIG": json.dumps({"severity_thresholds": {"temperature": 35}})}).succeeded()


def test_a_threshold_of_a_column_that_only_the_source_has_is_a_trigger(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, radiation REAL, people INTEGER)")
    sensor.run(f"INSERT INTO t (timestamp, radiation, people) VALUES ('{DAY}', 7, 3), ('{DAY}', 1, 99)")
    run(sensor, folder, trigger_keywords=[], severity_thresholds={"radiation": 5, "people": 50})
    assert alerts(folder) == [(1, "radiation_high"), (2, "people_high")]


WRONG_STATUS = {
    "ok_status = []": "is empty",
    'ok_status = ["fine"]': "'fine' is no status code",
    'ok_status = ["299-200"]': "wrong way round",
}


@pytest.mark.parametrize("setting", WRONG_STATUS)
def test_a_status_that_is_none_is_one_clear_error(stations, folder, setting, tmp_path, command):
    config = tmp_path / "wrong.toml"
    config.write_text(f"[schematize.anomaly]\n{setting}\n", encoding="utf-8")
    done = command(stations.path, folder, config=config, processing_mode="emergency", node_id="n1").once()
    assert done.code == 2
    assert WRONG_STATUS[setting] in done.error


WRONG = {
    "a threshold of a column that is not there": ({"severity_thresholds": {"radiation": 5}}, "radiation"),
    "a threshold of text": ({"severity_thresholds": {"note": 5}}, "note"),
    "a threshold without limits": ({"severity_thresholds": {"humidity": {"severity": "low"}}}, "min nor max"),
    "a threshold the wrong way round": ({"severity_thresholds": {"humidity": {"min": 9, "max": 1}}}, "above max"),
    "a threshold that is no number": ({"severity_thresholds": {"humidity": "wet"}}, "severity_thresholds"),
    "words in a column that is not there": ({"keyword_columns": ["radiation"]}, "radiation"),
    "words in numbers": ({"keyword_columns": ["humidity"]}, "humidity"),
    "nothing that triggers": ({"trigger_keywords": [], "anomaly_flag": False}, "no alert could ever come"),
    "a severity that is taken": ({"keyword_severity": "over"}, "give it another name"),
    "a negative cooldown": ({"cooldown": -1}, "cooldown"),
    "a pause of nothing": ({"min_pause": 0}, "min_pause"),
    "a key that is not there": ({"keywords": ["x"]}, "did you mean"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_cannot_work_are_one_clear_error(stations, folder, case):
    emergency, told = WRONG[case]
    modes.insert(stations, at(0))
    with pytest.raises(ConfigurationError) as found:
        run(stations, folder, **emergency)
    assert told in str(found.value)
    assert "\n" not in str(found.value)
    assert not folder.exists(SUFFIX)


# -- latency


def test_from_insertion_to_readable_takes_under_three_seconds(stations, folder, command):
    """Alerts at odd moments, between other readings, with the default pause and an interval of five minutes."""
    edge = command(stations.path, folder, processing_mode="emergency", node_id="n1", interval=300)
    running = edge.start()
    running.wait_for("cycle finished")
    waits = []
    for number in range(20):
        modes.insert(stations, at(number, text="all is well"))
        time.sleep(0.05 + (number * 37 % 100) / 400)
        modes.insert(stations, at(number))
        inserted = time.monotonic()
        running.wait_until(lambda n=number: len(alerts(folder)) == n + 1, what=f"alert {number}", timeout=10)
        waits.append(time.monotonic() - inserted)
    assert running.terminate() == 0
    waits.sort()
    print(f"insertion to readable: p50 {waits[9]:.2f} s, p99 {waits[-1]:.2f} s")  # noqa: T201
    assert waits[-1] < 3
    assert len({row for row, _ in alerts(folder)}) == 20


def test_alerts_overtake_a_slow_interval_while_another_mode_waits_for_it(stations, folder, command):
    edge = command(stations.path, folder, processing_mode="schematized,emergency", node_id="n1", interval=300)
    running = edge.start()
    running.wait_for("cycle finished", count=2)
    modes.insert(stations, at(0))
    running.wait_until(lambda: alerts(folder), what="the alert", timeout=5)
    assert not folder.exists("_1_schematized")
    assert running.terminate() == 0


def test_a_source_without_alerts_is_not_read_again_at_the_next_start(stations, folder):
    modes.add(stations, 500)
    stations.run("UPDATE stations SET note = NULL, anomaly_flag = 0")
    first = modes.deliver(stations.path, folder, "emergency")
    assert first.named("cycle started")[0]["rows_waiting"] == 500
    again = modes.deliver(stations.path, folder, "emergency")
    assert again.named("cycle started")[0]["rows_waiting"] == 0
    assert modes.read(folder, "_4_emergency").height == 0
    assert len(folder.table("_4_emergency").file_uris()) == 0


def test_words_are_found_in_texts_that_repeat_as_in_those_that_do_not():
    texts = pl.Series("t", ["all well", None, "an Emergency!", "emergencystop", ""] * 1_000)
    pattern = r"(?i)(?:^|[^\w])emergency(?:$|[^\w])"
    found = texts.to_frame().select(emergency._containing("t", pattern)).to_series()
    assert found.fill_null(value=False).to_list() == texts.str.contains(pattern).fill_null(value=False).to_list()
    assert found.sum() == 1_000
