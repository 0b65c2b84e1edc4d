"""Unity Catalog's REST interface, as far as a writer of external tables needs it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from edge_delta.core.errors import AccessRefused, ConfigurationError, EdgeDeltaError, NotRegistered, ProtocolUnsupported
from edge_delta.sinks.unity import names
from edge_delta.sinks.unity.http import Answer, ask, checked, unreachable
from edge_delta.sinks.unity.token import Token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.settings.catalog import UnityCatalogSettings

_API = "/api/2.1/unity-catalog"
_HOST = "DATABRICKS_HOST"
_UNAUTHENTICATED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_TOKEN = r"(?i)\b(?:invalid|expired) (?:access )?token|token (?:is|has) (?:invalid|expired)"  # noqa: S105 - no token
_EXTERNAL_ACCESS = (
    r"(?i)external[ _](?:data[ _])?access|outside of Databricks|EXTERNAL_GENERATE_TABLE_CREDENTIALS_DENIED"
)
_PRIVILEGE = r"(?i)EXTERNAL[ _]USE[ _]SCHEMA"
_NOT_THERE = r"(?:DOES_NOT_EXIST|NOT_FOUND)$"
_BY_CATALOG = r"(?i)^delta\.feature\.catalog(?:Managed|Owned)"


class Catalog:
    """One workspace's catalog, for one principal.

    Args:
        settings: where it is, and who signs in.
        environment: the environment variables.
        seconds: how long a request may take.

    Raises:
        ConfigurationError: if they do not say enough.
    """

    def __init__(self, settings: UnityCatalogSettings, environment: Mapping[str, str], seconds: float) -> None:
        address = settings.workspace or environment.get(_HOST)
        if not address:
            raise ConfigurationError(
                "table_path is a name in Unity Catalog, and no workspace is set",
                f"Set workspace in [unity_catalog] or {_HOST}",
            )
        self._url = checked(address)
        self._seconds = seconds
        self._token = Token(self._url, settings, environment, seconds)
        self.host = urlsplit(self._url).netloc

    @property
    def principal(self) -> str:
        """Whom rights have to be granted to."""
        return self._token.principal

    def table(self, uri: str) -> tuple[str, str]:
        """A table's id in the catalog, and where its files are.

        Raises:
            NotRegistered: if the catalog has no such table, or does not show it.
            ProtocolUnsupported: if it is none that anybody but the catalog may write.
            AccessRefused: if we may not know.
            StorageUnavailable: if there is no answer.
        """
        answer = self._ask(f"/tables/{quote(names.full_name(uri), safe='')}")
        if not answer.good:
            raise self._refusal(uri, answer)
        refuse_what_is_not_ours_to_write(uri, answer.content)
        table_id, location = answer.content.get("table_id"), answer.content.get("storage_location")
        if not isinstance(table_id, str) or not isinstance(location, str) or not location:
            raise unreachable(self.host, f"its answer about {uri} has no table_id or no storage_location")
        return table_id, location

    def vended(self, uri: str, table_id: str) -> Answer:
        """Credentials for a table's files, to read and to write.

        Raises:
            NotRegistered: if the catalog has no such table any more.
            AccessRefused: if we may not have them.
            StorageUnavailable: if there is no answer.
        """
        body = json.dumps({"table_id": table_id, "operation": "READ_WRITE"}).encode()
        answer = self._ask("/temporary-table-credentials", body)
        if not answer.good:
            raise self._refusal(uri, answer)
        return answer

    def _ask(self, path: str, body: bytes | None = None) -> Answer:
        """One request; where a token was taken for ended, once more with a new one."""
        for _ in range(2):
            headers = {"Authorization": f"Bearer {self._token.text()}"}
            headers |= {"Content-Type": "application/json"} if body is not None else {}
            answer = ask(self._url + _API + path, headers, body, self._seconds)
            if not _refuses_the_token(answer) or not self._token.refused():
                break
        return answer

    def _refusal(self, uri: str, answer: Answer) -> EdgeDeltaError:
        """What an answer means that is not what was asked for."""
        said = f"{answer.message} ({answer.status} {answer.code})"
        if answer.status == _NOT_FOUND and re.search(_NOT_THERE, answer.code):
            return not_registered(uri, self.host)
        if re.search(_EXTERNAL_ACCESS, f"{answer.message} {answer.content.get('details')}"):
            return AccessRefused(
                f"the metastore vends no credentials to the outside, so table {uri} cannot be written: {said}",
                "Let a metastore admin enable external data access in the metastore's details",
            )
        if re.search(_PRIVILEGE, answer.message):
            return AccessRefused(
                f"Unity Catalog vends no credentials for table {uri}: {said}",
                f"Run GRANT EXTERNAL USE SCHEMA ON SCHEMA {names.schema_of(uri)} TO `{self.principal}` as the owner of "
                "the catalog",
            )
        if _refuses_the_token(answer):
            return AccessRefused(
                f"the token for Unity Catalog at {self.host} is refused: {said}",
                "Set a new DATABRICKS_TOKEN; one of a service principal's secret is renewed by itself",
            )
        return AccessRefused(
            f"access to table {uri} is refused by Unity Catalog: {said}",
            f"Grant USE CATALOG, USE SCHEMA, EXTERNAL USE SCHEMA, SELECT and MODIFY on it to {self.principal}",
        )


def _refuses_the_token(answer: Answer) -> bool:
    """Databricks answers 403 for a token that was deleted, and 401 for one that is none."""
    if re.search(_EXTERNAL_ACCESS, f"{answer.message} {answer.content.get('details')}"):
        return False
    return answer.status == _UNAUTHENTICATED or (
        answer.status == _FORBIDDEN and re.search(_TOKEN, answer.message) is not None
    )


def not_registered(uri: str, host: str) -> NotRegistered:
    """The error for a table that the catalog does not have, with the statement that makes it."""
    from edge_delta.sinks.unity.registering import placeholder, statement  # noqa: PLC0415 - Polars, for this error

    return NotRegistered(
        f"Unity Catalog at {host} has no table {names.full_name(uri)}, or does not show it to us",
        f"Run {statement(uri, placeholder(uri))}, see docs/unity-catalog.md",
    )


def refuse_what_is_not_ours_to_write(uri: str, about: Mapping[str, Any]) -> None:
    """Refuse tables that only the catalog may write, and what is no Delta table.

    Raises:
        ProtocolUnsupported: with what to do.
    """
    kind, form = str(about.get("table_type")), str(about.get("data_source_format"))
    features = about.get("properties")
    by_catalog = any(re.search(_BY_CATALOG, name) for name in (features if isinstance(features, dict) else ()))
    if kind == "EXTERNAL" and form == "DELTA" and not by_catalog:
        return
    what = (
        "is managed by its catalog, which alone may commit to it"
        if kind == "MANAGED" or by_catalog
        else (f"is of type {kind} and format {form}, and only external Delta tables can be written")
    )
    raise ProtocolUnsupported(
        f"table {uri} {what}",
        "Make an external table with CREATE TABLE … USING DELTA LOCATION '…', see docs/unity-catalog.md, and set its "
        "name as table_path; rows wait in SQLite until then",
    )
