"""Displaced coordinates: what is published of a place, everywhere on the globe."""

from __future__ import annotations

import hmac
import math
import random

import polars as pl
import pytest

from edge_delta.modes.privacy.displacement import Displacement, digests, laplace_radius
from edge_delta.modes.privacy.grid import cells_of
from edge_delta.modes.privacy.policy import CELL, EARTH_RADIUS, LONGEST, SHORTEST, Policy, draw_of, stretched

SECRET = b"fixed, so that the figures are the same at every run"
COUNT = 1_000
CRITICAL = 1.36 / math.sqrt(COUNT)
"""Kolmogorov-Smirnov at 5 %."""
RADIUS = 500.0
BERLIN = (52.52, 13.405)


def policy(**changed):
    return Policy(**({"radius_meters": RADIUS, "secret": SECRET, "device": "d"} | changed))


def displaced(how, points):
    """The published points of (latitude, longitude) pairs."""
    rows = [(None if y is None else float(y), None if x is None else float(x)) for y, x in points]
    frame = pl.LazyFrame(rows, schema={"a": pl.Float64, "b": pl.Float64}, orient="row")
    return Displacement(how).displaced(frame, latitude="a", longitude="b").collect().rows()


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


def distance_from_uniform(shares):
    """The Kolmogorov-Smirnov statistic of numbers that should be uniform in [0, 1]."""
    ordered = sorted(shares)
    n = len(ordered)
    return max(max((i + 1) / n - s, s - i / n) for i, s in enumerate(ordered))


# -- one place, one point


def anywhere(count, seed=1):
    chance = random.Random(seed)
    return [(math.degrees(math.asin(chance.uniform(-1, 1))), chance.uniform(-180, 180)) for _ in range(count)]


EDGES = [
    (0.0, 180.0),
    (0.0, -180.0),
    (52.0, 179.999),
    (-17.0, -179.9999),
    (90.0, 0.0),
    (-90.0, 45.0),
    (89.9999, -120.0),
    (-89.9999, 180.0),
]


@pytest.mark.parametrize("radius", [20.0, 50.0, 500.0, 5_000.0, 200_000.0, 1_000_000.0])
def test_no_published_point_is_farther_than_the_radius_or_nearer_than_three_tenths_of_it(radius):
    for device in range(10):
        how = policy(radius_meters=radius, device=f"d{device}")
        points = [*anywhere(1_000, device), *EDGES]
        distances = [meters(a, b) / radius for a, b in zip(points, displaced(how, points), strict=True)]
        assert max(distances) <= 1
        assert min(distances) >= 0.3


def test_points_at_the_poles_and_the_antimeridian_stay_on_the_globe():
    for device in range(50):
        published = displaced(policy(device=f"d{device}"), EDGES)
        assert all(-90 <= y <= 90 and -180 <= x <= 180 for y, x in published)
        assert all(meters(a, b) <= RADIUS for a, b in zip(EDGES, published, strict=True))


def test_what_is_published_depends_on_nothing_but_the_cell():
    side = CELL * RADIUS / EARTH_RADIUS * 180 / math.pi
    grid = [(BERLIN[0] + side * i / 40, BERLIN[1] + side * j / 25) for i in range(200) for j in range(200)]
    published = displaced(policy(), grid)
    distinct = set(published)
    # Five by five cells, and those that the square's border cuts.
    assert 25 <= len(distinct) <= 80
    shared = {p: [g for g, q in zip(grid, published, strict=True) if q == p] for p in distinct}
    for points in shared.values():
        assert all(meters(points[0], other) <= CELL * RADIUS * math.sqrt(2) * 1.01 for other in points)


@pytest.mark.parametrize(("radius", "decimals"), [(20.0, 5), (50.0, 5), (500.0, 4), (5_000.0, 3), (1_000_000.0, 1)])
def test_published_degrees_have_no_more_digits_than_suit_the_radius(radius, decimals):
    for y, x in displaced(policy(radius_meters=radius), anywhere(500)):
        assert (y, x) == (round(y, decimals), round(x, decimals))


def test_ten_thousand_readings_of_one_place_have_one_point():
    assert len(set(displaced(policy(), [BERLIN] * 10_000))) == 1
    laplace = policy(strategy="planar_laplace", epsilon=0.004)
    assert len(set(displaced(laplace, [BERLIN] * 10_000))) == 1


def test_rows_together_and_alone_have_the_same_points():
    points = [*anywhere(60), *anywhere(60), *EDGES, (None, 1.0), (1.0, None), (None, None)]
    for how in (policy(), policy(strategy="planar_laplace", epsilon=0.004)):
        together = displaced(how, points)
        assert together == [displaced(how, [p])[0] for p in points]
        assert displaced(how, points * 5) == together * 5


# -- the draws


def vectors(count=COUNT, **changed):
    return [policy(device=f"d{i}", **changed).vector() for i in range(count)]


def test_vectors_are_uniform_in_area_over_the_ring_and_in_direction():
    found = vectors()
    low, high = SHORTEST**2, LONGEST**2
    assert distance_from_uniform([((m / RADIUS) ** 2 - low) / (high - low) for m, _ in found]) < CRITICAL
    assert distance_from_uniform([b / (2 * math.pi) for _, b in found]) < CRITICAL


def test_a_rotation_is_one_and_turns_poles_to_anywhere():
    poles = []
    for i in range(COUNT):
        rows = policy(device=f"d{i}").rotation()
        for row, other in ((0, 1), (1, 2), (0, 2)):
            assert sum(a * b for a, b in zip(rows[row], rows[other], strict=True)) == pytest.approx(0, abs=1e-12)
        poles.append(rows[2][2])
    assert distance_from_uniform([(z + 1) / 2 for z in poles]) < CRITICAL


@pytest.mark.parametrize("latitude", [0.0, 60.0, 89.0])
@pytest.mark.parametrize("epsilon", [0.02, 0.004])
def test_planar_laplace_has_the_radial_law_of_andres_et_al(latitude, epsilon):
    # Small cells, so that the draw is all there is; one point in each of them.
    points = [(latitude + i * 0.0005, 25.0) for i in range(COUNT)]
    how = policy(strategy="planar_laplace", epsilon=epsilon, cell_meters=1.0)
    published = displaced(how, points)
    radii = [meters(p, t) for p, t in zip(published, points, strict=True)]
    # C(r) = 1 - (1 + εr) exp(-εr); section 4.1 of the paper.
    assert distance_from_uniform([1 - (1 + epsilon * r) * math.exp(-epsilon * r) for r in radii]) < CRITICAL
    assert distance_from_uniform([bearing(t, p) for p, t in zip(published, points, strict=True)]) < CRITICAL
    assert sum(radii) / COUNT == pytest.approx(2 / epsilon, rel=0.05)


@pytest.mark.parametrize("key", [b"", b"k", stretched(b"secret"), b"k" * 64])
def test_draws_are_made_by_the_hmac_of_the_standard_library(key):
    messages = [b"", b"0,0", b"12345,-1", bytes(range(200))]
    expected = [hmac.digest(key, b"prefix" + message, "sha256")[:16] for message in messages]
    assert digests(key, b"prefix", messages) == expected


def test_the_laplace_radius_inverts_its_distribution_over_the_whole_range():
    shares = [0.0, 1e-300, 1e-16, 1e-12, 1e-6, 0.1, 0.4999, 0.5, 0.5001, 0.9, 1 - 1e-6, 1 - 2**-53]
    radii = laplace_radius(pl.Series("u", shares), 0.01).to_list()
    assert radii == sorted(radii)
    for share, radius in zip(shares, radii, strict=True):
        x = 0.01 * radius
        back = -math.expm1(-x) - x * math.exp(-x) if x > 1e-4 else x * x / 2
        assert back == pytest.approx(share, rel=1e-6, abs=1e-15)


# -- what is no place


def test_what_is_no_place_has_no_displaced_place():
    nowhere = [(None, 1.0), (1.0, None), (None, None), (91.0, 0.0), (0.0, 181.0), (float("nan"), 0.0), (math.inf, 0.0)]
    for how in (policy(), policy(strategy="planar_laplace", epsilon=0.01)):
        assert [p for p in displaced(how, nowhere) if None not in p] == []
        assert displaced(how, []) == []


# -- the key


@pytest.mark.parametrize(
    "other",
    [{"radius_meters": 1000.0}, {"secret": b"another secret"}, {"device": "another"}],
    ids="+".join,
)
def test_another_radius_secret_or_device_points_in_an_independent_direction(other):
    # Two points on one ray from the true place would give it away.
    ours = [policy(device=f"d{i}").vector()[1] for i in range(COUNT)]
    changed = [
        policy(**({"device": f"d{i}"} | other | ({"device": f"x{i}"} if "device" in other else {})))
        for i in range(COUNT)
    ]
    differences = [(a - b.vector()[1]) / (2 * math.pi) % 1 for a, b in zip(ours, changed, strict=True)]
    assert distance_from_uniform(differences) < CRITICAL
    grids = [
        a.rotation() == b.rotation() for a, b in zip([policy(device=f"d{i}") for i in range(9)], changed, strict=False)
    ]
    assert not any(grids)


def test_the_same_policy_gives_the_same_points_on_every_run():
    assert displaced(policy(), anywhere(50)) == displaced(policy(), anywhere(50))


def test_the_notes_name_the_draw_by_eight_bits_of_a_stretched_key_and_no_secret():
    notes = policy().notes()
    assert notes["gps_fuzzing"] == "per_place"
    assert notes["gps_fuzzing_radius_meters"] == "500"
    assert len(notes["gps_fuzzing_draw"]) == 2
    assert SECRET.decode() not in str(notes)
    assert len({draw_of(policy(secret=b"another %d" % i)) for i in range(20)}) > 12
    assert draw_of(policy()) != draw_of(policy(radius_meters=900.0))
    assert "fixed" not in repr(policy())
    assert stretched(SECRET) != SECRET


# -- the grid


def rows_of_cells(count=COUNT):
    return [cells for i in range(count) for cells in policy(device=f"d{i % 7}").rows_of_cells([i])]


def test_every_row_of_cells_begins_anywhere_and_has_a_width_of_its_own():
    """Else the strain of the grid, which the same bearing everywhere makes, would have the vector in it."""
    begins, more = zip(*rows_of_cells(), strict=True)
    assert distance_from_uniform(begins) < CRITICAL
    assert distance_from_uniform(more) < CRITICAL
    assert distance_from_uniform([policy(device=f"d{i}").first_row() for i in range(COUNT)]) < CRITICAL


def test_cells_that_are_above_one_another_have_nothing_in_common():
    """The phase of a row against the next, in widths: with a regular grid it is the same all along the track."""
    how = policy()
    points = [(BERLIN[0] + i * 5e-4, BERLIN[1] + j * 5e-5) for i in range(400) for j in range(60)]
    frame = pl.DataFrame(points, schema=["y", "x"], orient="row")
    cells = cells_of(frame, how)[1].sort("row", "column")
    first = cells.group_by("row", maintain_order=True).agg(pl.col("lon").first(), width=pl.col("lon").diff().mean())
    rows = first.drop_nulls().filter(pl.col("row").diff() == 1)
    assert rows.height > 50
    assert rows["width"].max() / rows["width"].min() > 1.05
    phases = (rows["lon"] / rows["width"] % 1).to_list()
    assert distance_from_uniform(phases) < 1.36 / math.sqrt(len(phases))
