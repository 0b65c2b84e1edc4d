"""``uc://catalog.schema.table`` as an address."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import ConfigurationError
from edge_delta.sinks import address as storage
from edge_delta.sinks.unity import names


@pytest.mark.parametrize(
    ("table_path", "node_id", "address"),
    [
        ("uc://main.plant.readings", "Hall 7", "uc://main.plant.readings"),
        ("uc://main.plant.readings_{node_id}", "hall-7", "uc://main.plant.readings_hall-7"),
        ("uc://main.{node_id}.readings", "n1", "uc://main.n1.readings"),
    ],
)
def test_a_name_is_an_address(table_path: str, node_id: str, address: str) -> None:
    assert storage.address(table_path, node_id=node_id) == address
    assert not storage.is_folder(address)


@pytest.mark.parametrize(
    ("table_path", "node_id", "said"),
    [
        ("uc://main.readings", "n1", "is no name of a table"),
        ("uc://main.plant.readings.more", "n1", "is no name of a table"),
        ("uc:/main.plant.readings", "n1", "is no name of a table"),
        ("uc://main..readings", "n1", "is no name of a table"),
        ("uc://main.plant.my readings", "n1", "no name in Unity Catalog"),
        ("uc://main.plant/deep.readings", "n1", "no name in Unity Catalog"),
        ("uc://main.plant.readings/", "n1", "no name in Unity Catalog"),
        ("uc://main.plant.r_{node_id}", "Hall-7", "has capital letters"),
        ("uc://main.plant.r_{node_id}", "hall.7", "cannot be a part of a name"),
        ("uc://main.plant.r_{node_id}", "hall 7", "cannot be a part of a name"),
        ("uc://main.plant.r_{mode}", "n1", "a placeholder that is not known"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(table_path: str, node_id: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        storage.address(table_path, node_id=node_id)


def test_names_are_quoted_where_sql_asks_for_it() -> None:
    assert names.quoted("uc://main.plant-2.readings_1_schematized") == "main.`plant-2`.readings_1_schematized"
    assert names.schema_of("uc://main.plant-2.readings") == "main.`plant-2`"
