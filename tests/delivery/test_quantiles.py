"""Quantiles of more values than are held in memory are the same as those of all of them at once."""

from __future__ import annotations

import math
import random
from collections import Counter
from weakref import finalize

import polars as pl
import pytest

from edge_delta.delivery.quantiles import QuantilesOf, _merged
from edge_delta.modes.aggregated import WINDOW, Aggregated
from edge_delta.modes.schematized import Schematized

FUNCTIONS = ("median", "p50", "p90", "p95", "p99")
MODE = Aggregated(Schematized(), aggregations={"pressure": FUNCTIONS, "voltage": ("p90",)})

CHANCE = random.Random(8)
VALUES = {
    "uniform": lambda: CHANCE.uniform(-1e3, 1e3),
    "few different ones": lambda: float(CHANCE.randrange(3)),
    "all the same": lambda: 7.0,
    "far apart": lambda: CHANCE.choice([-1, 1]) * 10 ** CHANCE.uniform(-300, 300),
    "extremes": lambda: CHANCE.choice([-1.7e308, 1.7e308, 5e-324, 0.0, -0.0]),
    "missing": lambda: CHANCE.choice([None, CHANCE.gauss(0, 1)]),
    "infinite": lambda: CHANCE.choice([math.inf, -math.inf, 1.0, 2.0, 3.0]),
}


def rows_of(kind, count, groups):
    return pl.DataFrame(
        {
            WINDOW: pl.Series([CHANCE.randrange(2) * 300_000_000 for _ in range(count)]).cast(pl.Datetime("us", "UTC")),
            "sensor_id": [None if (g := CHANCE.randrange(groups)) == 0 else f"s{g}" for _ in range(count)],
            "pressure": pl.Series([VALUES[kind]() for _ in range(count)], dtype=pl.Float64),
            "voltage": pl.Series([CHANCE.randrange(100) for _ in range(count)], dtype=pl.Float64),
        }
    )


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("groups", [1, 40])
def test_quantiles_from_the_disk_equal_those_in_memory(tmp_path, kind, groups):
    rows = rows_of(kind, 6_000, groups)
    with QuantilesOf(MODE, tmp_path, held=500) as values:
        for chunk in rows.iter_slices(700):
            values.add(chunk)
        found = values.result()
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    wanted = MODE.quantiles_of(rows.lazy()).collect()
    keys = [WINDOW, "sensor_id"]
    both = found.sort(keys).select(wanted.columns), wanted.sort(keys)
    for name in wanted.columns[2:]:
        for ours, theirs in zip(both[0][name], both[1][name], strict=True):
            same = ours == theirs or (
                ours is not None and theirs is not None and math.isnan(ours) and math.isnan(theirs)
            )
            assert same or ours == pytest.approx(theirs, rel=1e-12), (name, ours, theirs)


def test_what_many_frames_come_to_is_put_together_on_the_way():
    alive = Counter()

    def frames():
        for _ in range(500):
            frame = pl.DataFrame({"key": range(40), "n": [1] * 40})
            alive.update(["frames"])
            finalize(frame, alive.subtract, ["frames"])
            assert alive["frames"] < 10
            yield frame
            del frame

    merged = _merged(frames(), ["key"], (pl.col("n").sum(),), held=200)
    assert merged["n"].to_list() == [500] * 40


def test_few_values_need_no_disk(tmp_path):
    rows = rows_of("uniform", 100, 3)
    with QuantilesOf(MODE, tmp_path) as values:
        values.add(rows)
        assert values.result() is not None
    assert not list(tmp_path.iterdir())
