"""Queries that a Databricks SQL warehouse answers, through the official connector (the extra ``databricks``)."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import urllib.request
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from edge_delta.settings.sections import DatabricksSettings

TOKEN = "DATABRICKS_TOKEN"  # noqa: S105 - the variable's name
_ROWS = 100_000
_SECONDS = 15


class WarehouseFailed(EdgeDeltaError):
    """The SQL warehouse cannot be reached, or refuses the query."""


def arguments(settings: DatabricksSettings, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What the connector is called with.

    Raises:
        ConfigurationError: if there is no token.
    """
    token = environment.get(TOKEN)
    if not token:
        raise ConfigurationError("there is no token for the SQL warehouse", f"Set {TOKEN} in the environment")
    return {
        "server_hostname": settings.server_hostname,
        "http_path": settings.http_path,
        "access_token": token,
        "catalog": settings.catalog,
        "schema": settings.schema,
        "user_agent_entry": "edge-delta",
        "enable_telemetry": False,
    }


class Answer(Struct, frozen=True):
    """A result as it arrives.

    Attributes:
        cursor: the connector's, after it ran the statement.
        first: its first rows, as an Arrow table.
    """

    cursor: Any
    first: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self.first.schema.names)

    def empty(self) -> Any:
        """An Arrow table with its columns and no rows."""
        return self.first.schema.empty_table()

    def batches(self) -> Iterator[Any]:
        """Its batches."""
        part = self.first
        while part.num_rows:
            yield from part.to_batches()
            part = self.cursor.fetchmany_arrow(_ROWS)


@contextlib.contextmanager
def answering(sql: str, settings: DatabricksSettings) -> Iterator[Answer]:
    """The result of a statement, while the connection is open.

    Raises:
        ConfigurationError: if the extra or the token is not there.
        WarehouseFailed: if the warehouse cannot be reached or does not take the statement.
    """
    wanted = arguments(settings)
    try:
        from edge_delta.ask import connector  # noqa: PLC0415 - an extra, which need not be installed
    except ImportError:
        raise ConfigurationError(
            "[databricks] sends queries to a SQL warehouse, and its connector is not installed",
            "pip install 'edge-delta[databricks]', or remove server_hostname to query the tables directly",
        ) from None
    _reach(settings)
    # It logs what it then raises.
    logging.getLogger("databricks.sql").setLevel(logging.CRITICAL)
    with _errors(connector, settings, wanted["access_token"]), contextlib.ExitStack() as stack:
        connection = stack.enter_context(connector.connect(**wanted))
        cursor = stack.enter_context(connection.cursor())
        cursor.execute(sql)
        yield Answer(cursor, cursor.fetchmany_arrow(_ROWS))


def _reach(settings: DatabricksSettings) -> None:
    """Look whether the host is there: the connector tries for a quarter of an hour, as a sleeping warehouse needs it.

    Behind a proxy it is the proxy that knows.
    """
    if "https" in urllib.request.getproxies():
        return
    try:
        socket.create_connection((str(settings.server_hostname), 443), timeout=_SECONDS).close()
    except OSError as error:
        raise _unreachable(settings, str(error)) from error


def _unreachable(settings: DatabricksSettings, why: str) -> WarehouseFailed:
    return WarehouseFailed(
        f"the SQL warehouse at {settings.server_hostname} cannot be reached: {why}",
        "Check [databricks] server_hostname and the network",
    )


@contextlib.contextmanager
def _errors(connector: ModuleType, settings: DatabricksSettings, token: str) -> Iterator[None]:
    try:
        yield
    except connector.HTTPError as error:
        raise _unreachable(settings, _line(error, token)) from error
    except connector.Error as error:
        raise WarehouseFailed(
            f"the SQL warehouse at {settings.server_hostname} says: {_line(error, token)}",
            f"Check the statement, [databricks] http_path and {TOKEN}",
        ) from error


def _line(error: BaseException, token: str) -> str:
    """An error in one line, without the token."""
    return " ".join(str(error).split()).replace(token, "***")
