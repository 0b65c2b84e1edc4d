"""Credentials that a catalog vends: who gets them, for how long, and what a sink makes of their end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from edge_delta.core.errors import (
    AccessRefused,
    ConfigurationError,
    NotRegistered,
    ProtocolUnsupported,
    StorageUnavailable,
)
from edge_delta.core.model import Cursor
from edge_delta.settings.catalog import UnityCatalogSettings
from edge_delta.settings.sections import StorageSettings
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.sink import DeltaSink
from edge_delta.sinks.unity import token
from edge_delta.sinks.unity.catalog import Catalog
from edge_delta.sinks.unity.table import CatalogTable
from tests.sinks.unity.conftest import URI
from tests.support.proxy import Answer
from tests.support.workspace import CLIENT, SECRET, refusal

if TYPE_CHECKING:
    from tests.support.gate import Gate
    from tests.support.tables import Place
    from tests.support.workspace import Workspace

READINGS = "_1_schematized"
APP = application_id("n1", "readings")


def table(workspace: Workspace, *, settings: UnityCatalogSettings | None = None, **changed: str) -> CatalogTable:
    environment = {
        "DATABRICKS_HOST": workspace.url,
        "DATABRICKS_CLIENT_ID": CLIENT,
        "DATABRICKS_CLIENT_SECRET": SECRET,
        "AWS_ENDPOINT_URL": workspace.gate.url,
        **changed,
    }
    return CatalogTable(
        URI, Catalog(settings or UnityCatalogSettings(), environment, 5.0), environment, StorageSettings()
    )


def frame(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"node_id": ["n1"] * len(ids), "id": list(ids)})


def ids(owned_lake: Place) -> list[int]:
    return sorted(owned_lake.read(READINGS)["id"].to_list())


# -- what is vended, and to whom


def test_what_is_vended_is_kept_until_shortly_before_its_end(workspace: Workspace) -> None:
    one = table(workspace)
    first = one.now()
    assert first.options["aws_secret_access_key"] not in repr(first)
    assert first.location == workspace.tables[URI.removeprefix("uc://")].location
    assert one.now() is first
    workspace.key_seconds = 0.4
    one.refused()
    short = one.now()
    assert short is not first
    time.sleep(0.32)  # a quarter before the end
    assert one.now() is not short
    assert workspace.asked == {"token": 1, "table": 2, "credentials": 3}


def test_the_end_is_told_by_the_catalogs_clock(workspace: Workspace) -> None:
    """A device whose clock is two hours ahead would take all that it gets for ended, and one behind none."""
    for ahead in (-7200.0, 7200.0):
        workspace.ahead = ahead
        one = table(workspace)
        assert one.now() is one.now()
    workspace.ahead, workspace.key_seconds = 7200.0, 0.1
    one = table(workspace)
    first = one.now()
    time.sleep(0.1)
    assert one.now() is not first


def test_a_token_is_renewed_before_its_end_and_where_it_is_refused(workspace: Workspace) -> None:
    workspace.token_seconds, workspace.key_seconds = 0.4, 0.0
    one = table(workspace)
    one.now()
    time.sleep(0.32)
    one.now()
    assert workspace.asked["token"] == 2
    assert workspace.asked["token refused"] == 0
    workspace.tokens.clear()
    one.now()
    assert workspace.asked["token refused"] == 1


def test_a_catalog_that_is_away_does_not_matter_while_what_it_vended_is_good(workspace: Workspace) -> None:
    workspace.key_seconds = 4.0
    one = table(workspace)
    first = one.now()
    workspace.failures += [refusal(503, "TEMPORARILY_UNAVAILABLE", "The service is taking too long.")] * 2
    time.sleep(3.1)
    assert one.now() is first
    assert len(workspace.failures) == 1
    assert one.now() is first  # it is not asked at each commit
    assert len(workspace.failures) == 1
    time.sleep(0.95)
    with pytest.raises(StorageUnavailable, match=r"503 TEMPORARILY_UNAVAILABLE The service is taking too long"):
        one.now()
    assert one.now() is not first


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"external_use": False}, AccessRefused, f"GRANT EXTERNAL USE SCHEMA ON SCHEMA main.plant TO `{CLIENT}`"),
        ({"external_access": False}, AccessRefused, "enable external data access"),
        ({"secret": "another"}, AccessRefused, "in: invalid_client, Client authentication failed"),
        ({"tables": {}}, NotRegistered, "CREATE TABLE main.plant.readings_1_schematized (node_id STRING) USING DELTA"),
        (
            {"failures": [refusal(403, "PERMISSION_DENIED", "User does not have USE CATALOG on Catalog 'main'.")]},
            AccessRefused,
            "USE CATALOG on Catalog 'main'. (403 PERMISSION_DENIED). Grant USE CATALOG",
        ),
        ({"failures": [refusal(429, "REQUEST_LIMIT_EXCEEDED", "Too many.")]}, StorageUnavailable, "cannot be reached"),
        ({"failures": [refusal(404, "", "<html>")]}, StorageUnavailable, "Check workspace in"),
    ],
)
def test_each_refusal_says_what_to_do(
    workspace: Workspace, change: dict[str, object], error: type[Exception], said: str
) -> None:
    one = table(workspace)
    for name, value in change.items():
        setattr(workspace, name, value)
    with pytest.raises(error) as raised:
        one.now()
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 1  # type: ignore[attr-defined]


def test_a_token_that_somebody_made_is_used_as_it_is(workspace: Workspace) -> None:
    workspace.tokens["dapi-of-somebody"] = time.time() + 60
    own = {"DATABRICKS_CLIENT_ID": "", "DATABRICKS_CLIENT_SECRET": "", "DATABRICKS_TOKEN": "dapi-of-somebody"}
    table(workspace, **own).now()
    assert workspace.asked["token"] == 0
    workspace.tokens.clear()
    with pytest.raises(AccessRefused, match=r"is refused: Invalid access token\..* Set a new DATABRICKS_TOKEN"):
        table(workspace, **own).now()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "MANAGED"}, "is managed by its catalog"),
        ({"properties": {"delta.feature.catalogManaged": "supported"}}, "is managed by its catalog"),
        ({"kind": "VIEW", "form": "UNKNOWN"}, "of type VIEW"),
        ({"form": "ICEBERG"}, "format ICEBERG"),
    ],
)
def test_what_only_the_catalog_may_write_is_left_to_a_person(
    workspace: Workspace, change: dict[str, object], said: str
) -> None:
    for name, value in change.items():
        setattr(workspace.tables[URI.removeprefix("uc://")], name, value)
    with pytest.raises(ProtocolUnsupported, match=said):
        table(workspace).now()
    assert workspace.vended() == 0


def test_a_store_that_cannot_be_written_is_refused(workspace: Workspace) -> None:
    workspace.tables[URI.removeprefix("uc://")].location = "gs://bucket/readings"
    with pytest.raises(ConfigurationError, match="only S3 and ADLS can be written"):
        table(workspace).now()


def test_a_region_is_needed_on_amazons_s3(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        table(workspace, AWS_ENDPOINT_URL="").now()
    options = table(workspace, AWS_ENDPOINT_URL="", AWS_REGION="eu-north-1").now().options
    assert options["aws_region"] == "eu-north-1"
    assert "aws_session_token" in options
    assert "aws_force_credential_load" not in options


def test_a_sas_is_taken_for_adls(workspace: Workspace) -> None:
    workspace.tables[URI.removeprefix("uc://")].location = "abfss://lake@account.dfs.core.windows.net/readings"
    reached = table(workspace).now()
    assert reached.location.startswith("abfss://lake@")
    assert reached.options["azure_storage_sas_token"].startswith("sv=")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"DATABRICKS_HOST": ""}, "no workspace is set"),
        ({"DATABRICKS_HOST": "http://example.com"}, "does not begin with https://"),
        ({"DATABRICKS_CLIENT_SECRET": ""}, f"{token.SECRET} is not set"),
        ({"DATABRICKS_CLIENT_ID": ""}, f"{token.CLIENT} is not set"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(
    workspace: Workspace, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        table(workspace, **changed)
    assert not workspace.asked


def test_a_redirect_is_not_followed_with_a_secret(workspace: Workspace) -> None:
    workspace.redirect = "http://127.0.0.1:1/elsewhere"
    with pytest.raises(StorageUnavailable, match="302"):
        table(workspace).now()


# -- what a sink makes of it


@pytest.mark.parametrize("where", [("PUT", r"\.parquet"), ("PUT", r"_delta_log/0+1\.json"), ("GET", "_delta_log")])
def test_what_ends_before_its_time_is_had_again_at_once(
    workspace: Workspace, gate: Gate, owned_lake: Place, where: tuple[str, str]
) -> None:
    gate.ends.append(where)
    sink = DeltaSink(URI, table(workspace), APP)
    sink.append(frame(1, 2), Cursor(rowid=2))
    assert gate.refusals[0] == "ExpiredToken"
    assert workspace.vended() == 2
    sink.append(frame(3), Cursor(rowid=3))
    assert ids(owned_lake) == [1, 2, 3]
    assert workspace.vended() == 2


def test_what_is_refused_twice_is_not_asked_for_again(workspace: Workspace, gate: Gate) -> None:
    sink = DeltaSink(URI, table(workspace), APP)
    sink.append(frame(1), Cursor(rowid=1))
    gate.plan(Answer(403, "AccessDenied"), method="PUT", times=None)
    with pytest.raises(AccessRefused, match="access to uc://"):
        sink.append(frame(2), Cursor(rowid=2))
    assert workspace.vended() == 2


def test_a_table_that_has_no_log_is_made(workspace: Workspace, owned_lake: Place) -> None:
    """As the open-source catalog registers one."""
    workspace.register(URI.removeprefix("uc://"), owned_lake.uri("_new"))
    sink = DeltaSink(URI, table(workspace), APP)
    assert not sink.exists()
    sink.append(frame(1), Cursor(rowid=1))
    assert owned_lake.table("_new").version() == 1


def test_a_table_that_is_not_registered_is_no_empty_one(workspace: Workspace) -> None:
    """Else a table that is hidden for an hour would be taken for a new one."""
    workspace.tables.clear()
    sink = DeltaSink(URI, table(workspace), APP)
    with pytest.raises(NotRegistered):
        sink.committed()
    assert sink.snapshot() is None


def test_what_is_vended_for_one_table_is_refused_for_another(gate: Gate, owned_lake: Place) -> None:
    """Else a server that lets everybody in would pass for one that enforces."""
    key = gate.vend(owned_lake.uri(READINGS), time.time() + 60)
    options = owned_lake.options | {
        "aws_access_key_id": key.access_key_id,
        "aws_secret_access_key": key.secret_access_key,
        "aws_session_token": key.session_token,
        "aws_endpoint_url": gate.url,
    }
    write_deltalake(owned_lake.uri(READINGS), frame(1), storage_options=options)
    assert DeltaTable(owned_lake.uri(READINGS), storage_options=options).version() == 0
    for location, changed, code in (
        (owned_lake.uri("_2_sanitized"), {}, "AccessDenied"),
        (owned_lake.uri(f"{READINGS}2"), {}, "AccessDenied"),
        (owned_lake.uri(READINGS), {"aws_session_token": "another"}, "InvalidToken"),
        (owned_lake.uri(READINGS), {"aws_secret_access_key": "another"}, "SignatureDoesNotMatch"),
        (owned_lake.uri(READINGS), {"aws_access_key_id": "another"}, "InvalidAccessKeyId"),
    ):
        gate.refusals.clear()
        with pytest.raises(OSError, match=code):
            write_deltalake(location, frame(2), mode="append", storage_options=options | changed)
        assert set(gate.refusals) == {code}
    assert not owned_lake.exists("_2_sanitized")
