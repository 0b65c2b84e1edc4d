"""Coordinates in, displaced coordinates out.

What is published must not lead back to the true place, however many readings are averaged. So a displacement is not
noise drawn per reading; it is derived from a secret with HMAC-SHA256 (RFC 2104), per sensor, and where ``cell_meters``
is set per sensor and place, so that a moving sensor has another one in each grid cell.

* ``per_sensor``: uniform in area over a disk of ``radius_meters``.
* ``planar_laplace``: geo-indistinguishability with ``epsilon`` per metre, for each (sensor, cell); the radius follows
  M. Andrés et al., "Geo-Indistinguishability: Differential Privacy for Location-Based Systems", CCS 2013, section 4.
* ``per_reading``: independent noise per reading over the disk. **A sensor that stays in place can be averaged out.**

Displaced points follow the great circle, so that a metre is a metre at any latitude; longitudes wrap at 180 degrees.
"""

from __future__ import annotations

import hmac
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

EARTH_RADIUS = 6_371_008.8
"""Mean radius in metres (IUGG)."""
_METERS_A_DEGREE = math.pi * EARTH_RADIUS / 180
_UNIT = 2.0**-53
_DRAWN = pl.Struct({"u": pl.Float64(), "v": pl.Float64()})
_HALLEY_STEPS = 8
_DRAW, _ANGLE, _BEARING = "(drawn)", "(angle)", "(bearing)"  # parentheses, as no other column has any

Strategy = Literal["per_sensor", "per_reading", "planar_laplace"]


@dataclass(frozen=True, slots=True)
class Fuzzing:
    """How coordinates are displaced.

    Args:
        strategy: see the module's text.
        radius_meters: the disk's radius.
        epsilon: privacy parameter of ``planar_laplace`` in 1/metre; the mean displacement is 2/epsilon.
        cell_meters: side of the grid cells in the key, None for one displacement per sensor.
        secret: the HMAC key; not needed for ``per_reading``.
        entropy: random bytes for ``per_reading``.
    """

    strategy: Strategy = "per_sensor"
    radius_meters: float = 500.0
    epsilon: float | None = None
    cell_meters: float | None = None
    secret: bytes = field(default=b"", repr=False)
    entropy: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def policy(self) -> dict[str, str]:
        """What is recorded with each commit: no coordinate, and of the secret only that it is the same one."""
        noted = {"gps_fuzzing": self.strategy, "gps_fuzzing_radius_meters": f"{self.radius_meters:g}"}
        if self.strategy == "planar_laplace":
            noted = {"gps_fuzzing": self.strategy, "gps_fuzzing_epsilon": f"{self.epsilon:g}"}
        if self.secret:
            noted["gps_fuzzing_key"] = hmac.digest(self.secret, b"edge-delta key id", "sha256").hex()[:8]
        return noted

    def displaced(self, frame: pl.LazyFrame, *, sensor: str | None, latitude: str, longitude: str) -> pl.LazyFrame:
        """The frame with displaced coordinates; null where either is null or no place on the globe.

        Args:
            frame: the rows.
            sensor: the column with the sensor's name; null is a sensor of its own. None for one sensor.
            latitude: the column with degrees north.
            longitude: the column with degrees east.
        """
        name = pl.col(sensor) if sensor is not None else pl.lit("")
        # In steps, because what is drawn must be drawn once.
        drawn = frame.with_columns(self._drawn(name, pl.col(latitude), pl.col(longitude)).alias(_DRAW)).with_columns(
            (self._meters(pl.col(_DRAW).struct.field("u")) / EARTH_RADIUS).alias(_ANGLE),
            (pl.col(_DRAW).struct.field("v") * (2 * math.pi)).alias(_BEARING),
        )
        there = destination(pl.col(latitude), pl.col(longitude), pl.col(_ANGLE), pl.col(_BEARING))
        return drawn.with_columns(there[0].alias(latitude), there[1].alias(longitude)).drop(_DRAW, _ANGLE, _BEARING)

    def _meters(self, u: pl.Expr) -> pl.Expr:
        if self.strategy == "planar_laplace":
            epsilon = self.epsilon or 1.0
            return u.map_batches(lambda p: laplace_radius(p, epsilon), return_dtype=pl.Float64)
        # Uniform over a spherical cap, which for small radii is R·√u.
        half = self.radius_meters / (2 * EARTH_RADIUS)
        return 2 * EARTH_RADIUS * (u.sqrt() * math.sin(half)).arcsin()

    def _drawn(self, sensor: pl.Expr, latitude: pl.Expr, longitude: pl.Expr) -> pl.Expr:
        """Two numbers in [0, 1) for each row."""
        if self.strategy == "per_reading":
            return latitude.map_batches(self._fresh, return_dtype=_DRAWN)
        # The policy is part of the key: one secret under two radii would put both points on one line from the true one.
        policy = pl.lit(f"{self.strategy}|{self.radius_meters:g}|{self.epsilon}|{self.cell_meters}")
        key = pl.concat_str(
            policy, sensor.cast(pl.String).fill_null(""), *self._cell(latitude, longitude), separator="\x1f"
        )
        return key.map_batches(self._keyed, return_dtype=_DRAWN)

    def _cell(self, latitude: pl.Expr, longitude: pl.Expr) -> list[pl.Expr]:
        if self.cell_meters is None:
            return []
        degrees = self.cell_meters / _METERS_A_DEGREE
        row = (latitude / degrees).floor()
        # Cells grow narrower in degrees with the parallel that they lie on.
        wide = degrees / (row * degrees).radians().cos().clip(1e-6, 1.0)
        return [
            cell.cast(pl.Int64, strict=False).cast(pl.String).fill_null("")
            for cell in (row, (longitude / wide).floor())
        ]

    def _keyed(self, keys: pl.Series) -> pl.Series:
        """One HMAC a distinct key, not one a row."""
        distinct = keys.unique()
        numbers = [_two_numbers(hmac.digest(self.secret, key.encode(), "sha256")) for key in distinct]
        table = pl.DataFrame({"key": distinct, "drawn": pl.Series(numbers, dtype=_DRAWN)})
        rows = pl.DataFrame({"key": keys}).join(table, on="key", how="left", maintain_order="left")
        return rows["drawn"].alias(keys.name)

    def _fresh(self, rows: pl.Series) -> pl.Series:
        size = len(rows)
        bits = pl.Series(memoryview(self.entropy(16 * size)).cast("Q").tolist(), dtype=pl.UInt64)
        unit = (bits // 2**11).cast(pl.Float64) * _UNIT
        return pl.DataFrame({"u": unit[:size], "v": unit[size:]}).to_struct(rows.name)


def _two_numbers(digest: bytes) -> dict[str, float]:
    u, v = (int.from_bytes(digest[i : i + 8]) >> 11 for i in (0, 8))
    return {"u": u * _UNIT, "v": v * _UNIT}


def destination(latitude: pl.Expr, longitude: pl.Expr, angle: pl.Expr, bearing: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The point at a distance and bearing along the great circle; degrees in and out, the rest in radians.

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984); the direct formula.
    """
    on_globe = latitude.is_between(-90, 90) & longitude.is_between(-180, 180)
    start = latitude.radians()
    sine = start.sin() * angle.cos() + start.cos() * angle.sin() * bearing.cos()
    # The arc tangent keeps its precision near the poles, where the arc sine loses half of its digits.
    along = start.cos() * angle.cos() - start.sin() * angle.sin() * bearing.cos()
    across = bearing.sin() * angle.sin()
    reached = pl.arctan2(sine, (along**2 + across**2).sqrt())
    turned = longitude + pl.arctan2(across, along).degrees()
    wrapped = (turned + 540) % 360 - 180
    return pl.when(on_globe).then(reached.degrees()), pl.when(on_globe).then(wrapped)


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
