from __future__ import annotations

import shutil
import socket
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.command import EdgeDelta
from tests.support.gate import Gate
from tests.support.proxy import Proxy
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tests.support.weed import ACCESS_KEY, BUCKET, SECRET_KEY, Weed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that none of them is left for one process alone at the end."""
    items.sort(key=lambda item: "tests/tools/" not in item.nodeid)


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """An S3 server for this test worker."""
    directory = tmp_path_factory.mktemp("weed")
    server = Weed(directory)
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


def lake_at(url: str, bucket: str = BUCKET) -> Place:
    """A prefix of its own in the bucket, reached through this address."""
    environment = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
    }
    return Place(f"s3://{bucket}/{uuid.uuid4().hex}/readings", environment, url)


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "lake" / "readings"))


@pytest.fixture
def lake(weed: Weed) -> Place:
    return lake_at(weed.url)


@pytest.fixture
def proxy(weed: Weed) -> Iterator[Proxy]:
    with Proxy(weed.port) as between:
        yield between


@pytest.fixture
def wired_lake(proxy: Proxy) -> Place:
    """A prefix in the bucket, reached through the proxy."""
    return lake_at(proxy.url)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens, and nobody else can: its port stays taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def gate(weed: Weed) -> Iterator[Gate]:
    with Gate(weed.port) as between:
        yield between


@pytest.fixture
def owned_lake(weed: Weed) -> Place:
    """A prefix in the bucket for devices that reach it through the gate, as the bucket's owner reads it."""
    return Place(f"s3://{BUCKET}/{uuid.uuid4().hex}/readings", {}, weed.url)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    """A folder, then S3."""
    return request.getfixturevalue("folder" if request.param == "folder" else "lake")


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[Sensor]:
    """The sensor's process, with its database in WAL mode."""
    (tmp_path / "device").mkdir()
    with Sensor(tmp_path / "device" / "sensor.db") as process:
        yield process


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., EdgeDelta]]:
    """Makes the command for a database and a place; its processes end with the test."""
    made: list[EdgeDelta] = []

    def make(sqlite: Path, place: Place, **flags: object) -> EdgeDelta:
        settings = {
            "sqlite": sqlite,
            "table_path": place.base,
            "state_dir": tmp_path / "state",
            "interval": 0.3,
            "retry_for": 5,
        }
        made.append(EdgeDelta(tmp_path, settings | flags, place.environment))
        return made[-1]

    yield make
    for one in made:
        one.end()
