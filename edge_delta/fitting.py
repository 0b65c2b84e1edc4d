"""From a mode's plan to rows that the table can hold exactly, and the rest with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from edge_delta.model import Rejection
from edge_delta.modes import times
from edge_delta.modes.base import ROWID, RULE, UTC, Plan, Rule, first_broken, strict_cast
from edge_delta.source.cells import as_json, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edge_delta.model import Batch
    from edge_delta.modes.base import Layout


def not_taken_over(batch: Batch, layout: Layout) -> pl.DataFrame:
    """The batch without the rows that an older tool delivered, by its ``last_upload``."""
    cursor, stamp = batch.cursor, layout.timestamp
    if cursor.since is None or stamp is None or batch.first_rowid > cursor.since_rowid:
        return batch.frame
    later = times.parsed(pl.col(stamp.alias)).cast(pl.Int64) > cursor.since
    return batch.frame.filter((pl.col(ROWID) > cursor.since_rowid) | later.fill_null(True))  # noqa: FBT003


def fitted(plan: Plan, there: Mapping[str, pl.DataType | None]) -> Plan:
    """The plan with columns in the types that the table already has.

    Where a source column changed its type, rows that the table's type can hold exactly are kept; the others break the
    rule ``schema``.
    """
    by_name = {name.lower(): dtype for name, dtype in there.items()}
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
    mark = first_broken(tuple(rules)) + len(plan.rules)
    if plan.rules:
        mark = pl.coalesce(pl.col(RULE), mark)
    return Plan(plan.frame.with_columns(*casts, mark.alias(RULE)), (*plan.rules, *rules))


def split(plan: Plan, source: pl.DataFrame) -> tuple[pl.DataFrame, list[Rejection]]:
    """Collect the plan: the rows to keep, without the helping columns, and the rejected ones.

    Args:
        plan: what the mode made of the batch.
        source: the batch as it was read, for the rejected rows.
    """
    frame = plan.frame.collect()
    if RULE not in frame.columns:
        return frame.drop(ROWID), []
    broken = frame[RULE].is_not_null()
    if not broken.any():
        return frame.drop(ROWID, RULE), []
    # A mode with rules keeps rows and their order, so that they are told by their place: keys may be times with ties.
    marked = source.with_columns(frame[RULE]).filter(broken)
    return frame.filter(~broken).drop(ROWID, RULE), _rejections(marked, plan.rules)


def _rejections(marked: pl.DataFrame, rules: tuple[Rule, ...]) -> list[Rejection]:
    found = []
    for row in marked.iter_rows(named=True):
        rowid, rule = row.pop(ROWID), rules[row.pop(RULE)]
        value = shown(row.get(rule.column))
        found.append(Rejection(rowid, rule.name, rule.column, value, rule.reason, as_json(row)))
    return found


def last_time(kept: pl.DataFrame, source: pl.DataFrame, layout: Layout) -> datetime | None:
    """The largest time among the rows, None if they have none."""
    if kept.schema.get("timestamp") == UTC:
        return kept["timestamp"].max()  # type: ignore[return-value]
    if layout.timestamp is None:
        return None
    return source.select(times.parsed(pl.col(layout.timestamp.alias)).max()).item()  # type: ignore[no-any-return]
