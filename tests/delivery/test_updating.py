"""Rows that are updated after they were delivered: each new state once, with a higher version."""

from __future__ import annotations

import pytest

from edge_delta.core.errors import ConfigurationError
from tests.support.inprocess import deliver

APPEND = {"ON_UPDATE": "append"}
MODES = {"raw": ("_0_raw", "source_rowid"), "schematized": ("_1_schematized", "reading_id")}
MODES["sanitized"] = ("_2_sanitized", "reading_id")


def states(place, mode="schematized", column="temperature"):
    """Ids, versions and a value of all rows."""
    suffix, key = MODES[mode]
    return sorted(place.read(suffix).select(key, "row_version", column).rows())


@pytest.mark.parametrize("mode", list(MODES))
def test_the_new_state_of_an_updated_row_arrives_once_with_a_higher_version(mode, sensor, folder):
    sensor.create()
    sensor.add(50)
    settings = {"env": APPEND, "processing_mode": [mode]}
    deliver(sensor.path, folder, **settings)
    first = states(folder, mode)
    assert {version for _, version, _ in first} == {1}
    sensor.run("UPDATE readings SET temperature = 1.5 WHERE id IN (7, 50)")
    sensor.add(5, start=50)
    for _ in range(2):
        done = deliver(sensor.path, folder, **settings)
    assert not done.named("updated rows delivered")
    sensor.run("UPDATE readings SET temperature = NULL WHERE id = 7")
    [told] = deliver(sensor.path, folder, **settings).named("updated rows delivered")
    assert told["rows"] == 1
    found = states(folder, mode)
    assert len(found) == 50 + 5 + 2 + 1
    assert [(v, t) for i, v, t in found if i == 7][1:] == [(2, 1.5), (3, None)]
    assert [(v, t) for i, v, t in found if i == 50][1:] == [(2, 1.5)]
