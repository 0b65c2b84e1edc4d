"""SQL over the tables, read where they are by the engine that comes with delta-rs."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from deltalake import QueryBuilder
from deltalake.exceptions import DeltaError
from msgspec import Struct

from edge_delta.ask import info
from edge_delta.ask.output import write
from edge_delta.ask.tables import QueryFailed, Tables
from edge_delta.core.errors import ConfigurationError
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_delta.ask.output import Result as Answer
    from edge_delta.settings.sections import Settings

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


class Statement(Struct, frozen=True):
    """SQL with the tables' names as the engine knows them.

    Attributes:
        sql: the statement; what stood before a table's name is gone.
        tables: the tables that it names, of those that may exist.
    """

    sql: str
    tables: tuple[str, ...]


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


class Result(Struct, frozen=True):
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
            StorageUnavailable: if a table cannot be read on the way.
            QueryFailed: if it fails for another reason.
        """
        try:
            yield from self.reader
        except (OSError, DeltaError) as error:
            raise QueryFailed(f"the query failed while it ran: {storage.plain(error)}") from error
        except Exception as error:
            # What DataFusion says while it runs comes as a bare Exception.
            if type(error) is not Exception:
                raise
            if storage.in_reading(error):
                raise storage.met("the query's tables", error) from error
            raise QueryFailed(f"the query failed while it ran: {storage.plain(error)}") from error


def run(sql: str, tables: Tables) -> Result:
    """The result of a statement. Only the tables that it names are opened.

    Raises:
        NoSuchTable: if it names a table that is not there.
        QueryFailed: if the engine does not take it.
        StorageUnavailable: if a table cannot be read now.
    """
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


def is_info(sql: str) -> bool:
    """Whether the tables are to be described."""
    return sql.strip().rstrip(";").strip().lower() == "info"


def main(  # noqa: PLR0913 - a statement, what it is about, and how the answer is shown
    sql: str, settings: Settings, tables: Tables | None, *, form: str | None, output: str | None, limit: int | None
) -> int:
    """The command.

    Args:
        sql: a statement, or ``INFO``.
        settings: the settings.
        tables: the tables; None where a warehouse answers.
        form: table, json, csv or parquet; None for what suits stdout.
        output: a file, None for stdout.
        limit: rows to show; 0 for all, None for what suits stdout.
    """
    if tables is not None and is_info(sql):
        if output is not None or form in ("csv", "parquet"):
            raise ConfigurationError("INFO is shown on stdout, as a table or as JSON", "Leave --output out")
        found = info.about(tables)
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n" if form == "json" else info.text(found))
    elif tables is not None:
        show(run(sql, tables), form=form, output=output, limit=limit)
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
