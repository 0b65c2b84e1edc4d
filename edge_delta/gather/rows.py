"""A device's rows on their way into the fleet's table: read in parts, in the table's columns and types."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import Schema
from msgspec import Struct, field

from edge_delta.gather.logs import File
from edge_delta.gather.takings import FilesGone, Refused, Taking, Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow.parquet as pq

    from edge_delta.gather.store import TableReader

_ROWS = 65_536
_NODE = "node_id"
_LONGEST_LIMIT = 64
"""`edge_delta.sinks.delta.parquet` cuts longer texts in a file's own statistics; the log's have been cut shorter."""
_PARTS = {_NODE: pa.string(), "partition_date": pa.date32()}
"""The partition columns that edge-delta makes, see `edge_delta.sinks.delta.partitions`."""
Span = tuple[datetime, datetime]


class Rows(Struct):
    """What one device brings.

    Attributes:
        taking: what is to be done.
        tables: where its files are read.
        columns: of its files, in plain types.
        held: small objects that were read already, by path.
        window: the time by which rows are replaced; "" where they are replaced together.
        span: of ``REPLACE``, the first and last window that changed; None for all rows of the device.
        unchanged: of ``REPLACE``, whether no row changed after all.
    """

    taking: Taking
    tables: TableReader
    columns: pa.Schema
    held: dict[str, bytes] = field(default_factory=dict)
    window: str = ""
    span: Span | None = None
    unchanged: bool = False

    def batches(self) -> Iterator[pa.Table]:
        """The rows, some at a time, in the columns of their file.

        Raises:
            FilesGone: if a file is not there.
        """
        for file in () if self.unchanged else self.taking.files:
            for table in read(self.tables, self.taking.table, file, self.held.get(file.path)):
                yield table if self.span is None else _within(table, self.window, self.span)


def prepared(taking: Taking, tables: TableReader, window: str | None) -> Rows:
    """Look at a device's files, without reading large ones.

    Args:
        taking: what is to be done.
        tables: where the files are.
        window: the time by which rows are replaced.

    Raises:
        FilesGone: if one is not there.
        Refused: if they hold rows of another device, or cannot be read.
    """
    held: dict[str, bytes] = {}
    columns: dict[str, pa.Field] = {}
    for file in taking.files:
        text = tables.held(taking.table, file)
        if text is not None:
            held[file.path] = text
        with _opened(tables, taking, file, text) as parquet:
            _refuse_others(parquet, file, taking.device)
            for one in [*plain(parquet.schema_arrow), *_parts(file).values()]:
                known = columns.setdefault(one.name.lower(), one)
                if known.type != one.type:
                    raise Refused(f"column {one.name} is {one.type} in one of its files and {known.type} in another")
    schema = pa.schema(list(columns.values()))
    if not columns and taking.schema:  # a table that has no row yet, such as one whose first window is open
        schema = plain(pa.schema(Schema.from_json(taking.schema).to_arrow()))
    rows = Rows(taking, tables, schema, held, window or "")
    if taking.way is Way.REPLACE and window is not None:
        _find_span(rows, window)
    return rows


def _opened(tables: TableReader, taking: Taking, file: File, held: bytes | None) -> pq.ParquetFile:
    try:
        return tables.parquet(taking.table, file, held)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused(f"its file {file.path} cannot be read: {error}") from error


def plain(schema: pa.Schema) -> pa.Schema:
    """A schema in the types of the fleet's table."""
    return pa.schema([pa.field(one.name, _plain(one.type)) for one in schema])


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(dtype):
        return _plain(dtype.value_type)
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_timestamp(dtype) and dtype.tz is not None:
        return pa.timestamp("us", "UTC")
    return dtype


def _parts(file: File) -> dict[str, pa.Field]:
    unknown = [name for name, _ in file.parts if name not in _PARTS]
    if unknown:
        raise Refused(f"its table is partitioned by {', '.join(unknown)}, whose type a file does not tell")
    return {name: pa.field(name, _PARTS[name]) for name, _ in file.parts}


def _refuse_others(parquet: pq.ParquetFile, file: File, device: str) -> None:
    """Two devices in one table are not told apart by their folders."""
    values = {value for name, value in file.parts if name == _NODE}
    names = parquet.schema_arrow.names
    if _NODE in names and all(not pa.types.is_nested(one.type) for one in parquet.schema_arrow):
        at, meta = names.index(_NODE), parquet.metadata
        for group in range(meta.num_row_groups):
            limits = meta.row_group(group).column(at).statistics
            if limits is not None and limits.has_min_max:
                values |= {limits.min, limits.max}
    others = sorted(v for v in values if v is not None and v != device and len(v) < _LONGEST_LIMIT)
    if others:
        raise Refused(f"its table has rows of node {others[0]!r}: what stands in {device}'s folder has to be its own")


def read(tables: TableReader, table: str, file: File, held: bytes | None = None) -> Iterator[pa.Table]:
    """The rows of a file, some at a time, with its partition columns.

    Raises:
        FilesGone: if it is not there.
    """
    with tables.parquet(table, file, held) as parquet:
        columns = plain(parquet.schema_arrow)
        for batch in parquet.iter_batches(_ROWS):
            rows = pa.Table.from_batches([batch]).cast(columns)
            for name, value in file.parts:
                dtype = _PARTS[name]
                typed = date.fromisoformat(value) if value is not None and dtype == pa.date32() else value
                rows = rows.append_column(name, pa.array([typed] * rows.num_rows, dtype))
            yield rows


def fitted(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Rows in a table's columns, in any case of their names; what they do not have is null."""
    there = {name.lower(): name for name in rows.column_names}
    found = [
        rows.column(there[one.name.lower()]) if one.name.lower() in there else pa.nulls(rows.num_rows, one.type)
        for one in columns
    ]
    return pa.table(found, schema=columns)


# -- rows that took the place of others


def _within(rows: pa.Table, window: str, span: Span) -> pa.Table:
    first, last = (pa.scalar(time, pa.timestamp("us", "UTC")) for time in span)
    times = rows.column(window)
    return rows.filter(pc.and_(pc.greater_equal(times, first), pc.less_equal(times, last)))


def _find_span(rows: Rows, window: str) -> None:
    """Which windows changed; all of the device's where that cannot be told any more.

    The table created again takes the place of the windows that it has itself.
    """
    taking = rows.taking
    if taking.anew:
        changed = _whole(rows, taking.files)
    elif taking.whole:
        return
    else:
        try:
            changed = _differing(_whole(rows, [File(path, 0) for path in taking.before]), _whole(rows, taking.after))
        except FilesGone:
            return
    times = changed.get_column(window) if window in changed.columns else pl.Series([], dtype=pl.Datetime("us", "UTC"))
    first, last = times.min(), times.max()
    if isinstance(first, datetime) and isinstance(last, datetime):
        rows.span = (first, last)
    else:
        rows.unchanged = True


def _whole(rows: Rows, files: Iterable[File]) -> pl.DataFrame:
    found = [pl.DataFrame(part) for file in files for part in read(rows.tables, rows.taking.table, file)]
    return pl.concat(found, how="diagonal") if found else pl.DataFrame()


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The rows that are in one of them, or oftener in one."""
    both = pl.concat([before.with_columns(_side=pl.lit(-1)), after.with_columns(_side=pl.lit(1))], how="diagonal")
    columns = [name for name in both.columns if name != "_side"]
    return both.group_by(columns).agg(pl.col("_side").sum()).filter(pl.col("_side") != 0)
