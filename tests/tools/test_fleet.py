"""The tiny version of `make fleet`."""

from __future__ import annotations

import pytest

from tools.fleet import fleet, written


@pytest.mark.parametrize("shared", [True, False], ids=["one table", "a table each"])
def test_devices_at_once_deliver_every_row_once(shared, weed, tmp_path):
    figures = fleet(tmp_path / "fleet", weed, writers=3, shared=shared, seconds=4)
    assert figures.commits > 0
    assert figures.tries >= figures.commits
    assert figures.tables == (1 if shared else 3)
    assert figures.row() in written([figures])
