"""The compiled part that finds the cells of places: every place is in the cell that it always was in."""

from __future__ import annotations

import math
import random

import polars as pl
import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.modes.privacy import gps, places
from edge_delta.modes.privacy.displacement import Displacement
from edge_delta.modes.privacy.grid import cells_of
from edge_delta.modes.privacy.policy import EARTH_RADIUS, Policy, draw_of, stretched
from edge_delta.settings import load
from tests.modes.privacy.test_displacement import EDGES, SECRET, anywhere, policy

LAPLACE = {"strategy": "planar_laplace", "epsilon": 0.004}


def frame_of(points):
    return pl.DataFrame(points, schema={"y": pl.Float64, "x": pl.Float64}, orient="row")


def cell_of(how, y, x):
    """Row and column by the definition in grid.py, in plain Python."""
    rows = math.ceil(math.pi * EARTH_RADIUS / how.side)
    lat, lon = math.radians(y), math.radians(x)
    vector = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
    px, py, pz = (r[0] * vector[0] + r[1] * vector[1] + r[2] * vector[2] for r in how.rotation())
    height, first = math.pi / rows, how.first_row()
    turned = math.atan2(pz, math.sqrt(px * px + py * py))
    row = min(max(math.floor((turned + math.pi / 2) * (1 / height) + first), 0), rows)
    [(begins, more)] = how.rows_of_cells([row])
    middle = (row + 0.5 - first) * height - math.pi / 2
    least = 2 * math.pi / height * math.cos(max(abs(middle) - height / 2, 0))
    cells = math.ceil(least * (1 + 0.1 * more))
    share = math.atan2(py, px) * (1 / (2 * math.pi)) + begins
    return row, min(math.floor((share - math.floor(share)) * cells), cells - 1)


@pytest.mark.parametrize("changed", [{}, {"radius_meters": 20.0}, {"radius_meters": 200_000.0}, LAPLACE])
def test_a_place_is_in_the_cell_that_the_definition_says(changed):
    how = policy(**changed)
    points = [*anywhere(700), *EDGES]
    codes, cells = cells_of(frame_of(points), how)
    found = cells.select("row", "column").rows()
    assert [found[code] for code in codes] == [cell_of(how, *point) for point in points]


@pytest.mark.parametrize(
    ("changed", "published"),
    [
        ({}, [(52.5174, 13.4019), (52.5182, 13.4037), (-33.87, 151.2127), (0.0013, -179.9971), (89.996, -12.6081)]),
        (
            {"radius_meters": 20.0},
            [
                *[(52.51993, 13.40516), (52.52121, 13.40628), (-33.86892, 151.20934)],
                *[(-0.00013, -179.99996), (89.99988, 88.34255)],
            ],
        ),
        (
            LAPLACE,
            [
                *[(52.5196, 13.4038), (52.5178, 13.3893), (-33.8709, 151.1987)],
                *[(-0.0037, -179.9895), (89.9954, -18.0093)],
            ],
        ),
    ],
)
def test_places_are_published_where_they_were_before_their_cells_were_found_by_the_compiled_part(changed, published):
    points = [(52.52, 13.405), (52.5213, 13.4061), (-33.8688, 151.2093), (0.0, 180.0), (90.0, 0.0)]
    assert Displacement(policy(**changed)).points(frame_of(points)).rows() == published


def test_what_is_no_place_has_no_cell_and_changes_none():
    inside = anywhere(50)
    nowhere = [(None, 1.0), (1.0, None), (None, None), (90.1, 0.0), (0.0, -180.5), (math.nan, 0.0), (0.0, math.inf)]
    mixed = inside + nowhere
    random.Random(3).shuffle(mixed)
    codes, _ = cells_of(frame_of(mixed), policy())
    assert [point for point, code in zip(mixed, codes, strict=True) if code is None] == [
        point for point in mixed if point in nowhere
    ]
    points = Displacement(policy()).points(frame_of(mixed)).rows()
    alone = Displacement(policy()).points(frame_of(inside)).rows()
    assert [p for p in points if p != (None, None)] == [alone[inside.index(m)] for m in mixed if m in inside]


@pytest.mark.parametrize("points", [[], [(None, None)], [(95.0, 0.0)] * 9])
def test_no_place_at_all_is_no_trouble(points):
    found = Displacement(policy()).points(frame_of(points))
    assert found.rows() == [(None, None)] * len(points)
    assert found.schema == {"y": pl.Float64, "x": pl.Float64}


def test_parts_of_columns_and_columns_in_parts_are_read_where_they_are():
    points = [*anywhere(300), (None, 2.0)] * 2
    whole = Displacement(policy()).points(frame_of(points))
    for start, length in ((0, 5), (3, 100), (7, 595), (290, 20)):
        part = frame_of(points).slice(start, length)
        assert Displacement(policy()).points(part).equals(whole.slice(start, length))
    pieces = pl.concat([frame_of(points[:77]), frame_of(points[77:])], rechunk=False)
    assert Displacement(policy()).points(pieces).equals(whole)


def test_columns_of_two_lengths_are_refused():
    grid = places.Grid(rotation=policy().rotation(), height=0.1, first=0.0, rows=31)

    class Ragged:
        def __getitem__(self, name):
            return pl.Series(name, [1.0] * (2 if name == "y" else 3))

    with pytest.raises(OSError, match="could not be found"):
        places.cells_of(Ragged(), grid, lambda rows: rows.to_frame())


def test_an_installation_without_the_compiled_part_says_so_at_the_start(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "LIBRARY", tmp_path / "libplaces.so")
    environment = {
        "GPS_FUZZING_CONFIG": '{"enabled": true, "radius_meters": 500}',
        "GPS_FUZZING_SECRET": "sixteen and more of them",
    }
    settings = load.load({"sqlite": "x.db", "table_path": "t"}, environment=environment)
    with pytest.raises(ConfigurationError, match=r"libplaces\.so"):
        gps.of_rejected(settings)


# -- the secret is not stretched in vain


def test_a_draw_is_compared_without_stretching_the_secret():
    now = draw_of(policy())
    stretched.cache_clear()
    fresh = Policy(radius_meters=500.0, secret=SECRET + b"!", device="another one")
    assert fresh.may_be(now)
    for other in ({"radius_meters": 501.0}, LAPLACE):
        assert not policy(**other, device="another one").may_be(now)
    assert not fresh.may_be("")
    assert stretched.cache_info().currsize == 0
