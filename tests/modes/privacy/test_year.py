"""A simulated year through the real program into real tables, and attacks on all that is published."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import pytest

from tests.attacks.attacks import ATTACKS, key
from tests.attacks.score import errors
from tests.attacks.world import meters, year
from tests.support import modes
from tests.support.sqlite import Sensor
from tests.support.tables import Place

MODES = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
RADIUS = 500.0


def delivered(things, folder, device):
    """All five modes and rejected rows of a device; the published points by thing, in the readings' order."""
    own = [t for t in things if t.device == device]
    folder.mkdir()
    sensor = Sensor(folder / "sensors.db")
    modes.create(sensor)
    rows = [
        (t.name, f"2026-{1 + i % 12:02}-01T{i % 24:02}:00:{n % 60:02}Z", -999.0 if (i + n) % 7 == 0 else 40.0, y, x)
        for n, t in enumerate(own)
        for i, (y, x) in enumerate(t.reported)
    ]
    sensor.many(
        "INSERT INTO stations (sensor_id, timestamp, temperature, latitude, longitude) VALUES (?, ?, ?, ?, ?)", rows
    )
    place = Place(str(folder / "lake" / "t"))
    done = modes.deliver(
        sensor.path,
        place,
        MODES,
        node_id=device,
        flush=True,
        gps_fuzzing={"enabled": True, "radius_meters": RADIUS, "modes": MODES, "harmless": ["location"]},
        emergency={"severity_thresholds": {"temperature": 30.0}},
        aggregate={"group_by": ["sensor_id"], "aggregations": {"latitude": ["mean"], "longitude": ["mean"]}},
    )
    sensor.close()
    assert done.complete
    return own, place


def _rejected(place):
    """The published point of each rejected row; all modes that rejected it publish one."""
    cells = [(n, json.loads(row)) for n, row in place.read("_rejected").select("reading_id", "row").rows()]
    points = {(n, row["latitude"], row["longitude"]) for n, row in cells}
    assert len(points) == len({n for n, _ in cells})
    return {n: (y, x) for n, y, x in points}


def published(things, folder):
    seen = {}
    for device in ("d0", "d1"):
        own, place = delivered(things, folder / device, device)
        raw = place.read("_0_raw").sort("id").select("id", "latitude", "longitude").rows()
        for suffix in ("_1_schematized", "_2_sanitized"):
            shown = {row[0]: row[1:] for row in place.read(suffix).select("reading_id", "latitude", "longitude").rows()}
            assert shown.items() <= {row[0]: row[1:] for row in raw}.items()  # one draw in all modes
        rejected = _rejected(place)
        assert len(rejected) > len(raw) // 10
        assert place.read("_4_emergency").height > 0
        # Where a row was rejected, the attacks get what the rejected table says.
        points = iter([rejected.get(number, (y, x)) for number, y, x in raw])
        seen |= {key(t): list(itertools.islice(points, len(t.reported))) for t in own}
    return seen


def attacked(tmp_path, seed, readings, stationary=100, movers=20):
    things = year(seed, stationary=stationary, movers=movers, readings=readings)
    seen = published(things, tmp_path)
    far = max(meters(a, b) for t in things for a, b in zip(t.reported, seen[key(t)], strict=True))
    assert far <= RADIUS
    found = {name: errors(things, attack(things, seen, RADIUS), RADIUS) for name, attack in ATTACKS.items()}
    assert min(statistics.median(by[False]) for by in found.values()) >= 0.5
    assert min(statistics.median(by[True]) for by in found.values()) >= 0.35
    assert min(min(by[moves]) for by in found.values() for moves in by) >= 0.1
    assert not math.isnan(far)


def test_what_some_days_of_a_fleet_publish_resists_the_attacks(tmp_path):
    attacked(tmp_path, 11, 5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_what_a_year_of_a_fleet_publishes_resists_the_attacks(tmp_path, seed):
    attacked(tmp_path, seed, 365)
