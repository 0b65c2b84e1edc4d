"""With fuzzing on, nothing that might tell a place leaves without the owner's word."""

from __future__ import annotations

import json

import pytest

from edge_delta.core.errors import ConfigurationError
from tests.core.test_places import NAMES, VALUES
from tests.modes.privacy.test_gps import DAY, GPS, TRUE, assert_no_exact_place, transactions
from tests.support import modes
from tests.support.tables import Place

PLAIN = GPS | {"harmless": []}
PAIR = (-33.856_784_1, 151.215_296_7)


def source(sensor, **columns):
    """A table with coordinates and some more columns; one row."""
    declared = ", ".join(f'"{name}" {kind}' for name, (kind, _) in columns.items())
    sensor.run(f"CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, latitude REAL, longitude REAL, {declared})")
    marks = ", ".join("?" * (4 + len(columns)))
    values = (value for _, value in columns.values())
    sensor.many(f"INSERT INTO t VALUES ({marks})", [(1, DAY, *TRUE, *values)])


@pytest.mark.parametrize("mode", ["raw", "sanitized"])
def test_seventy_names_are_not_delivered_without_the_owners_word(sensor, folder, mode):
    names = [n for n in dict.fromkeys(n.lower() for n in NAMES) if n not in ("latitude", "longitude")]
    source(sensor, **dict.fromkeys(names, ("REAL", PAIR[0])))
    gps = PLAIN | {"modes": ["raw", "sanitized"]}
    with pytest.raises(ConfigurationError) as found:
        modes.deliver(sensor.path, folder, mode, gps_fuzzing=gps)
    assert [n for n in names if f" {n} (" not in str(found.value)] == []
    assert not folder.exists("_2_sanitized")
    done = modes.deliver(sensor.path, folder, mode, gps_fuzzing=gps | {"withhold": [n.upper() for n in names]})
    assert done.complete
    assert_no_exact_place(folder, done.log, [TRUE, PAIR])


def test_thirty_forms_of_values_are_not_delivered_without_the_owners_word(sensor, folder):
    columns = {f"c{i}": ("BLOB" if isinstance(v, bytes) else "TEXT", v) for i, v in enumerate(VALUES.values())}
    source(sensor, **columns)
    with pytest.raises(ConfigurationError) as found:
        modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN)
    assert [name for name in columns if f" {name} (" not in str(found.value)] == []


def test_two_numbers_that_look_like_coordinates_are_not_delivered_without_the_owners_word(sensor, folder):
    source(sensor, a=("REAL", PAIR[0]), b=("REAL", PAIR[1]))
    with pytest.raises(ConfigurationError, match="numbers look like coordinates"):
        modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN)
    modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN | {"harmless": ["A", "b"]})
    assert folder.read().row(0, named=True)["a"] == PAIR[0]


def test_fuzzing_that_finds_no_coordinates_does_not_start(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, north REAL)")
    with pytest.raises(ConfigurationError, match="no coordinates that it could displace"):
        modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN)


def test_a_column_that_is_named_in_vain_is_an_error(sensor, folder):
    source(sensor, note=("TEXT", "x"))
    with pytest.raises(ConfigurationError, match="withhold names 'notes'"):
        modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN | {"withhold": ["notes"]})


@pytest.mark.parametrize(("name", "what"), [("ID", "the rows' id"), ("timestamp", "the readings' time")])
def test_what_is_published_of_every_row_whatever_is_said_cannot_be_withheld(sensor, folder, name, what):
    source(sensor, note=("TEXT", "x"))
    with pytest.raises(ConfigurationError, match=what):
        modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN | {"withhold": [name, "note"]})
    assert not folder.exists("_1_schematized")


def test_the_time_that_rows_without_a_rowid_are_read_by_cannot_be_withheld(sensor, folder):
    columns = "sensor_id TEXT, timestamp INTEGER, latitude REAL, longitude REAL, PRIMARY KEY (timestamp, sensor_id)"
    sensor.run(f"CREATE TABLE t ({columns}) WITHOUT ROWID")
    sensor.run("INSERT INTO t VALUES ('a', 1767225600000, ?, ?)", *TRUE)
    with pytest.raises(ConfigurationError, match="the readings' time"):
        modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN | {"withhold": ["timestamp"]})


@pytest.mark.parametrize("mode", ["raw", "schematized", "sanitized"])
def test_a_renamed_pair_is_displaced_and_the_one_of_the_standard_names_withheld(sensor, folder, mode):
    source(sensor, deviceLat=("REAL", PAIR[0]), deviceLon=("REAL", PAIR[1]))
    done = modes.deliver(
        sensor.path,
        folder,
        mode,
        gps_fuzzing=PLAIN | {"modes": [mode], "withhold": ["latitude", "longitude"]},
        schematize={"rename": {"DEVICELAT": "latitude", "devicelon": "longitude"}},
    )
    assert_no_exact_place(folder, done.log, [TRUE, PAIR])


def test_rejected_rows_of_a_mode_that_is_not_fuzzed_show_no_exact_place(sensor, folder):
    source(sensor, humidity=("REAL", "broken"))
    done = modes.deliver(sensor.path, folder, ["raw", "sanitized"], gps_fuzzing=PLAIN)
    assert folder.read("_rejected").height == 2
    assert all(json.loads(row)["latitude"] != TRUE[0] for row in folder.read("_rejected")["row"])
    assert done.complete


def test_a_limit_on_latitude_rejects_by_the_published_value(sensor, folder):
    """Else limits, one after the other, would bisect the exact one."""
    source(sensor, note=("TEXT", "x"))
    modes.deliver(sensor.path, folder, "schematized", gps_fuzzing=PLAIN)
    published = folder.read()["latitude"][0]
    between = sorted([published, TRUE[0]])
    limit = sum(between) / 2
    modes.deliver(
        sensor.path, folder, "sanitized", gps_fuzzing=PLAIN, sanitize={"ranges": {"latitude": {"max": limit}}}
    )
    rejected = {rule for _, rule, _ in modes.rejected(folder)}
    assert rejected == (set() if published <= limit else {"range"})


def test_sensor_ids_that_are_no_text_do_not_stop_the_stream(sensor, folder):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, latitude REAL, longitude REAL, sensor_id BLOB)")
    sensor.many("INSERT INTO t VALUES (?, ?, ?, ?, ?)", [(1, DAY, *TRUE, b"\xff\xfe"), (2, DAY, *TRUE, b"a")])
    done = modes.deliver(
        sensor.path, folder, ["raw", "schematized"], gps_fuzzing=PLAIN | {"modes": ["raw", "schematized"]}
    )
    assert done.complete
    assert_no_exact_place(folder, done.log, [TRUE])


def test_a_node_id_does_not_lead_out_of_its_folder(sensor, tmp_path):
    source(sensor, note=("TEXT", "x"))
    place = Place(str(tmp_path / "lake" / "{node_id}" / "readings"))
    with pytest.raises(ConfigurationError, match="lead out of its folder"):
        modes.deliver(sensor.path, place, "schematized", node_id="../../elsewhere")


# -- withheld and not allowed columns


HIDDEN = {"secret_name": ("Ada", "Grace"), "geohash": ("u33db2m3", "gcpvj0du"), "lat2": (52.123456, 48.654321)}


@pytest.mark.parametrize("mode", ["schematized", "sanitized", "aggregated", "emergency"])
def test_no_published_byte_depends_on_a_withheld_column(sensor, tmp_path, mode):
    published = []
    source(sensor, **dict.fromkeys(HIDDEN, ("TEXT", None)), temperature=("REAL", 21.5))
    for i in range(2):
        for name, values in HIDDEN.items():
            sensor.run(f"UPDATE t SET {name} = ?", values[i])
        place = Place(str(tmp_path / f"run{i}" / "readings"))
        gps = PLAIN | {"withhold": list(HIDDEN)}
        done = modes.deliver(sensor.path, place, mode, gps_fuzzing=gps, flush=True)
        suffix = {"schematized": "_1_schematized", "sanitized": "_2_sanitized", "aggregated": "_3_aggregated"}.get(mode)
        rows = [
            {k: v for k, v in row.items() if k != "databricks_inserted_at"}
            for row in (place.read(suffix).rows(named=True) if suffix else [])
        ]
        notes = [
            {k: v for k, v in c.items() if k.startswith("gps")}
            for c in (modes.history(place, suffix) if suffix else [])
        ]
        events = [e["event"] for e in done.events]
        published.append((rows, notes, events, transactions(place) if suffix == "_1_schematized" else None))
    assert published[0] == published[1]


def test_no_published_byte_of_sanitized_depends_on_a_column_that_is_not_allowed(sensor, tmp_path):
    published = []
    source(sensor, temperature=("REAL", None), humidity=("REAL", 50.0), note=("TEXT", None))
    for i, (temperature, note) in enumerate([(21.5, "Ada"), (-999.0, "Grace")]):
        sensor.run("UPDATE t SET temperature = ?, note = ?", temperature, note)
        place = Place(str(tmp_path / f"run{i}" / "readings"))
        done = modes.deliver(sensor.path, place, "sanitized", sanitize={"columns": ["humidity"]})
        rows = place.read("_2_sanitized").drop("databricks_inserted_at").rows()
        published.append((rows, place.exists("_rejected"), [e["event"] for e in done.events]))
    assert published[0] == published[1]
    assert len(published[0][0]) == 1


def test_rows_that_come_after_the_start_are_looked_at_before_they_leave(sensor, folder, command, tmp_path):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, latitude REAL, longitude REAL, note TEXT)")
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml({"processing_mode": "schematized", "gps_fuzzing": PLAIN}), encoding="utf-8")
    edge = command(sensor.path, folder, config=file, node_id="n1", interval=0.1)
    running = edge.start(env={"GPS_FUZZING_SECRET": modes.SECRET})
    running.wait_for("cycle finished")
    sensor.run("INSERT INTO t VALUES (1, ?, ?, ?, ?)", DAY, *TRUE, f"POINT({TRUE[1]} {TRUE[0]})")
    done = running.finished()
    assert done.code == 2
    assert "note (its cells look like a pair of coordinates)" in done.error
    assert not folder.exists("_1_schematized") or folder.read("_1_schematized").height == 0
    assert_no_exact_place(folder, done.stderr, [TRUE])


def test_columns_that_come_while_it_runs_are_looked_at_before_they_leave(sensor, folder, command, tmp_path):
    sensor.run("CREATE TABLE t (id INTEGER PRIMARY KEY, timestamp TEXT, latitude REAL, longitude REAL)")
    sensor.run("INSERT INTO t VALUES (1, ?, ?, ?)", DAY, *TRUE)
    file = tmp_path / "settings.toml"
    file.write_text(modes.toml({"processing_mode": "schematized", "gps_fuzzing": PLAIN}), encoding="utf-8")
    edge = command(sensor.path, folder, config=file, node_id="n1", interval=0.1)
    running = edge.start(env={"GPS_FUZZING_SECRET": modes.SECRET})
    for number in (2, 3, 4):  # the next commit that is looked at anyway would be the eighth
        running.wait_for("batch committed", count=number - 1)
        sensor.run("INSERT INTO t VALUES (?, ?, ?, ?)", number, DAY, *TRUE)
    running.wait_for("batch committed", count=4)
    sensor.run("ALTER TABLE t ADD COLUMN note TEXT")
    sensor.run("INSERT INTO t VALUES (5, ?, ?, ?, ?)", DAY, *TRUE, f"{PAIR[0]}, {PAIR[1]}")
    done = running.finished()
    assert done.code == 2
    assert "note (its cells look like a pair of coordinates)" in done.error
    assert folder.read("_1_schematized").height == 4
    assert_no_exact_place(folder, done.stderr, [TRUE, PAIR])


def test_a_limit_of_an_alert_that_could_never_come_is_an_error(sensor, folder):
    source(sensor, dose=("REAL", 1.5))
    gps = PLAIN | {"withhold": ["dose"], "modes": ["emergency"]}
    with pytest.raises(ConfigurationError, match="no alert could come"):
        modes.deliver(
            sensor.path, folder, "emergency", gps_fuzzing=gps, emergency={"severity_thresholds": {"dose": 1.0}}
        )
