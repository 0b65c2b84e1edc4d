"""What modes return, and what they may ask for. Not for paths that must not import Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_delta.core.model import Column
    from edge_delta.core.questions import Question

ROWID = "_rowid"
"""The column of a batch's frame with the row's key."""
TIME = "(time)"
"""The readings' times where they are parsed already; no column of a source can be called that."""
RULE = "_rule"
"""The column of a plan's frame with the index of the first rule that a row breaks."""


class Rule(Struct, frozen=True):
    """A rule that rejects rows.

    Attributes:
        name: the rule's name, as in the rejected table.
        column: the frame's column that it looks at.
        reason: in words.
        broken: true where a row breaks it; null counts as not broken.
    """

    name: str
    column: str
    reason: str
    broken: pl.Expr


class Plan(Struct, frozen=True):
    """What a mode makes of a batch.

    Attributes:
        frame: the target columns and ``_rowid``; where there are rules also ``_rule``, the index of the first rule
            that the row breaks, null for rows to keep. Rows and their order are the batch's.
        rules: the rules.
        select: what becomes of the rows that are kept, for modes whose tables hold something else than readings.
    """

    frame: pl.LazyFrame
    rules: tuple[Rule, ...] = ()
    select: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None

    def with_rules(self, *rules: Rule) -> Plan:
        """The plan with more rules, which look at its frame's columns and come after those it has."""
        if not rules:
            return self
        mark = first_broken(rules) + pl.lit(len(self.rules), dtype=pl.Int32)
        if self.rules:
            mark = pl.coalesce(pl.col(RULE), mark)
        return replace(self, frame=self.frame.with_columns(mark.alias(RULE)), rules=(*self.rules, *rules))

    @property
    def marks(self) -> tuple[str, ...]:
        """The helping column of a plan with rules."""
        return (RULE,) if self.rules else ()

    def with_frame(self, frame: pl.LazyFrame) -> Plan:
        """The same rules over another frame with the same rows."""
        return replace(self, frame=frame)


def first_broken(rules: tuple[Rule, ...]) -> pl.Expr:
    """The index of the first rule that a row breaks, null if it breaks none."""
    hits = [pl.when(rule.broken).then(pl.lit(i, dtype=pl.Int32)) for i, rule in enumerate(rules)]
    return pl.coalesce(hits).alias(RULE) if hits else pl.lit(None, dtype=pl.Int32).alias(RULE)


class LastValues(Struct, frozen=True):
    """A request for what was before the batch: each sensor's last value within limits, by column.

    Attributes:
        sensor: the column with the sensor's name, None for one sensor.
        columns: the source column by the name that the mode has for it.
        limits: lower and upper limit by that name, None for no limit.
        dtypes: the type by that name.
    """

    sensor: Column | None
    columns: Mapping[str, Column]
    limits: Mapping[str, tuple[float | None, float | None]]
    dtypes: Mapping[str, pl.DataType]


class TableQuery(Struct, frozen=True):
    """A request for what the mode's own table holds.

    Attributes:
        question: what the table is asked.
        schema: the result's columns and types, also where there is no table yet.
    """

    question: Question
    schema: Mapping[str, pl.DataType]
