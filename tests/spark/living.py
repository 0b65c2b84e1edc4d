"""Devices by the real command that go on while their tables are gathered, in all modes."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from edge_delta.gather.takings import SHAPES
from tests.support.weed import ACCESS_KEY, SECRET_KEY
from tools.thousand import READINGS, Fleet

if TYPE_CHECKING:
    import threading

    import polars as pl

    from tests.support.tables import Place

_BACKUP, _BACK = 4, 6
_UPKEEP = 0.15
_PAUSE = 1.0
_DAYS = 2
"""By so many days the clock is on at each upkeep, whose retention is one day."""
_SETTINGS = """processing_mode = ["raw", "schematized", "sanitized", "aggregated", "emergency"]
[sanitize]
missing = { temperature = "reject" }
[aggregate]
window_minutes = 1
allowed_lateness = 0
aggregations = { temperature = ["mean"] }
[emergency]
severity_thresholds = { temperature = 28 }
[maintenance]
retention_days = 1
"""


class Living(Fleet):
    """The devices.

    Args:
        root: where everything is.
        count: how many.
        seed: of what happens when.
        store: where the tables are, if it is not below the root.

    Attributes:
        may_delete: whether it is the time to delete a device.
        turns: how many deliveries each made.
        done: what happened, how often.
        taken_back: what tables of readings held that went back to an earlier version, by the device's id.
    """

    odd = 10

    def __init__(self, root: Path, count: int, seed: int, store: Place | None = None) -> None:
        super().__init__(root, count, 2, settings=_SETTINGS, store=store)
        self.may_delete = False
        self._chance = random.Random(seed + 1)
        self.turns: Counter[int] = Counter()
        self.done: Counter[str] = Counter()
        self.taken_back: dict[str, pl.DataFrame] = {}
        self._deleted: dict[str, pl.DataFrame] = {}
        self._looked_after: Counter[int] = Counter()

    def go_on(self, stop: threading.Event) -> None:
        """Deliver and look after tables, one device after the other."""
        while not stop.is_set():
            number = self._chance.choice(self.numbers[:-1][:40])
            self.add(number)
            if self.may_delete:
                self.delete()
            if self._chance.random() < _UPKEEP and not self._may_go_back(number):
                self.look_after(number)
            stop.wait(self._chance.uniform(0, _PAUSE))

    def _may_go_back(self, number: int) -> bool:
        return number % 10 == _BACK and self.name(number) not in self.taken_back

    def add(self, number: int) -> None:
        """New rows, and what happens to this device at this turn."""
        turn = self.turns[number]
        backup = self.device(number).directory / "backup.db"
        if number % 10 == _BACKUP and turn == 2:
            self.sensor(number).run("VACUUM INTO ?", str(backup))
        if number % 10 == _BACKUP and turn == 4:
            self._put_back(number, backup)
        if number % 10 == _BACK and turn == 3:
            self._go_back(number)
        self.deliver(number, turn)
        self.turns[number] += 1
        self.done["deliveries"] += 1

    def _put_back(self, number: int, backup: Path) -> None:
        sensor = self.sensor(number)
        database = sensor.path
        sensor.open(backup)
        for suffix in ("-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        shutil.copy(backup, database)
        self.done["databases restored from a backup"] += 1

    def _go_back(self, number: int) -> None:
        self.taken_back[self.name(number)] = self.place(number).read(READINGS)
        self.restore(number)
        self.device(number).run("reset", to_beginning=True, yes=True).succeeded()
        self.done["tables restored, and delivered again"] += 1

    def look_after(self, number: int) -> None:
        """Join files, clean the log, and delete what was joined."""
        device = self.device(number)
        for _ in range(1 if self.store.url else 2):
            device.run("maintain", env=self._later(number)).succeeded()
            self.done["upkeeps"] += 1
        if self.store.url:  # a request signed in two days is refused
            for shape in SHAPES.values():
                if self.place(number).exists(shape.suffix):
                    table = self.place(number).table(shape.suffix)
                    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)

    def _later(self, number: int) -> dict[str, str]:
        if self.store.url:
            return {}
        self._looked_after[number] += _DAYS
        spec = find_spec("libfaketime")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        [package] = spec.submodule_search_locations
        return {
            "LD_PRELOAD": f"{package}/vendor/libfaketime/src/libfaketime.so.1",
            "FAKETIME": f"+{self._looked_after[number]}d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def delete(self) -> None:
        """The last device's tables, as soon as all of it is taken; once."""
        place, tables = self.place(self.numbers[-1]), {}
        for shape in SHAPES.values():
            if place.exists(shape.suffix):
                tables[shape.suffix] = place.read(shape.suffix)
        if self._deleted or any(self._taken(suffix) < frame.height for suffix, frame in tables.items()):
            return
        self._deleted = tables
        self._remove(place)
        self.done["devices deleted"] += 1

    def _taken(self, suffix: str) -> int:
        """The rows of the last device in the fleet's table."""
        if not self.fleet.exists(suffix):
            return 0
        return self.fleet.read(suffix).filter(node_id=self.name(self.numbers[-1])).height

    def forget(self) -> None:
        """Remove the fleet's tables."""
        self._remove(self.fleet)

    def _remove(self, place: Place) -> None:
        if place.url is None:
            for table in Path(place.base).parent.glob(f"{Path(place.base).name}_*"):
                shutil.rmtree(table)
        else:
            keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
            s3 = boto3.resource("s3", endpoint_url=place.url, region_name="us-east-1", **keys)
            bucket, _, prefix = place.base.removeprefix("s3://").partition("/")
            s3.Bucket(bucket).objects.filter(Prefix=prefix).delete()

    # -- what has to be there

    def wanted(self, number: int, suffix: str) -> pl.DataFrame | None:
        """What a device's table holds, or held when it was deleted; None if there is none."""
        if self._deleted and number == self.numbers[-1]:
            return self._deleted.get(suffix)
        return self.place(number).read(suffix) if self.place(number).exists(suffix) else None

    def ids(self) -> dict[int, set[int]]:
        """The rows of the devices' databases."""
        found: dict[int, set[int]] = {}
        self.each(lambda n: found.update({n: {row[0] for row in self.sensor(n).rows(columns="id")}}), self.numbers)
        return found
