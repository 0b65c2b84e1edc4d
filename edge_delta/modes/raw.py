"""raw: every source column, value for value, typed by its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.model import Kind
from edge_delta.core.plan import ROWID, Plan
from edge_delta.modes.base import DTYPES, Plain, beside, bookkeeping
from edge_delta.modes.names import pair_of
from edge_delta.modes.privacy import gps as places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.core.model import Column, Context, Layout, Rejection
    from edge_delta.settings.sections import Settings


class Raw(Struct, Plain, frozen=True):
    """The source's columns in their order, then the row's id and the bookkeeping columns.

    Args:
        gps: fuzzing, if the settings ask for it in this mode too.
        rejected_gps: fuzzing of rejected rows.
    """

    gps: places.Gps | None = None
    rejected_gps: places.Gps | None = None
    name: str = "raw"

    def keeping_places(self) -> Raw:
        """See `Mode.keeping_places`."""
        return self if self.gps is None else replace(self, gps=replace(self.gps, displacement=None))

    def plan(self, frame: pl.LazyFrame, layout: Layout, context: Context) -> Plan:
        """See `Mode.plan`. A source column that has the name of one of ours gets the prefix ``source_``."""
        ours = {"source_rowid": pl.col(ROWID), **bookkeeping(context)}
        plan = self._fuzzed(Plan(frame), layout)
        marks = [pl.col(name) for name in plan.marks]
        names = beside({c.alias: c.alias for c in layout.columns}, ours)
        theirs = [pl.col(c.alias).alias(names[c.alias]) for c in layout.columns]
        return plan.with_frame(plan.frame.select(pl.col(ROWID), *marks, *theirs, **ours))

    def _fuzzed(self, plan: Plan, layout: Layout) -> Plan:
        if self.gps is None:
            return plan
        pair = _numeric_pair(layout, self.gps.said.rename)
        shown, kept_back = {c.alias for c in pair or ()}, self.gps.hidden(layout)
        hidden = [c for c in layout.columns if c.alias not in shown and c.name in kept_back]
        nothing = [pl.lit(None, dtype=DTYPES[c.kind]).alias(c.alias) for c in hidden]
        return self.gps.fuzzed(
            plan.with_frame(plan.frame.with_columns(nothing)),
            latitude=pair[0].alias if pair is not None else None,
            longitude=pair[1].alias if pair is not None else None,
        )

    def redacted(self, rejections: list[Rejection], layout: Layout) -> list[Rejection]:
        """See `Mode.redacted`."""
        if self.rejected_gps is None:
            return rejections
        return self.rejected_gps.redacted(rejections, layout, _numeric_pair(layout, self.rejected_gps.said.rename))


def _numeric_pair(layout: Layout, rename: Mapping[str, str]) -> tuple[Column, Column] | None:
    """The coordinates if they are declared as real numbers; in any other form they are withheld."""
    pair = pair_of(layout, rename)
    return pair if pair is not None and all(c.kind is Kind.REAL for c in pair) else None


def build(settings: Settings) -> Raw:
    """The mode as the settings describe it."""
    return Raw(places.of(settings, "raw"), places.of_rejected(settings))
