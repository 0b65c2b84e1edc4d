"""No published byte depends on a column that is withheld or not allowed, nor on where in its cell a place is.

Two runs of the program over sources that differ in those alone: data files, logs, statistics, commit notes, log lines,
state directory, metrics and error texts have to be the same to the byte, but for ids and times.
"""

from __future__ import annotations

import shutil

import pytest

from tests.modes.privacy.test_gps import one_displaced
from tests.support import modes
from tests.support.command import EdgeDelta
from tests.support.published import differences, everything, without_times
from tests.support.sqlite import Sensor

ALL = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
HIDDEN = ["owner TEXT", "payload BLOB", "badge", "visits INTEGER", "dose REAL", "flagged BOOLEAN", "seen DATETIME"]
NAMES = [declared.split()[0] for declared in HIDDEN]
PLAIN = {"owner": "Ada", "payload": b"\x01", "badge": 7, "visits": 3, "dose": 1.5, "flagged": 1, "seen": "2026-01-01"}
ODD = [
    {"owner": b"\xff\xfe", "payload": "text", "badge": b"\0", "visits": "many", "dose": "much", "flagged": 9},
    {"owner": "EMERGENCY now", "badge": "52.518626, 13.376199", "visits": 2.5, "dose": 9e999, "seen": "never"},
    {"owner": "x" * 300_000, "payload": b"\0" * 300_000, "badge": None, "visits": None, "seen": b"\x80"},
    {"owner": None, "payload": None, "badge": 1e300, "visits": -(2**63), "dose": -999.0, "flagged": "maybe", "seen": 5},
]
SENSOR = (52.518_626_3, 13.376_198_7)
ROWS = 240


def moved(place, step):
    """A place nearby that has the same published point."""
    for north, east in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        other = (round(place[0] + north * step, 7), round(place[1] + east * step, 7))
        if one_displaced(other) == one_displaced(place):
            return other
    raise AssertionError


def rows_of(first, places, hidden):
    made = []
    for i in range(first, first + ROWS):
        temperature = "broken" if i % 97 == 5 else -300.0 if i % 89 == 7 else i % 64 / 2
        time = "soon" if i % 101 == 3 else f"2026-01-01T{i // 60 % 24:02}:{i % 60:02}:00Z"
        place = places[i % len(places)] if i % 71 != 2 else (places[0][0], None)
        note = "an EMERGENCY" if i % 67 == 1 else "well"
        cells = PLAIN | (hidden[i % len(hidden)] if hidden else {})
        made.append((f"s{i % 5}", time, temperature, i % 100, *place, i % 3, note, *(cells[name] for name in NAMES)))
    return made


def run(folder, settings, *, hidden, places):
    """The same program in the same place, twice, with a flush at the end; all that it leaves and says."""
    folder.mkdir()
    sensor = Sensor(folder / "sensors.db")
    declared = (
        "id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature REAL, humidity REAL, latitude REAL, "
    )
    sensor.run(f"CREATE TABLE t ({declared}longitude REAL, status_code INTEGER, note TEXT, {', '.join(HIDDEN)})")
    names = f"sensor_id, timestamp, temperature, humidity, latitude, longitude, status_code, note, {', '.join(NAMES)}"
    file = folder / "settings.toml"
    file.write_text(modes.toml(settings), encoding="utf-8")
    flags = {
        "config": file,
        "sqlite": sensor.path,
        "table_path": folder / "lake" / "t",
        "state_dir": folder / "state",
        "node_id": "n1",
        "max_batch_size": 100,
        "processing_mode": ",".join(settings["processing_mode"]),
    }
    edge = EdgeDelta(folder, flags)
    env = {
        "GPS_FUZZING_SECRET": modes.SECRET,
        "EDGE_DELTA_WITNESS_KEY": modes.SECRET,
        "METRICS_FILE": "state/metrics.prom",
    }
    said = []
    for number in range(2):
        marks = ", ".join("?" * (8 + len(NAMES)))
        sensor.many(f"INSERT INTO t ({names}) VALUES ({marks})", rows_of(number * ROWS, places, hidden))
        done = edge.once(env=env, flush=number == 1, verbose=True)
        assert done.code == 0, done.stderr
        said.append(done.stderr)
    said.append(edge.run("status", env=env, json=True).stdout)
    if len(settings["processing_mode"]) > 1:  # once is enough: they take a process each
        said += failures(edge, env, sensor, folder)
    sensor.close()
    found = everything(folder / "lake") | everything(folder / "state")
    shutil.rmtree(folder)
    return found | {f"said {i}": without_times(text).encode() for i, text in enumerate(said)}


def failures(edge, env, sensor, folder):
    """What runs say that end with each of the three codes for failures, over these rows."""
    failed = []

    def fails(code, **changed):
        done = edge.once(env=env | {"ON_SOURCE_RESET": "stop"}, verbose=True, **changed)
        assert done.code == code, done.stderr
        failed.append(done.stdout + done.stderr)

    fails(1, table_path=sensor.path / "t", node_id="n2", state_dir=folder / "state2", retry_for=0)
    fails(2, timestamp_field="nowhere")
    sensor.run("DELETE FROM t WHERE id > 30")
    sensor.run("UPDATE t SET id = -id")
    sensor.run("UPDATE t SET id = 31 + id, timestamp = '2026-03-01T00:00:00Z', temperature = 5")
    fails(3)
    return failed


def compared(tmp_path, settings):
    places = [(SENSOR[0] + i * 0.013, SENSOR[1] - i * 0.017) for i in range(5)]
    one = run(tmp_path / "run", settings, hidden=[], places=places)
    other = run(tmp_path / "run", settings, hidden=ODD, places=[moved(p, 2e-6) for p in places])
    return one, other


GPS = {"enabled": True, "radius_meters": 500, "modes": ALL}
SETTINGS = {
    "withheld from all five modes": {
        "processing_mode": ALL,
        "max_row_bytes": 100_000,
        "gps_fuzzing": GPS | {"withhold": NAMES},
        "emergency": {"severity_thresholds": {"temperature": 30.0}},
    },
    "not allowed": {
        "processing_mode": ["sanitized"],
        "max_row_bytes": 100_000,
        "gps_fuzzing": GPS,
        "sanitize": {"columns": ["temperature", "latitude", "longitude", "anomaly_flag"]},
        "schematize": {"rename": {"dose": "vibration", "badge": "status_code"}},
    },
    "not allowed, and places neither": {
        "processing_mode": ["sanitized"],
        "max_row_bytes": 100_000,
        "sanitize": {"columns": ["temperature", "anomaly_flag"]},
    },
}


@pytest.mark.parametrize("case", SETTINGS)
def test_no_published_byte_depends_on_what_stays_on_the_device(tmp_path, case):
    one, other = compared(tmp_path, SETTINGS[case])
    assert len(one) > 15
    assert differences(one, other) == []


def test_the_comparison_sees_what_is_published(tmp_path):
    settings = SETTINGS["not allowed"] | {"sanitize": {"columns": ["temperature", "latitude", "longitude", "note"]}}
    one = run(tmp_path / "run", settings, hidden=[], places=[SENSOR])
    other = run(tmp_path / "run", settings, hidden=[], places=[(SENSOR[0] + 0.1, SENSOR[1])])
    found = " ".join(differences(one, other))
    assert ".parquet" in found
    assert "_delta_log" in found
