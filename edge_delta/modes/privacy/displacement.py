"""Coordinates in, displaced coordinates out.

A true position is only ever used to find its cell (see `edge_delta.modes.privacy.grid`). The cells lie on a sphere that
the device's key turned: so the grid has another place and direction on every device, and there is neither a seam at 180
degrees nor anything special at the poles.

* ``per_place``: the cell's middle, moved by the device's vector. Never farther than the radius from any point of the
  cell, never nearer than three tenths of it.
* ``planar_laplace``: the cell's middle, moved by a draw that HMAC-SHA256 (RFC 2104) makes of the cell. The law is that
  of M. Andrés et al., "Geo-Indistinguishability: Differential Privacy for Location-Based Systems", CCS 2013, section 4.
  **Draws of neighbouring cells add up**: a track over n of them has n times the epsilon.

Either way one cell has one point, whatever the sensor, table, mode or row.
"""

from __future__ import annotations

import hmac
import math
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.modes.privacy.grid import middles, turned
from edge_delta.modes.privacy.policy import EARTH_RADIUS, numbers, stretched

if TYPE_CHECKING:
    from edge_delta.modes.privacy.policy import Policy

_PLACE = pl.Struct({"y": pl.Float64(), "x": pl.Float64()})
_PAIR, _KEY = "(pair)", "(key)"  # parentheses, as no other column has any
_ODD = 0x9E3779B97F4A7C15
_HALLEY_STEPS = 8


class Displacement(Struct, frozen=True):
    """Displaces coordinates by a policy.

    Args:
        policy: how.
    """

    policy: Policy

    def displaced(self, frame: pl.LazyFrame, *, latitude: str, longitude: str) -> pl.LazyFrame:
        """The frame with displaced coordinates; null where either is null or no place on the globe.

        Args:
            frame: the rows.
            latitude: the column with degrees north.
            longitude: the column with degrees east.
        """
        pair = pl.struct(pl.col(latitude).alias("y"), pl.col(longitude).alias("x"))
        found = frame.with_columns(pair.map_batches(self._places, return_dtype=_PLACE).alias(_PAIR))
        moved = (pl.col(_PAIR).struct.field(part).alias(name) for part, name in (("y", latitude), ("x", longitude)))
        return found.with_columns(moved).drop(_PAIR)

    def _places(self, pairs: pl.Series) -> pl.Series:
        """Each distinct place once: sensors report the same one again and again.

        Places are told by one number made of their bits, which is three times as fast as by two; where two places had
        the same number, each row is displaced by itself.
        """
        rows = pairs.struct.unnest()
        bits = [pl.col(name).fill_null(math.inf).reinterpret(signed=False) for name in ("y", "x")]
        keyed = rows.lazy().select("y", "x", (bits[0] * _ODD + bits[1]).alias(_KEY)).collect(engine="in-memory")
        distinct = keyed.unique(_KEY)
        if distinct.height > rows.height // 2:
            return self.points(rows).to_struct(pairs.name)
        table = pl.concat([distinct.rename({"y": "north", "x": "east"}), self.points(distinct)], how="horizontal")
        joined = keyed.select(_KEY).join(table, on=_KEY, how="left", maintain_order="left")
        same = joined["north"].eq_missing(rows["y"]) & joined["east"].eq_missing(rows["x"])
        return (joined.select("y", "x") if same.all() else self.points(rows)).to_struct(pairs.name)

    def points(self, places: pl.DataFrame) -> pl.DataFrame:
        """What is published of places: ``y`` and ``x`` in degrees, in and out."""
        on_globe = pl.col("y").is_between(-90, 90) & pl.col("x").is_between(-180, 180)
        inside = places.select(pl.when(on_globe).then(pl.col("y", "x")))
        found = middles(inside, self.policy)
        moved = self._moved(found)
        back = tuple(zip(*self.policy.rotation(), strict=True))
        places_there = moved.lazy().select(*turned(("px", "py", "pz"), back)).select(*_degrees())
        return places_there.select(pl.col("y", "x").round(self.policy.decimals)).collect(engine="in-memory")

    def _moved(self, cells: pl.DataFrame) -> pl.DataFrame:
        """The points that the middles of cells are moved to, as vectors ``px, py, pz`` in the grid's own frame."""
        if self.policy.strategy == "planar_laplace":
            draws = self._draws(cells)
            return pl.concat([cells, draws], how="horizontal").select(*_destination(pl.col("angle"), pl.col("bearing")))
        meters, bearing = self.policy.vector()
        return cells.select(*_destination(pl.lit(meters / EARTH_RADIUS), pl.lit(bearing)))

    def _draws(self, places: pl.DataFrame) -> pl.DataFrame:
        """A draw of planar Laplace for each cell: ``angle`` and ``bearing`` in radians."""
        cells = places.select("row", "column").unique()
        prefix, key = self.policy.digest("cells"), stretched(self.policy.secret)
        drawn = [numbers(hmac.digest(key, prefix + f"{r},{c}".encode(), "sha256"), 2) for r, c in cells.iter_rows()]
        two = pl.DataFrame(drawn, schema={"u": pl.Float64, "v": pl.Float64}, orient="row")
        radius = laplace_radius(two["u"], self.policy.epsilon or 1.0)
        table = cells.with_columns((radius / EARTH_RADIUS).alias("angle"), (two["v"] * 2 * math.pi).alias("bearing"))
        joined = places.join(table, on=["row", "column"], how="left", maintain_order="left", nulls_equal=True)
        return joined.select("angle", "bearing")


def _degrees() -> list[pl.Expr]:
    """A vector ``px, py, pz`` as degrees; the arc tangent keeps its precision near the poles."""
    x, y, z = (pl.col(name) for name in ("px", "py", "pz"))
    return [pl.arctan2(z, (x**2 + y**2).sqrt()).degrees().alias("y"), pl.arctan2(y, x).degrees().alias("x")]


def _destination(angle: pl.Expr, bearing: pl.Expr) -> list[pl.Expr]:
    """The point at a distance and bearing along the great circle from ``lat, lon``, as a vector ``px, py, pz``.

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984); the direct formula in vectors.
    """
    lat, lon = pl.col("lat"), pl.col("lon")
    ahead, north, east = angle.cos(), angle.sin() * bearing.cos(), angle.sin() * bearing.sin()
    outward = ahead * lat.cos() - north * lat.sin()
    return [
        (outward * lon.cos() - east * lon.sin()).alias("px"),
        (outward * lon.sin() + east * lon.cos()).alias("py"),
        (ahead * lat.sin() + north * lat.cos()).alias("pz"),
    ]


def laplace_radius(shares: pl.Series, epsilon: float) -> pl.Series:
    """The radius in metres below which a share p of planar Laplace noise lies: -(1/ε)(W₋₁((p - 1)/e) + 1).

    The lower branch of Lambert's W by Halley's iteration (R. Corless et al., "On the Lambert W Function", 1996).
    """
    p = pl.col("p")
    x = (p - 1) / math.e
    # Near the branch point the square-root series is a good start, far from it the logarithmic one.
    root = -(2 * (1 + math.e * x)).clip(lower_bound=0).sqrt()
    logarithm = (-x).log()
    start = pl.when(p < 0.5).then(-1 + root - root**2 / 3).otherwise(logarithm - (-logarithm).log())  # noqa: PLR2004
    frame = shares.alias("p").to_frame().select(x.alias("x"), start.alias("w"))
    w = pl.col("w")
    error = w * w.exp() - pl.col("x")
    slope = w.exp() * (w + 1) - (w + 2) * error / (2 * w + 2)
    for _ in range(_HALLEY_STEPS):
        frame = frame.with_columns(pl.when((error == 0) | (w >= -1)).then(w).otherwise(w - error / slope).alias("w"))
    return frame.select((-(w + 1) / epsilon).clip(lower_bound=0.0).alias(shares.name)).to_series()
