"""The main job against Azurite, which speaks the blob protocol of Azure Data Lake Storage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder

from tests.support.tables import Place

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # the emulator's own
CONTAINER = "lake"
HERE = Path(__file__).parents[1] / "azurite"
CACHE = Path(__file__).parents[2] / ".cache" / "azurite"


def installed() -> Path:
    """Azurite from the npm registry, by its lock, once."""
    if shutil.which("npm") is None:
        pytest.skip("Azurite comes through npm, which is not installed")
    program = CACHE / "node_modules" / ".bin" / "azurite-blob"
    lock = (HERE / "package-lock.json").read_text()
    if not program.exists() or (CACHE / "package-lock.json").read_text() != lock:
        CACHE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, CACHE / name)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=CACHE, check=True, timeout=300)
    return program


def make_container(url: str) -> None:
    """Create the container, signed with the account's key ("Authorize with Shared Key", Azure Storage REST API)."""
    at = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    signed = (
        f"PUT{chr(10) * 12}x-ms-date:{at}\nx-ms-version:2021-08-06\n/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    )
    digest = hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)
    headers = {
        "x-ms-date": at,
        "x-ms-version": "2021-08-06",
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    request = urllib.request.Request(f"{url}/{CONTAINER}?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 201


@pytest.fixture(scope="module")
def adls(tmp_path_factory):
    """The emulator with one container; its address is what the client is told by its environment."""
    program = installed()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    folder = tmp_path_factory.mktemp("azurite")
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort"]
    server = subprocess.Popen([program, *options, str(port), "--location", folder], stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "Azurite did not start"
                time.sleep(0.1)
        make_container(url)
        yield url
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def container(adls):
    environment = {
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": adls.removesuffix(f"/{ACCOUNT}"),
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    }
    base = f"abfss://{CONTAINER}@{ACCOUNT}.dfs.core.windows.net/{os.urandom(4).hex()}/readings"
    return Place(base, environment)


def test_rows_arrive_once_on_adls_over_several_runs(sensor, container, command, monkeypatch):
    sensor.create()
    device = command(sensor.path, container, node_id="n1", max_batch_size=70)
    for start in (0, 200, 400):
        sensor.add(200, start=start)
        device.once().succeeded()
    for name, value in container.environment.items():
        monkeypatch.setenv(name, value)
    table = DeltaTable(container.uri("_1_schematized"))
    found = pl.DataFrame(QueryBuilder().register("t", table).execute("SELECT reading_id FROM t").read_all())
    assert sorted(found["reading_id"]) == list(range(1, 601))
    assert table.protocol().min_reader_version == 1


def test_a_lost_state_directory_repeats_nothing_on_adls(sensor, container, command, tmp_path):
    sensor.create()
    sensor.add(300)
    device = command(sensor.path, container, node_id="n1")
    device.once().succeeded()
    shutil.rmtree(tmp_path / "state")
    again = device.once().succeeded()
    assert again.named("batch committed") == []


def test_a_wrong_key_for_adls_is_one_clear_line(sensor, container, command):
    sensor.create()
    sensor.add(10)
    wrong = {"AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"x" * 64).decode()}
    finished = command(sensor.path, container, node_id="n1", retry_for=0).once(env=wrong)
    assert finished.code == 1
    assert "refused" in finished.error
    assert wrong["AZURE_STORAGE_ACCOUNT_KEY"] not in finished.error
