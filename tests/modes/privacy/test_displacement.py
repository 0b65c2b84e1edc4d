"""Displaced coordinates hold against someone who tries to undo them."""

from __future__ import annotations

import math
import random

import polars as pl
import pytest

from edge_delta.modes.privacy.displacement import EARTH_RADIUS, Fuzzing, laplace_radius

SECRET = b"fixed, so that the figures are the same at every run"
COUNT = 10_000
CRITICAL = 1.36 / math.sqrt(COUNT)
"""Kolmogorov-Smirnov at 5 %."""
RADIUS = 500.0
BERLIN = (52.52, 13.405)


def displaced(fuzzing, points, sensors=None):
    """The published points of (latitude, longitude) pairs."""
    frame = pl.LazyFrame(
        {
            "sensor": sensors if sensors is not None else ["s"] * len(points),
            "y": [float(p[0]) if p[0] is not None else None for p in points],
            "x": [float(p[1]) if p[1] is not None else None for p in points],
        },
        schema={"sensor": pl.String, "y": pl.Float64, "x": pl.Float64},
    )
    return fuzzing.displaced(frame, sensor="sensor", latitude="y", longitude="x").collect().select("y", "x").rows()


def vector(latitude, longitude):
    y, x = math.radians(latitude), math.radians(longitude)
    return (math.cos(y) * math.cos(x), math.cos(y) * math.sin(x), math.sin(y))


def meters(one, other):
    """The distance on the sphere, by vectors: another formula than the one under test."""
    a, b = vector(*one), vector(*other)
    cross = math.dist((0, 0, 0), (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))
    return EARTH_RADIUS * math.atan2(cross, sum(p * q for p, q in zip(a, b, strict=True)))


def bearing(one, other):
    """The direction of the second point from the first, in turns."""
    (y1, x1), (y2, x2) = ((math.radians(p[0]), math.radians(p[1])) for p in (one, other))
    across = math.sin(x2 - x1) * math.cos(y2)
    along = math.cos(y1) * math.sin(y2) - math.sin(y1) * math.cos(y2) * math.cos(x2 - x1)
    return (math.atan2(across, along) / (2 * math.pi)) % 1


def mean_place(points):
    total = [sum(parts) for parts in zip(*(vector(*p) for p in points), strict=True)]
    return (
        math.degrees(math.atan2(total[2], math.hypot(total[0], total[1]))),
        math.degrees(math.atan2(total[1], total[0])),
    )


def distance_from_uniform(shares):
    """The Kolmogorov-Smirnov statistic of numbers that should be uniform in [0, 1]."""
    ordered = sorted(shares)
    n = len(ordered)
    return max(max((i + 1) / n - s, s - i / n) for i, s in enumerate(ordered))


def sensors(count=COUNT):
    return [f"sensor-{i}" for i in range(count)]


def per_sensor(**changed):
    return Fuzzing(**({"strategy": "per_sensor", "radius_meters": RADIUS, "secret": SECRET} | changed))


# -- a sensor that stays in place


@pytest.mark.parametrize("cell", [None, 1000.0])
def test_the_mean_of_ten_thousand_readings_is_no_nearer_than_the_displacement(cell):
    published = displaced(per_sensor(cell_meters=cell), [BERLIN] * COUNT)
    assert len(set(published)) == 1
    assert meters(mean_place(published), BERLIN) == pytest.approx(meters(published[0], BERLIN), abs=1e-3)
    assert meters(published[0], BERLIN) > 1


def test_planar_laplace_cannot_be_averaged_out_either():
    fuzzing = Fuzzing(strategy="planar_laplace", epsilon=0.004, secret=SECRET)
    published = displaced(fuzzing, [BERLIN] * COUNT)
    assert len(set(published)) == 1


def test_per_reading_can_be_averaged_out_as_its_documentation_says():
    published = displaced(Fuzzing(strategy="per_reading", radius_meters=RADIUS), [BERLIN] * COUNT)
    assert len(set(published)) == COUNT
    assert meters(mean_place(published), BERLIN) < 4 * RADIUS / math.sqrt(2 * COUNT)
    assert max(meters(p, BERLIN) for p in published) <= RADIUS * (1 + 1e-9)


def test_jitter_of_a_receiver_does_not_average_out_to_the_true_place():
    # One displacement shifts the whole cloud.
    jittered = [(BERLIN[0] + (i % 100 - 50) * 1e-7, BERLIN[1] + (i // 100 - 50) * 1e-7) for i in range(COUNT)]
    published = displaced(per_sensor(), jittered)
    shift = meters(published[0], jittered[0])
    assert meters(mean_place(published), BERLIN) == pytest.approx(shift, abs=1)


# -- the law of the displacements


@pytest.mark.parametrize("latitude", [0.0, 60.0, 89.9, -89.9])
@pytest.mark.parametrize("strategy", ["per_sensor", "per_reading"])
def test_displacements_are_uniform_in_area_over_the_disk(latitude, strategy):
    true = (latitude, 25.0)
    published = displaced(per_sensor(strategy=strategy, entropy=steady_entropy()), [true] * COUNT, sensors())
    shares = [(meters(p, true) / RADIUS) ** 2 for p in published]
    assert max(shares) <= 1 + 1e-9
    assert distance_from_uniform(shares) < CRITICAL
    assert distance_from_uniform([bearing(true, p) for p in published]) < CRITICAL


def steady_entropy():
    return random.Random(5).randbytes


def test_the_cells_of_one_moving_sensor_are_displaced_independently():
    track = [(40 + i * 0.02, 25.0) for i in range(2_000)]
    published = displaced(per_sensor(cell_meters=1000.0), track)
    shares = [(meters(p, t) / RADIUS) ** 2 for p, t in zip(published, track, strict=True)]
    assert distance_from_uniform(shares) < 1.36 / math.sqrt(len(track))


@pytest.mark.parametrize("latitude", [0.0, 60.0, 89.9])
@pytest.mark.parametrize("epsilon", [0.02, 0.004])
def test_planar_laplace_has_the_radial_law_of_andres_et_al(latitude, epsilon):
    true = (latitude, 25.0)
    fuzzing = Fuzzing(strategy="planar_laplace", epsilon=epsilon, secret=SECRET)
    published = displaced(fuzzing, [true] * COUNT, sensors())
    radii = [meters(p, true) for p in published]
    # C(r) = 1 - (1 + εr) exp(-εr); section 4.1 of the paper.
    assert distance_from_uniform([1 - (1 + epsilon * r) * math.exp(-epsilon * r) for r in radii]) < CRITICAL
    assert distance_from_uniform([bearing(true, p) for p in published]) < CRITICAL
    assert sum(radii) / COUNT == pytest.approx(2 / epsilon, rel=0.03)


def test_the_laplace_radius_inverts_its_distribution_over_the_whole_range():
    shares = [0.0, 1e-300, 1e-16, 1e-12, 1e-6, 0.1, 0.4999, 0.5, 0.5001, 0.9, 1 - 1e-6, 1 - 2**-53]
    radii = laplace_radius(pl.Series("u", shares), 0.01).to_list()
    assert radii == sorted(radii)
    for share, radius in zip(shares, radii, strict=True):
        x = 0.01 * radius
        back = -math.expm1(-x) - x * math.exp(-x) if x > 1e-4 else x * x / 2
        assert back == pytest.approx(share, rel=1e-6, abs=1e-15)


# -- everywhere on the globe


EDGES = [
    (0.0, 180.0),
    (0.0, -180.0),
    (52.0, 179.999),
    (-17.0, -179.9999),
    (90.0, 0.0),
    (-90.0, 45.0),
    (89.9999, -120.0),
]


@pytest.mark.parametrize("true", EDGES)
def test_at_the_antimeridian_and_the_poles_a_metre_is_a_metre(true):
    published = displaced(per_sensor(), [true] * 2_000, sensors(2_000))
    distances = [meters(p, true) for p in published]
    assert max(distances) <= RADIUS * (1 + 1e-6)
    assert distance_from_uniform([(d / RADIUS) ** 2 for d in distances]) < 1.36 / math.sqrt(2_000)
    assert all(-90 <= y <= 90 and -180 <= x <= 180 for y, x in published)


def test_points_west_and_east_of_the_antimeridian_come_out_on_both_sides():
    published = displaced(per_sensor(), [(10.0, 180.0)] * 200, sensors(200))
    assert {x > 0 for _, x in published} == {True, False}


def test_what_is_no_place_has_no_displaced_place():
    nowhere = [(None, 1.0), (1.0, None), (None, None), (91.0, 0.0), (0.0, 181.0), (float("nan"), 0.0), (math.inf, 0.0)]
    for strategy in ("per_sensor", "per_reading"):
        published = displaced(per_sensor(strategy=strategy, cell_meters=100.0), nowhere)
        assert [p for p in published if None not in p] == []


def test_a_frame_without_rows_stays_without_rows():
    for strategy in ("per_sensor", "per_reading", "planar_laplace"):
        assert displaced(per_sensor(strategy=strategy, epsilon=0.01), []) == []


# -- the key


def bearings(fuzzing, count=2_000):
    return [bearing(BERLIN, p) for p in displaced(fuzzing, [BERLIN] * count, sensors(count))]


@pytest.mark.parametrize(
    "other",
    [
        {"radius_meters": 1000.0},
        {"cell_meters": 500.0},
        {"strategy": "planar_laplace", "epsilon": 0.004},
        {"secret": b"another secret"},
    ],
    ids="+".join,
)
def test_another_policy_points_in_an_independent_direction(other):
    # Two points on one ray from the true place would give it away.
    differences = [(a - b) % 1 for a, b in zip(bearings(per_sensor()), bearings(per_sensor(**other)), strict=True)]
    assert distance_from_uniform(differences) < 1.36 / math.sqrt(len(differences))


def test_the_same_policy_gives_the_same_points_on_every_run():
    assert bearings(per_sensor(), 50) == bearings(per_sensor(), 50)


def test_sensors_are_not_confused_by_separators_in_their_names():
    published = displaced(per_sensor(cell_meters=None), [BERLIN] * 3, ["a", "a\x1f", "\x1fa"])
    assert len(set(published)) == 3


def test_the_policy_names_the_key_by_a_hash_and_no_secret():
    policy = per_sensor().policy()
    assert policy["gps_fuzzing"] == "per_sensor"
    assert policy["gps_fuzzing_radius_meters"] == "500"
    assert SECRET.decode() not in str(policy)
    assert policy["gps_fuzzing_key"] == per_sensor(radius_meters=900.0).policy()["gps_fuzzing_key"]
    assert policy["gps_fuzzing_key"] != per_sensor(secret=b"another").policy()["gps_fuzzing_key"]
    assert "secret" not in repr(per_sensor()).replace("per_sensor", "")
