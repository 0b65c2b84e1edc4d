"""A folder of databases that rotate, and what was delivered of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.support.inprocess import deliver

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.inprocess import Delivered
    from tests.support.sqlite import Sensor
    from tests.support.tables import Place

DAY = 86_400


class Files:
    """A folder of databases, a day each."""

    def __init__(self, folder: Path, sensor: Sensor) -> None:
        self.folder, self.sensor = folder, sensor
        self.pattern = folder / "readings-*.db"
        self.written: list[str] = []

    def day(self, day: int, rows: int, *, first: int = 0, name: str | None = None) -> Path:
        """Write rows of a day into its file; closed by `rest`."""
        path = self.folder / (name or f"readings-{day:04}.db")
        known = path.exists()
        self.sensor.open(path)
        if not known:
            self.sensor.create()
        self.sensor.add(rows, start=day * DAY + first)
        self.written += [t for (t,) in self.sensor.run("SELECT timestamp FROM readings ORDER BY id DESC LIMIT ?", rows)]
        return path

    def rest(self) -> None:
        self.sensor.open(self.folder / "unused.sqlite")


def delivered(place: Place, suffix: str = "_0_raw") -> Counter[str]:
    """How often each time is there."""
    return Counter(t for t in place.read(suffix)["timestamp"].to_list())


def assert_each_once(files: Files, place: Place) -> None:
    """That all that was written is there once, under ids of its own."""
    found = delivered(place)
    assert found == Counter(files.written)
    ids = place.read("_0_raw")["source_rowid"].sort().to_list()
    assert len(set(ids)) == len(ids)


def raw(files: Files, place: Place, **more: Any) -> Delivered:
    """Deliver the folder in the mode `raw`."""
    return deliver(files.pattern, place, processing_mode="raw", **more)
