"""SQL over the tables, read where they are by the engine that comes with delta-rs."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta import modes
from edge_delta.ask import info
from edge_delta.ask.output import write
from edge_delta.core.errors import ConfigurationError, EdgeDeltaError
from edge_delta.device.state import MIRROR, kept_node_id
from edge_delta.sinks import address as storage
from edge_delta.topology.tables import UNKNOWN, DeviceTables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deltalake import DeltaTable

    from edge_delta.ask.output import Result as Answer
    from edge_delta.settings.sections import Settings
    from edge_delta.sinks.delta.sink import DeltaSink

TERMINAL_ROWS = 100
"""Rows that are shown on a terminal unless another limit is asked for."""

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*') | (?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<names>(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^\W\d]\w*)
          (?:\s*\.\s*(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^\W\d]\w*))*)""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\w+')
_READING = re.compile(
    r"[\s(]*(?:(?:explain|analyze|verbose)\s+)*[\s(]*(?:select|with|values|describe|desc)\b", re.IGNORECASE
)
_WRITING = re.compile(
    r"\b(?:insert\s+(?:into|overwrite)|merge\s+into|delete\s+from|update\s+\S+\s+set)\b", re.IGNORECASE
)
_NO_TABLE = re.compile(r"table '(?:datafusion\.)?(?:public\.)?([^']+)' not found|failed to resolve schema: (\S+)")


class QueryFailed(EdgeDeltaError):
    """The statement cannot be answered."""


class NoSuchTable(QueryFailed):
    """The statement names a table that is not there."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with the tables' names as the engine knows them.

    Attributes:
        sql: the statement; what stood before a table's name is gone.
        tables: the tables that it names, of those that may exist.
    """

    sql: str
    tables: tuple[str, ...]


class Tables:
    """The tables of these settings by their names, such as ``readings_1_schematized``.

    Args:
        settings: the settings.
    """

    def __init__(self, settings: Settings) -> None:
        mirror = _mirror(settings.state_dir)
        node_id = settings.node_id or kept_node_id(settings.state_dir) or mirror.get("node_id")
        if node_id is None and "{node_id}" in settings.table_path:
            raise ConfigurationError(
                f"table_path has {{node_id}}, but {settings.state_dir} does not say which device this is",
                "Set --node-id",
            )
        self.node_id = node_id
        self.source_table = settings.sqlite_table_name or mirror.get("source_table")
        base = storage.address(settings.table_path, node_id=node_id or "").rpartition("/")[2]
        suffixes = {**modes.SUFFIXES, "rejected": modes.REJECTED_SUFFIX}
        tables = DeviceTables(settings, node_id or UNKNOWN, self.source_table or UNKNOWN)
        self.sinks: dict[str, DeltaSink] = {base + suffix: tables.sink(suffix) for suffix in suffixes.values()}
        self.modes = {base + suffix: mode for mode, suffix in suffixes.items()}

    def existing(self) -> list[str]:
        """The names of those that exist."""
        return [name for name, sink in self.sinks.items() if sink.snapshot() is not None]

    def opened(self, name: str) -> DeltaTable:
        """The table of that name.

        Raises:
            NoSuchTable: if there is none.
        """
        table = self.sinks[name].snapshot()
        if table is None:
            raise self.missing(name)
        return table

    def missing(self, name: str) -> NoSuchTable:
        """The error for a name that is no table's."""
        there = self.existing()
        base = next(iter(self.sinks.values())).uri.removesuffix(next(iter(modes.SUFFIXES.values())))
        if not there:
            return NoSuchTable(
                f"there is no table {name}, nor any other under {base}", "Check --table-path, or run edge-delta first"
            )
        return NoSuchTable(f"there is no table {name} under {base}; there are: {', '.join(there)}")


def _mirror(state_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((state_dir / MIRROR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# -- SQL


def parsed(sql: str, known: Mapping[str, object]) -> Statement:
    """The statement for the engine: catalog and schema before a known table's name are dropped, any case is taken.

    Raises:
        QueryFailed: if the statement does something else than read.
    """
    named: dict[str, None] = {}
    by_lower = {name.lower(): name for name in known}

    def replaced(match: re.Match[str]) -> str:
        if match["names"] is None:
            return " " if match["comment"] is not None else match[0]
        parts = _NAME.findall(match["names"])
        plain = [_unquoted(part).lower() for part in parts]
        at = next((i for i, part in enumerate(plain) if part in by_lower), None)
        if at is None:
            return ".".join(_requoted(part) for part in parts)
        name = by_lower[plain[at]]
        named[name] = None
        return ".".join([f'"{name}"', *(_requoted(part) for part in parts[at + 1 :])])

    refuse_what_writes(sql)
    return Statement(_TOKEN.sub(replaced, sql).strip().rstrip(";").strip(), tuple(named))


def refuse_what_writes(sql: str) -> None:
    """Let statements pass that read.

    DataFusion would run COPY and CREATE EXTERNAL TABLE on this machine's files; a warehouse would run anything, also
    an INSERT behind a WITH.

    Raises:
        QueryFailed: if the statement does something else.
    """
    text = _TOKEN.sub(_without_texts, sql).strip()
    if not _READING.match(text) or _WRITING.search(text):
        raise QueryFailed(
            f"only statements that read can be run, not {text[:40]!r}",
            "Begin with SELECT, WITH or EXPLAIN, or say INFO",
        )


def _without_texts(match: re.Match[str]) -> str:
    if match["comment"] is not None:
        return " "
    return "''" if match["text"] is not None else match[0]


def _unquoted(part: str) -> str:
    mark = part[0]
    return part[1:-1].replace(mark * 2, mark) if mark in '"`' else part


def _requoted(part: str) -> str:
    return '"' + _unquoted(part).replace('"', '""') + '"' if part[0] == "`" else part


@dataclass(frozen=True, slots=True)
class Result:
    """A result as it arrives, from a reader of Arrow record batches."""

    reader: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.reader.schema.names)

    def empty(self) -> Any:
        """An Arrow table with its columns and no rows."""
        return self.reader.schema.empty_table()

    def batches(self) -> Iterator[Any]:
        """Its batches.

        Raises:
            QueryFailed: if it fails on the way.
        """
        from deltalake.exceptions import DeltaError  # noqa: PLC0415 - with the engine, once there is a result

        try:
            yield from self.reader
        except (OSError, DeltaError) as error:
            raise QueryFailed(f"the query failed while it ran: {storage.plain(error)}") from error
        except Exception as error:
            # What DataFusion says while it runs comes as a bare Exception.
            if type(error) is not Exception:
                raise
            raise QueryFailed(f"the query failed while it ran: {storage.plain(error)}") from error


def run(sql: str, tables: Tables) -> Result:
    """The result of a statement. Only the tables that it names are opened.

    Raises:
        NoSuchTable: if it names a table that is not there.
        QueryFailed: if the engine does not take it.
        StorageUnavailable: if a table cannot be read now.
    """
    from deltalake import QueryBuilder  # noqa: PLC0415 - the engine, once a statement is known to be one
    from deltalake.exceptions import DeltaError  # noqa: PLC0415

    statement = parsed(sql, tables.sinks)
    builder = QueryBuilder()
    for name in statement.tables:
        builder = builder.register(name, tables.opened(name))
    try:
        reader = builder.execute(statement.sql)
    except DeltaError as error:
        raise _refused(error, tables) from error
    return Result(reader)


def _refused(error: Exception, tables: Tables) -> QueryFailed:
    found = _NO_TABLE.search(str(error))
    if found is not None:
        return tables.missing(found[1] or found[2])
    text = storage.plain(error)
    text = re.sub(r'ParserError\("(.*)"\)', r"\1", text).replace('\\"', '"')
    return QueryFailed(re.sub(r"^(SQL error|Schema error|Error during planning): ", "", text))


def main(sql: str, settings: Settings, *, form: str | None, output: str | None, limit: int | None) -> int:
    """The command.

    Args:
        sql: a statement, or ``INFO``.
        settings: the settings.
        form: table, json, csv or parquet; None for what suits stdout.
        output: a file, None for stdout.
        limit: rows to show; 0 for all, None for what suits stdout.
    """
    if sql.strip().rstrip(";").strip().lower() == "info":
        if output is not None or form in ("csv", "parquet"):
            raise ConfigurationError("INFO is shown on stdout, as a table or as JSON", "Leave --output out")
        found = info.about(Tables(settings))
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n" if form == "json" else info.text(found))
    elif settings.databricks.server_hostname is None:
        show(run(sql, Tables(settings)), form=form, output=output, limit=limit)
    else:
        from edge_delta.ask import warehouse  # noqa: PLC0415 - an extra

        refuse_what_writes(sql)
        with warehouse.answering(sql, settings.databricks) as result:
            show(result, form=form, output=output, limit=limit)
    return 0


def show(result: Answer, *, form: str | None, output: str | None, limit: int | None) -> None:
    """Write a result as it was asked for; see `main`."""
    chosen = form or "table"
    if limit is None and output is None and chosen == "table":
        limit = TERMINAL_ROWS
    write(result, chosen, output=output, limit=limit or None)
    sys.stdout.flush()
