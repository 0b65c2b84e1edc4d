from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_delta.sinks.unity.registering import statement
from tests.support.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.gate import Gate
    from tests.support.tables import Place


URI = "uc://main.plant.readings_1_schematized"


@pytest.fixture
def workspace(gate: Gate, owned_lake: Place) -> Iterator[Workspace]:
    with Workspace(gate) as made:
        made.run(statement(URI, owned_lake.uri("_1_schematized")), owned_lake.options)
        yield made
