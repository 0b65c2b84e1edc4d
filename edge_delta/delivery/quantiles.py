"""Exact quantiles of windows of any size: what does not fit into memory is laid down on the disk.

Each quantile lies between two of the values in their order. Those are looked for by narrowing down the range that they
lie in: the values of a range are counted in buckets, and the bucket with the wanted place is the next range, until what
is left of all ranges together can be sorted in memory.
"""

from __future__ import annotations

import math
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from edge_delta.core.memory import PLAIN
from edge_delta.modes.window_functions import QUANTILES, output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_delta.modes.aggregated import Aggregated

_BUCKETS = 4_096
_KEY, _VALUE = "_key", "_value"
_LARGEST = 1.7976931348623157e308


class QuantilesOf:
    """Takes rows, some at a time, and gives the quantiles that a mode wants of them.

    Args:
        mode: the mode.
        folder: where the disk is used; None for the system's place for such files.
        held: values that are held in memory.
    """

    def __init__(self, mode: Aggregated, folder: Path | None = None, *, held: int = PLAIN.held_values) -> None:
        self._mode = mode
        self._columns = list(mode.quantiles)
        self._place = folder
        self._held = held
        self._rows: list[pl.DataFrame] = []
        self._count = 0
        self._keys: pl.DataFrame | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, rows: pl.DataFrame) -> None:
        """Some more rows, as `Aggregated.plan` makes them."""
        if not self._columns or not rows.height:
            return
        self._rows.append(rows.select(*self._mode.keys, *self._columns))
        self._count += rows.height * len(self._columns)
        if self._count > self._held:
            self._lay_down()

    def result(self) -> pl.DataFrame | None:
        """The keys and the quantiles; None if none are wanted, or there are no rows."""
        if not self._files:
            found = self._mode.quantiles_of(pl.concat(self._rows).lazy()) if self._rows else None
            return None if found is None else found.collect()
        self._lay_down()
        assert self._keys is not None  # noqa: S101 - there are files
        result = self._keys
        for column, functions in self._mode.quantiles.items():
            result = result.join(self._of_column(column, functions), on=_KEY, how="left")
        return result.drop(_KEY)

    # -- on the disk

    def _lay_down(self) -> None:
        if not self._rows:
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=".windows-", dir=self._place)
        rows, keys = pl.concat(self._rows), self._mode.keys
        known = self._keys
        fresh = rows.select(keys).unique(maintain_order=True)
        if known is not None:
            fresh = fresh.join(known, on=keys, how="anti", nulls_equal=True)
        fresh = fresh.with_row_index(_KEY, offset=0 if known is None else known.height)
        self._keys = fresh if known is None else pl.concat([known, fresh])
        numbered = rows.join(self._keys, on=keys, how="left", nulls_equal=True)
        file = Path(self._folder.name) / f"{len(self._files)}.parquet"
        numbered.select(_KEY, *self._columns).write_parquet(
            file, compression="zstd", compression_level=1, statistics=False
        )
        self._files.append(file)
        self._rows, self._count = [], 0

    def _of_column(self, column: str, functions: Sequence[str]) -> pl.DataFrame:
        """One row a key, with the functions of one column."""
        values = partial(self._values, column)
        low, high = pl.col(_VALUE).min().alias("low"), pl.col(_VALUE).max().alias("high")
        each = (chunk.group_by(_KEY).agg(pl.len().cast(pl.Int64).alias("n"), low, high) for chunk in values())
        bounds = _merged(each, [_KEY], (pl.col("n").sum(), pl.col("low").min(), pl.col("high").max()), self._held)
        places = [_places(bounds, function).with_columns(function=pl.lit(function)) for function in functions]
        wanted = pl.concat(places)
        ends = pl.concat([wanted.select(_KEY, "low", "high", at=pl.col(side)) for side in ("below", "above")]).unique()
        found = _Selection(values, ends.with_columns(before=pl.lit(0, dtype=pl.Int64)), self._held).run()
        for side in ("below", "above"):
            wanted = wanted.join(found.rename({"at": side, _VALUE: f"{side}_value"}), on=[_KEY, side], how="left")
        low, high = (_infinite(pl.col(f"{side}_value")) for side in ("below", "above"))
        exact = pl.when(low == high).then(low).otherwise(low + (high - low) * pl.col("share"))
        table = wanted.select(_KEY, "function", exact.alias(_VALUE)).pivot(on="function", index=_KEY, values=_VALUE)
        return table.rename({function: output(function, column) for function in functions})

    def _values(self, column: str) -> Iterator[pl.DataFrame]:
        """Key and value, a file at a time."""
        value = pl.col(column).cast(pl.Float64).clip(-_LARGEST, _LARGEST).alias(_VALUE)
        for file in self._files:
            yield pl.read_parquet(file, columns=[_KEY, column]).select(_KEY, value).drop_nulls()


def _merged(each: Iterable[pl.DataFrame], keys: Sequence[str], total: Sequence[pl.Expr], held: int) -> pl.DataFrame:
    """What some groups come to over all frames, put together whenever there are many rows of them.

    Kept until the end, they would be as many as the rows of the window themselves where groups are small.
    """
    kept: list[pl.DataFrame] = []
    rows, least = 0, held
    for frame in each:
        kept.append(frame)
        rows += frame.height
        if rows > least:
            kept = [pl.concat(kept).group_by(keys).agg(*total)]
            rows = kept[0].height
            least = max(held, 2 * rows)
    return pl.concat(kept).group_by(keys).agg(*total)


def _infinite(value: pl.Expr) -> pl.Expr:
    """What was clipped, so that ranges have a width, as it was."""
    return pl.when(value.abs() >= _LARGEST).then(value.sign() * math.inf).otherwise(value)


def _places(bounds: pl.DataFrame, function: str) -> pl.DataFrame:
    """Between which places, from 0, a quantile lies, and how far from the lower one."""
    place = QUANTILES[function] * (pl.col("n") - 1)
    return bounds.select(
        _KEY,
        "low",
        "high",
        place.floor().cast(pl.Int64).alias("below"),
        place.ceil().cast(pl.Int64).alias("above"),
        (place - place.floor()).alias("share"),
    )


class _Selection:
    """Looks for the values at some places in the order of all values of a key.

    Args:
        values: gives key and value, some at a time.
        wanted: ``_key``, the place ``at``, the range ``low`` to ``high`` that it is in, and how many values of the key
            are ``before`` the range.
        held: values that are sorted in memory.
    """

    def __init__(self, values: Callable[[], Iterator[pl.DataFrame]], wanted: pl.DataFrame, held: int) -> None:
        self._values = values
        self._wanted = wanted
        self._held = held

    def run(self) -> pl.DataFrame:
        """``_key``, ``at`` and the value."""
        done: list[pl.DataFrame] = []
        while True:
            single = self._wanted.filter(pl.col("low") == pl.col("high"))
            done.append(single.select(_KEY, "at", pl.col("low").alias(_VALUE)))
            self._wanted = self._wanted.filter(pl.col("low") < pl.col("high"))
            if not self._wanted.height:
                return pl.concat(done)
            buckets = self._counted()
            self._narrow(buckets)
            left = self._wanted.select(_KEY, "low", "high", "in_range").unique()
            if int(left["in_range"].sum()) <= self._held:
                return pl.concat([*done, self._sorted()])

    def _ranges(self) -> pl.DataFrame:
        return self._wanted.select(_KEY, "low", "high").unique()

    def _within(self, ranges: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The values in the ranges, with their range; those of one key have nothing in common."""
        ordered = ranges.sort("low")
        for chunk in self._values():
            near = chunk.sort(_VALUE).join_asof(
                ordered, left_on=_VALUE, right_on="low", by=_KEY, coalesce=False, check_sortedness=False
            )
            yield near.filter(pl.col(_VALUE) <= pl.col("high"))

    def _counted(self) -> pl.DataFrame:
        """The ranges in buckets: how many values each has, and its least and greatest."""
        ranges = self._ranges()
        buckets = max(2, min(_BUCKETS, self._held // ranges.height))
        width, above = pl.col("high") - pl.col("low"), pl.col(_VALUE) - pl.col("low")
        # The width of the widest ranges is no double; their halves' is.
        halves = (pl.col(_VALUE) / 2 - pl.col("low") / 2) / (pl.col("high") / 2 - pl.col("low") / 2)
        share = pl.when(width.is_finite()).then(above / width).otherwise(halves)
        bucket = (share * buckets).floor().clip(0, buckets - 1).cast(pl.Int32)
        least, greatest = pl.col(_VALUE).min().alias("least"), pl.col(_VALUE).max().alias("greatest")
        keys = [_KEY, "low", "high", "bucket"]
        each = (
            chunk.group_by(_KEY, "low", "high", bucket.alias("bucket")).agg(
                pl.len().cast(pl.Int64).alias("n"), least, greatest
            )
            for chunk in self._within(ranges)
        )
        total = (pl.col("n").sum(), pl.col("least").min(), pl.col("greatest").max())
        merged = _merged(each, keys, total, self._held)
        return merged.sort(keys).with_columns(upto=pl.col("n").cum_sum().over(_KEY, "low", "high"))

    def _narrow(self, buckets: pl.DataFrame) -> None:
        """Each wanted place's range becomes the bucket that it is in."""
        both = self._wanted.select(_KEY, "at", "low", "high", "before").join(buckets, on=[_KEY, "low", "high"])
        place = pl.col("at") - pl.col("before")
        inside = both.filter((place < pl.col("upto")) & (place >= pl.col("upto") - pl.col("n")))
        self._wanted = inside.select(
            _KEY,
            "at",
            pl.col("least").alias("low"),
            pl.col("greatest").alias("high"),
            (pl.col("before") + pl.col("upto") - pl.col("n")).alias("before"),
            pl.col("n").alias("in_range"),
        )

    def _sorted(self) -> pl.DataFrame:
        """What is left, sorted in memory."""
        ordered = (
            pl.concat(self._within(self._ranges()))
            .sort(_KEY, "low", "high", _VALUE)
            .with_columns(index=pl.int_range(pl.len()).over(_KEY, "low", "high"))
        )
        wanted = self._wanted.with_columns(index=pl.col("at") - pl.col("before"))
        return wanted.join(ordered, on=[_KEY, "low", "high", "index"]).select(_KEY, "at", _VALUE)
