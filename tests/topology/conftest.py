from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.rotating import Files
from tests.support.sqlite import Sensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    (tmp_path / "data").mkdir()
    with Sensor(tmp_path / "data" / "unused.sqlite") as sensor:
        yield Files(tmp_path / "data", sensor)
