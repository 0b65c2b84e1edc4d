"""Devices whose tables are gathered, and what the fleet's table has to hold then."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable

from edge_delta.cli.main import main
from tests.support.command import EdgeDelta
from tests.support.modes import deliver
from tests.support.tables import Place

if TYPE_CHECKING:
    from tests.support.sqlite import Sensor


@dataclass
class Devices:
    """Some devices with a table each, in one folder, and one sensor's process that writes their databases in turn.

    Attributes:
        directory: of everything.
        sensor: the process.
        modes: in which they deliver.
    """

    directory: Path
    sensor: Sensor
    modes: list[str] = field(default_factory=lambda: ["schematized"])
    settings: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def place(self, device: str) -> Place:
        return Place(str(self.directory / "lake" / device / "readings"))

    def log(self, device: str, suffix: str = "_1_schematized") -> Path:
        return Path(self.place(device).uri(suffix), "_delta_log")

    @property
    def fleet(self) -> Place:
        return Place(str(self.directory / "fleet" / "readings"))

    def open(self, device: str) -> None:
        folder = self.directory / "devices" / device
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self.sensor.open(folder / "sensor.db")
        if new:
            self.sensor.create()
            self.names.append(device)

    def deliver(self, device: str, rows: int = 20, **settings: Any) -> None:
        """New rows of a device, in one commit to each of its tables; delivered inside this process."""
        self.open(device)
        start = self.sensor.run("SELECT count(*) FROM readings")[0][0]
        self.sensor.add(rows, start=start, seed=len(device))
        self.again(device, **settings)

    def late(self, device: str, second: int) -> None:
        """A reading of a window that is written."""
        self.open(device)
        self.sensor.run(
            "INSERT INTO readings (sensor_id, timestamp, temperature) VALUES "
            f"('sensor-1', strftime('%Y-%m-%dT%H:%M:%f+00:00', 1767225600 + {second}, 'unixepoch'), 99.0)"
        )
        self.again(device)

    def again(self, device: str, **settings: Any) -> None:
        self.open(device)
        deliver(self.sensor.path, self.place(device), self.modes, node_id=device, **(self.settings | settings))

    @property
    def flags(self) -> dict[str, Any]:
        """What `edge-delta gather` is told."""
        return {
            "table_path": self.directory / "lake" / "{node_id}" / "readings",
            "into": self.fleet.base,
            "processing_mode": ",".join(self.modes),
            "state_dir": self.directory / "state",
        }

    def gather(self, *, code: int = 0, **flags: Any) -> Gathered:
        words = EdgeDelta(self.directory, self.flags | {"json": True}).arguments(flags, "gather")
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            found = main(words)
        assert found == code, err.getvalue()
        return Gathered(out.getvalue(), err.getvalue())

    def rows_of(self, suffix: str) -> pl.DataFrame:
        """What all the devices' tables hold."""
        places = [self.place(name) for name in self.names]
        found = [place.read(suffix) for place in places if place.exists(suffix)]
        return pl.concat(found, how="diagonal")

    def assert_gathered(self, suffix: str = "_1_schematized") -> pl.DataFrame:
        """The fleet's table holds each row of each device once, and nothing else."""
        return assert_same(self.fleet.read(suffix), self.rows_of(suffix))


def assert_same(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    assert set(ours.columns) == set(theirs.columns)
    counted = [frame.select(theirs.columns).group_by(theirs.columns).len() for frame in (ours, theirs)]
    both = pl.concat([counted[0], counted[1].with_columns(-pl.col("len").cast(pl.Int64))], how="vertical_relaxed")
    odd = both.group_by(theirs.columns).agg(pl.col("len").sum()).filter(pl.col("len") != 0)
    assert odd.height == 0, odd
    return ours


@dataclass
class Gathered:
    """What `edge-delta gather --json` said."""

    stdout: str
    stderr: str

    def mode(self, name: str = "schematized") -> dict[str, Any]:
        found: dict[str, Any]
        [found] = [each for each in json.loads(self.stdout) if each["mode"] == name]
        return found

    def about(self, device: str, mode: str = "schematized") -> dict[str, Any]:
        found: dict[str, Any]
        [found] = [each for each in self.mode(mode)["devices"] if each["device"] == device]
        return found


def compacted(place: Place, suffix: str = "_1_schematized") -> None:
    """Compaction as upkeep makes it, and what it replaced deleted at once."""
    table = place.table(suffix)
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def cleaned(place: Place, suffix: str = "_1_schematized") -> None:
    """A checkpoint, and no commit before it any more."""
    table = DeltaTable(place.uri(suffix))
    table.create_checkpoint()
    log = place.uri(suffix) + "/_delta_log"
    for file in Path(log).glob("*.json"):
        if int(file.stem) < table.version():
            file.unlink()
