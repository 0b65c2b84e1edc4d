from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from edge_delta.sinks.unity.registering import statement
from tests.support.gate import Gate
from tests.support.tables import Place
from tests.support.weed import BUCKET
from tests.support.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.weed import Weed

URI = "uc://main.plant.readings_1_schematized"


@pytest.fixture
def gate(weed: Weed) -> Iterator[Gate]:
    with Gate(weed.port) as between:
        yield between


@pytest.fixture
def lake(weed: Weed) -> Place:
    """Where the tables are, for those who read them as the bucket's owner."""
    return Place(f"s3://{BUCKET}/{uuid.uuid4().hex}/readings", {}, weed.url)


@pytest.fixture
def workspace(gate: Gate, lake: Place) -> Iterator[Workspace]:
    with Workspace(gate) as made:
        made.run(statement(URI, lake.uri("_1_schematized")), lake.options)
        yield made
