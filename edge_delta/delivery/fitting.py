"""From a mode's plan to rows that the table can hold exactly, and the rest with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core import time_columns
from edge_delta.core.model import Mark, Rejection
from edge_delta.core.plan import ROWID, RULE, TIME, Plan, Rule
from edge_delta.modes.base import DTYPES, UTC, strict_cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from edge_delta.core.model import Batch, Column, Context, Layout
    from edge_delta.core.ports import Mode


class Processed(Struct, frozen=True):
    """What a mode makes of a batch.

    Attributes:
        frame: the batch's rows that count.
        kept: the rows for the mode's table.
        rejected: the rows that break a rule.
        last_time: the largest time among the kept rows, None if they have none.
        first_time: the smallest of them.
        at: the places of the kept rows in ``frame``; None where they do not stand for one of its rows each.
    """

    frame: pl.DataFrame
    kept: pl.DataFrame
    rejected: list[Rejection]
    last_time: datetime | None
    first_time: datetime | None = None
    at: pl.Series | None = None


def process(batch: Batch, mode: Mode, columns: Mapping[str, pl.DataType | None], context: Context) -> Processed:
    """Put a batch through a mode.

    Args:
        batch: the batch.
        mode: the mode.
        columns: the columns of the mode's table, empty if there is none yet.
        context: what the mode may know.
    """
    frame = not_taken_over(batch, batch.layout)
    timed = with_times(batch, frame)
    plan = fitted(mode.plan(timed.lazy(), batch.layout, context), columns)
    kept, rejected, at = _split(plan, frame)
    first, last = time_span(kept, timed)
    return Processed(frame, kept, rejected, last, first, at)


def with_times(batch: Batch, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of a batch with their times, which are parsed once for all modes; as they are if they have none.

    Args:
        batch: the batch.
        frame: all or some of its rows.
    """
    stamp = batch.layout.timestamp
    if stamp is None:
        return frame
    before = batch.made.get(TIME)
    if before is None or before[0] is not frame:
        times = time_columns.parse(frame[stamp.alias], stamp.time).alias(TIME)
        batch.made[TIME] = before = frame, times
    return frame.with_columns(before[1])


def without_refused(processed: Processed, refused: Mapping[int, tuple[str, str]]) -> Processed:
    """The batch where the table's own conditions refuse rows: those are rejected, and the others are kept.

    Args:
        processed: the batch.
        refused: the name and the text of the condition, by the row's place among the kept ones.
    """
    if not refused or processed.at is None:
        return processed
    numbers = pl.Series(list(refused), dtype=pl.Int64)
    broken = iter(refused.values())

    def why(_row: dict[str, Any]) -> tuple[str, str, str]:
        name, text = next(broken)
        return "constraint", name, f"the table demands {text}"

    rejected = rejections(processed.frame[processed.at.gather(numbers)], why)
    kept = ~pl.int_range(processed.kept.height, eager=True).is_in(numbers.implode())
    return replace(
        processed,
        kept=processed.kept.filter(kept),
        rejected=sorted([*processed.rejected, *rejected], key=lambda one: one.rowid),
        at=processed.at.filter(kept),
    )


def blank(columns: Sequence[Column]) -> pl.DataFrame:
    """A batch's frame without rows."""
    return pl.DataFrame(schema={ROWID: pl.Int64(), **{c.alias: DTYPES[c.kind] for c in columns}})


def not_taken_over(batch: Batch, layout: Layout) -> pl.DataFrame:
    """The batch without the rows that an older tool delivered, by its ``last_upload``."""
    marks, stamp = batch.cursor.marks, layout.timestamp
    if Mark.SINCE not in marks or stamp is None or batch.first_rowid > marks[Mark.SINCE_ROWID]:
        return batch.frame
    later = time_columns.parsed(pl.col(stamp.alias), stamp.time).cast(pl.Int64) > marks[Mark.SINCE]
    return batch.frame.filter((pl.col(ROWID) > marks[Mark.SINCE_ROWID]) | later.fill_null(True))  # noqa: FBT003


def fitted(plan: Plan, columns: Mapping[str, pl.DataType | None]) -> Plan:
    """The plan with columns in the types that the table already has.

    Where a source column changed its type, rows that the table's type can hold exactly are kept; the others break the
    rule ``schema``.
    """
    if plan.select is not None:
        return plan  # what is written has the mode's own types
    by_name = {name.lower(): dtype for name, dtype in columns.items()}
    casts: list[pl.Expr] = []
    rules: list[Rule] = []
    for name, dtype in plan.frame.collect_schema().items():
        wanted = by_name.get(name.lower())
        if wanted is None or wanted == dtype or name in (ROWID, RULE) or UTC in (wanted, dtype):
            continue
        cast, broken = strict_cast(name, dtype, wanted)
        casts.append(cast.alias(name))
        if broken is not None:
            rules.append(Rule("schema", name, f"the table holds {wanted} and cannot hold this {dtype}", broken))
    if not casts:
        return plan
    checked = plan.with_rules(*rules)
    return checked.with_frame(checked.frame.with_columns(casts))


def split(plan: Plan, source: pl.DataFrame) -> tuple[pl.DataFrame, list[Rejection]]:
    """Collect the plan: the rows to keep, without the helping columns, and the rejected ones.

    Args:
        plan: what the mode made of the batch.
        source: the batch as it was read, for the rejected rows.
    """
    return _split(plan, source)[:2]


def _split(plan: Plan, source: pl.DataFrame) -> tuple[pl.DataFrame, list[Rejection], pl.Series | None]:
    """`split`, and see `Processed.at`."""
    kept, rejected, at = _kept_rows(plan, source)
    if plan.select is not None:
        return _collected(plan.select(kept.lazy())), rejected, None
    return kept.drop(ROWID), rejected, at


def kept_rows(plan: Plan, source: pl.DataFrame) -> tuple[pl.DataFrame, list[Rejection]]:
    """The rows that break no rule, still with ``_rowid``, and the others."""
    return _kept_rows(plan, source)[:2]


def _kept_rows(plan: Plan, source: pl.DataFrame) -> tuple[pl.DataFrame, list[Rejection], pl.Series]:
    frame = _collected(plan.frame)
    every = pl.int_range(frame.height, eager=True)
    if RULE not in frame.columns:
        return frame, [], every
    broken = frame[RULE].is_not_null()
    if not broken.any():
        return frame.drop(RULE), [], every
    # Rows are told by their place and not by their key, which may be a time with ties.
    marked = source.with_columns(frame[RULE]).filter(broken)

    def why(row: dict[str, Any]) -> tuple[str, str, str]:
        rule = plan.rules[row.pop(RULE)]
        return rule.name, rule.column, rule.reason

    return frame.filter(~broken).drop(RULE), rejections(marked, why), every.filter(~broken)


def _collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """A batch is in memory already: streamed, it would come out in pieces, which are joined again to be written."""
    return frame.collect(engine="in-memory")


def rejections(rows: pl.DataFrame, why: Callable[[dict[str, Any]], tuple[str, str, str]]) -> list[Rejection]:
    """Source rows as rejections.

    Args:
        rows: ``_rowid`` and the source's columns.
        why: the rule, the column and the reason for a row; may take what is no cell out of it.
    """
    rejected = []
    for row in rows.iter_rows(named=True):
        rule, column, reason = why(row)
        rowid = row.pop(ROWID)
        cells = {name: int(cell) if isinstance(cell, bool) else cell for name, cell in row.items()}
        rejected.append(Rejection(rowid, rule, column, reason, cells))
    return rejected


def time_span(kept: pl.DataFrame, timed: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    """The smallest and the largest time among the rows, None if they have none."""
    times = kept["timestamp"] if kept.schema.get("timestamp") == UTC else timed.get_column(TIME, default=None)
    return (None, None) if times is None else (times.min(), times.max())  # type: ignore[return-value]
