"""Results of queries as text, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TextIO

import polars as pl

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDEST = 60


class Result(Protocol):
    """A result as it arrives."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""

    def batches(self) -> Iterator[Any]:
        """Its Arrow record batches."""

    def empty(self) -> Any:
        """An Arrow table with its columns and no rows."""


def _rows(result: Result) -> Iterator[tuple[Any, ...]]:
    for batch in result.batches():
        yield from pl.DataFrame(batch).iter_rows()


def write(result: Result, form: str, *, output: str | None, limit: int | None) -> None:
    """Write a result to a file or stdout.

    Args:
        result: the result.
        form: table, json, csv or parquet.
        output: the file, None for stdout.
        limit: the number of rows to write; None for all.

    Raises:
        ConfigurationError: if the file cannot be written.
    """
    if form == "parquet":
        _to_parquet(result, output, limit)
        return
    if output is None:
        _to_text(result, form, sys.stdout, limit)
        return
    try:
        with Path(output).open("w", encoding="utf-8", newline="") as file:
            _to_text(result, form, file, limit)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}", "Check --output") from error


def _to_text(result: Result, form: str, stream: TextIO, limit: int | None) -> None:
    shown: list[tuple[Any, ...]] = []
    more = 0
    writer = {"csv": _csv, "json": _json}.get(form)
    lines = writer(result.columns, stream) if writer is not None else None
    for number, row in enumerate(_rows(result)):
        if limit is not None and number >= limit:
            more += 1
        elif lines is not None:
            lines(row)
        else:
            shown.append(row)
    if lines is None:
        stream.write(as_table(result.columns, shown))
        rows = len(shown) + more
        stream.write(f"({rows:,} {'row' if rows == 1 else 'rows'})\n" if not more else "")
    if more:
        sys.stderr.write(f"edge-delta: {more:,} more {'row' if more == 1 else 'rows'}; --limit 0 shows all of them\n")


def _csv(columns: tuple[str, ...], stream: TextIO) -> Any:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    return lambda row: writer.writerow(["" if v is None else shown(v) for v in row])


def _json(columns: tuple[str, ...], stream: TextIO) -> Any:
    def line(row: tuple[Any, ...]) -> None:
        values = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        stream.write(json.dumps(values, ensure_ascii=False) + "\n")

    return line


def _to_parquet(result: Result, output: str | None, limit: int | None) -> None:
    if output is None and sys.stdout.isatty():
        raise ConfigurationError("parquet cannot be shown on a terminal", "Name a file with --output")
    # Column by column in memory is what a Parquet file's reader expects anyway; the batches come as they are read.
    frames = [pl.DataFrame(batch) for batch in result.batches()]
    frame = pl.concat(frames) if frames else pl.DataFrame(result.empty())
    frame = frame if limit is None else frame.head(limit)
    target: BinaryIO = sys.stdout.buffer
    try:
        frame.write_parquet(output if output is not None else target)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error}", "Check --output") from error


def as_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Rows under their columns' names, numbers to the right."""
    cells = [[_short("NULL" if v is None else shown(v)) for v in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    right = [
        all(isinstance(r[i], int | float) for r in rows if r[i] is not None) and bool(rows) for i in range(len(columns))
    ]
    out = io.StringIO()
    for number, line in enumerate([list(columns), *cells]):
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        out.write("  ".join(padded).rstrip() + "\n")
        if not number:
            out.write("  ".join("-" * w for w in widths) + "\n")
    return out.getvalue()


def _short(text: str) -> str:
    line = " ".join(text.split("\n"))
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"


def shown(value: Any) -> str:
    """A value as text: times as ISO 8601 in UTC."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:  # noqa: PLR0124
        return value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return (
        float(value)
        if isinstance(value, Decimal)
        else shown(value)
        if not isinstance(value, date)
        else value.isoformat()
    )
