"""Queries for a SQL warehouse, as far as they go without one: what the connector gets, and what a person is told.

The connector here is the real one. What it says to a warehouse and hears from it cannot be tried without a workspace.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from edge_delta.ask.output import write
from edge_delta.ask.query import QueryFailed, refuse_what_writes
from edge_delta.ask.warehouse import Answer, arguments
from edge_delta.core.errors import ConfigurationError
from edge_delta.settings import load as config
from tests.support.command import Finished, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "dapi-only-the-tests-know-it"
SETTINGS = """\
table_path = "/lake/readings"
[databricks]
server_hostname = "{host}"
http_path = "/sql/1.0/warehouses/abc"
schema = "halls"
"""
WITHOUT_CONNECTOR = (
    "import sys; sys.modules['databricks'] = None; from edge_delta.cli.main import main; sys.exit(main())"
)


def ask(folder: Path, *words: str, host: str = "127.0.0.1", token: str = TOKEN, code: str | None = None) -> Finished:
    """`edge-delta query` with a warehouse in the settings, by default on a host where nothing listens."""
    (folder / "config.toml").write_text(SETTINGS.format(host=host), encoding="utf-8")
    start = ["-m", "edge_delta"] if code is None else ["-c", code]
    done = subprocess.run(
        [sys.executable, *start, "query", *words],
        env=_environment() | ({"DATABRICKS_TOKEN": token} if token else {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert TOKEN not in done.stdout + done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def _environment() -> dict[str, str]:
    """Without a proxy, which would answer for every host."""
    return {name: value for name, value in clean_environment().items() if not name.lower().endswith("s_proxy")}


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_host_that_is_not_there_is_told_in_one_line(tmp_path, host):
    if host == "127.0.0.1":
        with socket.socket() as probe:
            if probe.connect_ex((host, 443)) == 0:
                pytest.skip("something listens on port 443 here")
    done = ask(tmp_path, "SELECT 1", host=host)
    assert done.code == 1
    assert f"the SQL warehouse at {host} cannot be reached" in done.error
    assert done.stderr.count("\n") == 1


def test_without_the_connector_a_person_is_told_what_to_install(tmp_path):
    done = ask(tmp_path, "SELECT 1", code=WITHOUT_CONNECTOR)
    assert done.code == 2
    assert "pip install 'edge-delta[databricks]'" in done.error


def test_without_a_token_a_person_is_told_where_it_goes(tmp_path):
    done = ask(tmp_path, "SELECT 1", token="")
    assert done.code == 2
    assert "Set DATABRICKS_TOKEN in the environment" in done.error


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE x",
        "INSERT INTO x VALUES (1)",
        "WITH t AS (SELECT 1) INSERT INTO x SELECT * FROM t",
        "WITH t AS (SELECT 1) MERGE  INTO x USING t ON true WHEN MATCHED THEN DELETE",
    ],
)
def test_what_writes_is_refused(sql):
    with pytest.raises(QueryFailed, match="only statements that read"):
        refuse_what_writes(sql)


def test_what_writes_never_reaches_the_warehouse(tmp_path):
    done = ask(tmp_path, "WITH t AS (SELECT 1) INSERT INTO x SELECT * FROM t")
    assert done.code == 1
    assert "only statements that read" in done.error


def test_words_in_texts_and_comments_do_not_make_a_statement_write():
    refuse_what_writes("SELECT 'insert into x' /* delete from x */")


def test_what_the_connector_says_becomes_one_line_without_the_token(tmp_path):
    """The connector itself, to a host that is not there, with fewer tries than it makes by itself."""
    file = tmp_path / "config.toml"
    file.write_text(SETTINGS.format(host="no-such-host.invalid"), encoding="utf-8")
    loaded = config.load({"config": file, "sqlite": os.devnull}, environment={}).databricks
    given = arguments(loaded, {"DATABRICKS_TOKEN": TOKEN})
    code = (
        "import sys, json; from edge_delta.ask import connector, warehouse\n"
        "from edge_delta.settings.sections import DatabricksSettings\n"
        "given = json.loads(sys.argv[1])\n"
        "own = {k: given[k] for k in ('server_hostname', 'http_path')}\n"
        "try:\n"
        "    with warehouse._errors(connector, DatabricksSettings(**own), given['access_token']):\n"
        "        connector.connect(**given, _retry_stop_after_attempts_count=1)\n"
        "except warehouse.WarehouseFailed as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given)], env=_environment(), capture_output=True, text=True, check=True
    )
    [line] = done.stdout.splitlines()
    assert line.startswith("the SQL warehouse at no-such-host.invalid cannot be reached: ")
    assert TOKEN not in line


def test_info_is_still_read_from_the_tables_themselves(tmp_path):
    assert "there is no table readings_0_raw" in ask(tmp_path, "INFO", "--table-path", str(tmp_path / "readings")).error


def test_the_connector_gets_the_settings_and_the_token(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(SETTINGS.format(host="https://dbc-1.cloud.databricks.com/"), encoding="utf-8")
    loaded = config.load({"config": file, "sqlite": os.devnull}, environment={}).databricks
    given = arguments(loaded, {"DATABRICKS_TOKEN": TOKEN})
    assert given["server_hostname"] == "dbc-1.cloud.databricks.com"
    assert (given["http_path"], given["access_token"]) == ("/sql/1.0/warehouses/abc", TOKEN)
    assert (given["catalog"], given["schema"]) == ("main", "halls")
    assert given["enable_telemetry"] is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('access_token = "x"', "is a secret"),
        ('server_hostname = "dbc-1.cloud.databricks.com"', "go together"),
        ('server_hostname = "dbc-1:443"\nhttp_path = "/x"', "server_hostname"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(tmp_path, line, message):
    file = tmp_path / "config.toml"
    file.write_text(f"[databricks]\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        config.load({"config": file, "sqlite": os.devnull, "table_path": "/lake/readings"}, environment={})


class Cursor:
    """The rows that a cursor of the connector has left, in Arrow tables."""

    def __init__(self, *parts: pa.Table) -> None:
        self._parts = list(parts)

    def fetchmany_arrow(self, _rows: int) -> pa.Table:
        return self._parts.pop(0)


@pytest.mark.parametrize("rows", [0, 5])
def test_arrow_tables_of_a_cursor_come_out_as_every_other_result(rows, capsys):
    whole = pa.table({"n": list(range(rows))}, schema=pa.schema({"n": pa.int64()}))
    cursor = Cursor(whole.slice(2), whole.slice(0, 0))
    write(Answer(cursor, whole.slice(0, 2)), "csv", output=None, limit=None)
    assert capsys.readouterr().out.splitlines() == ["n", *map(str, range(rows))]
