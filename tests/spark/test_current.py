"""Restored, reset, renumbered, recreated, two in a row, in every mode: in Spark the current views equal the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_delta.ask import statements
from tests.support.lives import CASES, MADE_FIRST, QUESTIONS, TABLES, World, steps

if TYPE_CHECKING:
    from tests.support.tables import Place

SECONDS = {name: f"unix_timestamp({name})" for name in ("window_start", "timestamp")}


def answered(spark: Any, place: Place, names: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    missing = set()
    for suffix in (*TABLES.values(), "_superseded"):
        if place.exists(suffix):
            spark.read.format("delta").load(place.uri(suffix)).createOrReplaceTempView(f"readings{suffix}")
        else:
            missing.add(f"readings{suffix}")
    for _, whole in statements.split(statements.files()[2].read_text(encoding="utf-8")):
        if MADE_FIRST.match(whole):
            made = statements.without(whole, missing).replace("OR REPLACE VIEW", "OR REPLACE TEMP VIEW")
            spark.sql(made)
    return {n: sorted(tuple(row) for row in spark.sql(QUESTIONS[n].format(**SECONDS)).collect()) for n in names}


EACH_ONCE = [("restore", "reset"), ("reset_half", "restore"), ("renumber", "reset"), ("recreate", "restore")]
"""Everything that happens to a source is in these; the others, as long in Spark, have a make target of their own."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[] if c in EACH_ONCE else pytest.mark.slow, id="-".join(c)) for c in CASES],
)
def test_the_current_views_equal_the_truth(case, spark, sensor, folder):
    world = World(sensor, folder, seed=len(str(case)), key="renumber" not in case)
    steps(world, *case)
    wanted = world.wanted()
    own = spark.newSession()  # whose temporary views hide nothing from the tests that come after
    assert answered(own, folder, list(wanted)) == wanted
