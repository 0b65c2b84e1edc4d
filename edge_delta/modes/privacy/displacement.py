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

import hashlib
import math
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.modes.privacy.grid import cells_of, turned
from edge_delta.modes.privacy.policy import EARTH_RADIUS, stretched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.modes.privacy.policy import Policy

_PLACE = pl.Struct({"y": pl.Float64(), "x": pl.Float64()})
_PAIR = "(pair)"  # parentheses, as no other column has any
_HALLEY_STEPS = 8
_MOST_REMEMBERED = 65_536
"""Points of cells; 2 MB."""


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
        return self.points(pairs.struct.unnest()).to_struct(pairs.name)

    def points(self, places: pl.DataFrame) -> pl.DataFrame:
        """What is published of places: ``y`` and ``x`` in degrees, in and out; made once for each cell."""
        codes, cells = cells_of(places, self.policy)
        drawn = self.policy.strategy == "planar_laplace"
        points = _remembered(self.policy).of(cells) if drawn else _moved_by_vector(self.policy, cells)
        return points.select(pl.col("y", "x").gather(codes))


def _moved_by_vector(policy: Policy, cells: pl.DataFrame) -> pl.DataFrame:
    """The published points of cells by ``per_place``: ``y`` and ``x`` in degrees."""
    meters, bearing = policy.vector()
    return _published(policy, cells, pl.lit(meters / EARTH_RADIUS), pl.lit(bearing))


class _Drawn:
    """The published points of cells by planar Laplace; remembered, as the next batch is mostly of the same cells.

    Args:
        policy: the policy.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known: pl.DataFrame | None = None

    def of(self, cells: pl.DataFrame) -> pl.DataFrame:
        """``y`` and ``x`` in degrees of each cell, in their order.

        Args:
            cells: distinct ones, by ``row`` and ``column``, with their middles ``lat`` and ``lon``.
        """
        keyed = cells.with_columns((pl.col("row") * 2**32 + pl.col("column")).alias("cell"))
        known = self._known if self._known is not None else self._made(keyed)
        found = keyed.select("cell").join(known, on="cell", how="left", maintain_order="left")
        if found["y"].null_count():
            new = found["y"].is_null()
            made, places = self._made(keyed.filter(new)), new.arg_true()
            found = found.with_columns(found[axis].scatter(places, made[axis]) for axis in ("y", "x"))
            known = pl.concat([known, made])
        # Other threads may draw at the same time; what one of them forgets is drawn again, and is the same.
        self._known = known if known.height <= _MOST_REMEMBERED else None
        return found.select("y", "x")

    def _made(self, cells: pl.DataFrame) -> pl.DataFrame:
        both = pl.concat([cells, self._draws(cells)], how="horizontal")
        points = _published(self._policy, both, pl.col("angle"), pl.col("bearing"))
        return pl.concat([cells.select("cell"), points], how="horizontal")

    def _draws(self, cells: pl.DataFrame) -> pl.DataFrame:
        """A draw of planar Laplace for each cell: ``angle`` and ``bearing`` in radians."""
        messages = (b"%d,%d" % cell for cell in cells.select("row", "column").iter_rows())
        made = digests(stretched(self._policy.secret), self._policy.digest("cells"), messages)
        # The same two numbers in [0, 1) that `policy.numbers` makes, all at once.
        whole = pl.Series(struct.unpack(f">{2 * len(made)}Q", b"".join(made)), dtype=pl.UInt64)
        share = (whole // 2**11).cast(pl.Float64) * 2.0**-53
        radius = laplace_radius(share.gather_every(2), self._policy.epsilon or 1.0)
        bearing = share.gather_every(2, 1) * 2 * math.pi
        return pl.DataFrame({"angle": radius / EARTH_RADIUS, "bearing": bearing})


@lru_cache(maxsize=8)
def _remembered(policy: Policy) -> _Drawn:
    return _Drawn(policy)


def _published(policy: Policy, cells: pl.DataFrame, angle: pl.Expr, bearing: pl.Expr) -> pl.DataFrame:
    """The points that the middles of cells are moved to, out of the grid's own frame: ``y`` and ``x`` in degrees."""
    back = tuple(zip(*policy.rotation(), strict=True))
    moved = cells.lazy().select(*_destination(angle, bearing)).select(*turned(("px", "py", "pz"), back))
    points = moved.select(*_degrees()).select(pl.col("y", "x").round(policy.decimals))
    return points.collect(engine="in-memory")


def digests(key: bytes, prefix: bytes, messages: Iterable[bytes]) -> list[bytes]:
    """The first 16 bytes of the HMAC-SHA256 (RFC 2104) of each message behind a prefix.

    `hmac.digest` prepares the key again for each one, which took most of the time that ten thousand draws take.

    Args:
        key: 64 bytes at the most.
        prefix: what every message begins with.
        messages: the rest of each.
    """
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in key.ljust(64, b"\0"))) for pad in (0x36, 0x5C))
    inner.update(prefix)
    made = []
    for message in messages:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        made.append(second.digest()[:16])
    return made


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
    frame = shares.alias("p").to_frame().lazy().select(x.alias("x"), start.alias("w"))
    w = pl.col("w")
    error = w * w.exp() - pl.col("x")
    slope = w.exp() * (w + 1) - (w + 2) * error / (2 * w + 2)
    for _ in range(_HALLEY_STEPS):
        frame = frame.with_columns(pl.when((error == 0) | (w >= -1)).then(w).otherwise(w - error / slope).alias("w"))
    return (
        frame.select((-(w + 1) / epsilon).clip(lower_bound=0.0).alias(shares.name))
        .collect(engine="in-memory")
        .to_series()
    )
