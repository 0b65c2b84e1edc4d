"""The cells of places, on a globe that the device's key turned.

Rows of one height, each cut into cells that are no wider than high. Nothing of it can be told from published points but
what a shift of all of them leaves as it is: the rows begin anywhere within one, and each row begins its cells elsewhere
and has a width of its own. A regular grid would be strained by the displacement, which is the same bearing everywhere
and so no rigid motion of a sphere; its strain over some hundred kilometres has the vector in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from edge_delta.modes.privacy.places import Grid
from edge_delta.modes.privacy.places import cells_of as in_grid
from edge_delta.modes.privacy.policy import EARTH_RADIUS

if TYPE_CHECKING:
    from edge_delta.modes.privacy.policy import Policy

_MORE = 0.1
"""By so much of it the cells of a row are more than have to be, at the most."""
_TURN = 2 * math.pi


def cells_of(places: pl.DataFrame, policy: Policy) -> tuple[pl.Series, pl.DataFrame]:
    """The cells of places.

    Args:
        places: ``y`` and ``x`` in degrees.
        policy: whose key turns the globe, and draws the rows.

    Returns:
        For each place the index of its cell, null where it is null or no place on the globe; and the distinct cells:
        ``row``, ``column``, and the middle's ``lat`` and ``lon`` in the grid's frame, in radians.
    """
    rows = math.ceil(math.pi * EARTH_RADIUS / policy.side)
    grid = Grid(rotation=policy.rotation(), height=math.pi / rows, first=policy.first_row(), rows=rows)
    found = in_grid(places, grid, lambda numbers: _rows(numbers, policy, height=grid.height, first=grid.first))
    middle = ((pl.col("column") + 0.5) / pl.col("cells") - pl.col("begins")) * _TURN
    cells = found.drawn[found.row].with_columns(found.column.alias("column"))
    return found.codes, cells.select("row", "column", "lat", middle.alias("lon"))


def _rows(rows: pl.Series, policy: Policy, *, height: float, first: float) -> pl.DataFrame:
    """Of each row ``lat``, its middle; ``begins``, a share of the circle; and how many ``cells`` it has."""
    drawn = pl.DataFrame(policy.rows_of_cells(rows), schema={"begins": pl.Float64, "more": pl.Float64}, orient="row")
    middle = (pl.col("row") + 0.5 - first) * height - math.pi / 2
    # A row is cut by its longer edge, so that no cell of it is wider than high. The first and the last hold a pole.
    least = _TURN / height * (middle.abs() - height / 2).clip(lower_bound=0.0).cos()
    return drawn.insert_column(0, rows.alias("row")).select(
        "row",
        "begins",
        middle.clip(-math.pi / 2, math.pi / 2).alias("lat"),
        (least * (1 + _MORE * pl.col("more"))).ceil().alias("cells"),
    )


def turned(names: tuple[str, str, str], rows: tuple[tuple[float, ...], ...]) -> list[pl.Expr]:
    """A vector multiplied with a matrix, under the same names."""
    parts = [pl.col(name) for name in names]
    return [
        sum((p * f for p, f in zip(parts, row, strict=True)), pl.lit(0.0)).alias(n)
        for n, row in zip(names, rows, strict=True)
    ]
