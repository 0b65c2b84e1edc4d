"""Tables that have several states of a row: the last one is compared with the source, and the others are no repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct, field

from edge_delta.core.questions import COUNT, Condition, Question, among, mine, named
from edge_delta.core.updates import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.recovery.verify.base import Compared
    from edge_delta.recovery.verify.report import Verification

_NUMBER = "\0version"


class States(Struct):
    """What is known of the states of a table's rows.

    Attributes:
        parts: what is compared.
        earlier: how many states are not the last of their row.
        before: ids of rows that are rejected as they are now, and stand in the table as they were before.
    """

    parts: Compared
    earlier: int = 0
    before: set[int] = field(default_factory=set)

    @property
    def has_later_ones(self) -> bool:
        """Whether the table has a second state of any row."""
        where = (*mine(self.parts.node_id), Condition(VERSION, ">", 1))
        return has_states(self.parts) and bool(self.parts.sink.ask(Question(where, totals={"n": COUNT}))["n"][0])

    def last(self, table: pl.DataFrame, report: Verification) -> pl.DataFrame:
        """A range's rows, each as the last state of it has it, without those that are rejected by now.

        Args:
            table: rows of the table.
            report: where earlier states are told that are there more than once.
        """
        if not has_states(self.parts) or not table.height:
            return table
        key, time = self.parts.traits.key, self.parts.time
        numbered = table.with_columns(pl.col(VERSION).fill_null(1).alias(_NUMBER))
        newest = pl.col(_NUMBER) == pl.col(_NUMBER).max().over(key)
        others = numbered.filter(~newest)
        self.earlier += others.height
        # Rows under an id that was used again differ by their time.
        alike = others.group_by([key, _NUMBER, *([time] if time in table.columns else [])]).len("n")
        for row, times in alike.filter(pl.col("n") > 1).sort(key).select(key, "n").rows():
            report.differs("twice", row, f"a state of it is {times} times in the table")
        return numbered.filter(newest & ~pl.col(key).is_in(list(self.before))).drop(_NUMBER)

    def rejected(self, generation: int, rejected: set[int], broken: set[int]) -> set[int]:
        """The rejected rows that are not in the table as they are now.

        Args:
            generation: the generation.
            rejected: ids that the rejected table has.
            broken: ids of rows that the mode rejects as they are now.
        """
        if not rejected or not has_states(self.parts):
            return rejected
        key = self.parts.traits.key
        where = (*self.parts.mine(generation), *among(key, rejected))
        there = set(self.parts.sink.ask(Question(where, named(key), distinct=True))[key])
        self.before |= there & broken
        return rejected - (there - broken)

    def notes(self) -> list[str]:
        """In words; none if each row has one state."""
        found = [f"{self.earlier} earlier states of updated rows are there too, by row_version"] if self.earlier else []
        if self.before:
            found.append(f"{len(self.before)} rows were rejected after an update: the state before is there")
        return found


def has_states(parts: Compared) -> bool:
    """Whether the table counts the states of its rows."""
    return parts.traits.replayable and VERSION in parts.sink.columns()


def told_by(parts: Compared, columns: Sequence[str]) -> list[str]:
    """The columns by which a row of the table is told from its repeats: with its version, where it has one."""
    return [*columns, *([VERSION] if has_states(parts) else [])]
