"""A workspace on loopback that speaks as much of Databricks' REST as a writer of external tables hears.

Signing in (client credentials), tables and temporary credentials, with the status codes, words and error codes that
Databricks was seen to answer with (unitycatalog/unitycatalog issues 2 and 1034, Azure/spark-cdm-connector issue 149).
What it vends is enforced by a `Gate`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote

from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType

if TYPE_CHECKING:
    from tests.support.gate import Gate

CLIENT, SECRET = "00000000-1111-2222-3333-444444444444", "dose0123456789abcdef"
_CREATE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\S+) \((.*)\) USING DELTA LOCATION '([^']*)' TBLPROPERTIES")
_API = "/api/2.1/unity-catalog"


@dataclass
class Registered:
    """A table in the catalog."""

    location: str
    kind: str = "EXTERNAL"
    form: str = "DELTA"
    properties: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Failure(Exception):
    """An answer that is none of those asked for."""

    def __init__(self, status: int, content: dict[str, Any] | bytes) -> None:
        self.status, self.content = status, content


def refusal(status: int, code: str, message: str, **more: Any) -> Failure:
    return Failure(status, {"error_code": code, "message": message, "details": [], **more})


class Workspace:
    """See above.

    Attributes:
        tables: by their full names.
        key_seconds: for how long credentials are good.
        token_seconds: for how long a token is.
        external_use: whether EXTERNAL USE SCHEMA is granted.
        external_access: whether the metastore lets the outside in.
        secret: the service principal's; another one once it is changed.
        failures: what the next requests about tables are answered with, whatever they are.
        ahead: seconds by which the clock of this machine is said to be behind.
        redirect: where every request is sent on to; empty for nowhere.
        asked: how often what was asked for.
        asked_about: how often each table was.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.tables: dict[str, Registered] = {}
        self.key_seconds = self.token_seconds = 3600.0
        self.external_use = self.external_access = True
        self.secret = SECRET
        self.failures: list[Failure] = []
        self.ahead = 0.0
        self.redirect = ""
        self.at = time.time()
        self.asked: Counter[str] = Counter()
        self.asked_about: Counter[str] = Counter()
        self.tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(timestamp or outer.at + outer.ahead)

            def do_GET(self) -> None:
                outer.answer(self, b"")

            def do_POST(self) -> None:
                outer.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def register(self, name: str, location: str, **more: Any) -> Registered:
        self.tables[name] = Registered(location, **more)
        return self.tables[name]

    def run(self, statement: str, options: dict[str, str]) -> Registered:
        """Make a table as ``CREATE TABLE … USING DELTA LOCATION …`` does, with these options for its store."""
        found = _CREATE.search(statement)
        assert found is not None, statement
        name, columns, location = found[1].replace("`", ""), found[2].split(", "), found[3]
        kinds = {"STRING": "string", "BIGINT": "long", "INT": "integer", "BOOLEAN": "boolean", "TIMESTAMP": "timestamp"}
        fields = [Field(column.split()[0], PrimitiveType(kinds[column.split()[1]])) for column in columns]
        DeltaTable.create(location, Schema(fields), storage_options=options)
        return self.register(name, location)

    def vended(self) -> int:
        return self.asked["credentials"]

    # -- answers

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            self._answer(handler, body)

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        try:
            self.at = float(int(time.time()))
            status, content = 200, json.dumps(self._done(handler, body)).encode()
        except Failure as failure:
            status = failure.status
            content = failure.content if isinstance(failure.content, bytes) else json.dumps(failure.content).encode()
        handler.send_response(302 if self.redirect else status)
        if self.redirect:
            handler.send_header("Location", self.redirect)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _done(self, handler: BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
        path = handler.path
        if path == "/oidc/v1/token":
            return self._token(handler, parse_qs(body.decode()))
        if self.failures:
            raise self.failures.pop(0)
        self._refuse_a_bad_token(handler.headers.get("Authorization", ""))
        if path.startswith(f"{_API}/tables/"):
            name = unquote(path.removeprefix(f"{_API}/tables/"))
            self.asked["table"] += 1
            self.asked_about[name] += 1
            return self._table(name)
        if path == f"{_API}/temporary-table-credentials":
            return self._credentials(json.loads(body))
        raise refusal(404, "ENDPOINT_NOT_FOUND", f"No API found for '{handler.command} {path}'")

    def _token(self, handler: BaseHTTPRequestHandler, form: dict[str, list[str]]) -> dict[str, Any]:
        self.asked["token"] += 1
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{self.secret}".encode()).decode()
        if handler.headers["Authorization"] != expected:
            raise Failure(401, {"error": "invalid_client", "error_description": "Client authentication failed"})
        if form != {"grant_type": ["client_credentials"], "scope": ["all-apis"]}:
            raise Failure(400, {"error": "invalid_request", "error_description": str(form)})
        token = uuid.uuid4().hex
        self.tokens[token] = time.time() + self.token_seconds
        return {"access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": self.token_seconds}

    def _refuse_a_bad_token(self, header: str) -> None:
        if self.tokens.get(header.removeprefix("Bearer "), 0.0) <= time.time():
            self.asked["token refused"] += 1
            raise refusal(403, "403", "Invalid access token.")

    def _table(self, name: str) -> dict[str, Any]:
        table = self.tables.get(name)
        if table is None:
            raise refusal(404, "TABLE_DOES_NOT_EXIST", f"Table '{name}' does not exist.")
        catalog, schema, last = name.split(".")
        return {
            "name": last,
            "catalog_name": catalog,
            "schema_name": schema,
            "table_type": table.kind,
            "data_source_format": table.form,
            "columns": [],
            "storage_location": table.location,
            "properties": table.properties,
            "table_id": table.id,
            "full_name": name,
        }

    def _credentials(self, asked: dict[str, str]) -> dict[str, Any]:
        self.asked["credentials"] += 1
        found = next(((n, t) for n, t in self.tables.items() if t.id == asked["table_id"]), None)
        if found is None or asked["operation"] != "READ_WRITE":
            raise refusal(404, "RESOURCE_DOES_NOT_EXIST", f"Table '{asked['table_id']}' does not exist.")
        name, table = found
        if not self.external_access:
            raise refusal(
                401,
                "UNAUTHENTICATED",
                f"Request to generate access credential for table '{table.id}' from outside of Databricks Unity "
                "Catalog enabled compute environment is denied for security.",
            )
        if not self.external_use:
            schema = name.rpartition(".")[0]
            raise refusal(403, "PERMISSION_DENIED", f"User does not have EXTERNAL USE SCHEMA on Schema '{schema}'.")
        if table.location.startswith("abfss://"):
            sas = {"sas_token": "sv=2026-01-01&sig=none"}
            return {"azure_user_delegation_sas": sas, "expiration_time": round((time.time() + 3600) * 1000)}
        # Answers say the time in whole seconds, so that up to one of them is no part of what a reader may count on.
        key = self.gate.vend(table.location, self.at + 1 + self.key_seconds)
        return {
            "aws_temp_credentials": {
                "access_key_id": key.access_key_id,
                "secret_access_key": key.secret_access_key,
                "session_token": key.session_token,
            },
            "expiration_time": round((key.until + self.ahead) * 1000),
            "url": table.location,
        }
