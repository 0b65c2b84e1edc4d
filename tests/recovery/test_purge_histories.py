"""Histories of a database that is purged now and then: each row that was in it is in the tables once.

``PURGE_HISTORIES=100 pytest tests/recovery/test_purge_histories.py`` tries more of them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.source.deletion import Pacer
from tests.recovery.test_purge import purged
from tests.support.inprocess import deliver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sqlite import Sensor
    from tests.support.tables import Place

SEEDS = range(int(os.environ.get("PURGE_HISTORIES", "3")))
_STEPS = 24
_EPOCH = 1_767_225_600


class Killed(Exception):
    """The process is killed here."""


class Life:
    """A database and what was ever in it.

    Args:
        sensor: writes it.
        place: where the tables are.
        mode: what is delivered.
        seed: of all that is random.
    """

    def __init__(self, sensor: Sensor, place: Place, mode: str, seed: int) -> None:
        self.sensor, self.place, self.mode = sensor, place, mode
        self.chance = random.Random(seed)
        self.token = 0
        self.next = 1
        self.gaps: list[int] = []
        self.was: set[int] = set()
        self.backup: Path | None = None
        self.done: Counter[str] = Counter()
        sensor.run(
            "CREATE TABLE readings (id INTEGER PRIMARY KEY, sensor_id TEXT, timestamp TEXT, temperature REAL, note)"
        )
        for _ in range(6):
            self.insert()

    def _row(self, rowid: int) -> None:
        self.token += 1
        self.sensor.run(
            "INSERT INTO readings VALUES (?, 's', strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch'), ?, 0)",
            rowid,
            _EPOCH + self.token,
            float(self.token),
        )
        self.was.add(self.token)

    # -- what happens

    def insert(self) -> None:
        for _ in range(self.chance.randrange(1, 20)):
            if self.chance.random() < 0.2:
                self.gaps.append(self.next)
                self.next += 1
            self._row(self.next)
            self.next += 1

    def fill(self) -> None:
        """Late rows, also where the rows around them were purged."""
        for _ in range(min(len(self.gaps), self.chance.randrange(1, 4))):
            self._row(self.gaps.pop(self.chance.randrange(len(self.gaps))))

    def update(self) -> None:
        self.sensor.run("UPDATE readings SET note = note + 1 WHERE id % 3 = ?", self.chance.randrange(3))

    def deliver(self, *, sweeps: bool = False) -> None:
        always = {"SWEEP": "0"} if sweeps or self.chance.random() < 0.3 else {}
        deliver(self.sensor.path, self.place, processing_mode=[self.mode], env=always)

    def purge(self) -> None:
        done = purged(self.sensor.path, self.place, days=0, processing_mode=[self.mode])
        self.done["purged"] += done.rows
        self.done["stayed"] += done.not_delivered

    def purge_killed(self) -> None:
        left, took = self.chance.randrange(1, 3), Pacer._took

        def dies(pacer: Pacer, seconds: float) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Killed
            took(pacer, seconds)
            pacer.number = 4

        Pacer._took = dies  # type: ignore[method-assign]
        try:
            self.purge()
        except Killed:
            self.done["killed"] += 1
        finally:
            Pacer._took = took  # type: ignore[method-assign]

    def keep_a_copy(self) -> None:
        self.backup = self.sensor.path.parent / "backup.db"
        self.backup.unlink(missing_ok=True)
        self.sensor.run(f"VACUUM INTO '{self.backup}'")

    def restore(self) -> None:
        """An old copy comes back, with rows that were purged since; all that is there is delivered before."""
        if self.backup is None:
            return
        self.deliver(sweeps=True)
        path = self.sensor.path
        self.sensor.open(path.with_name("other.db"))
        for file in path.parent.glob(path.name + "*"):
            file.unlink()
        shutil.copy(self.backup, path)
        self.sensor.open(path)
        [(last,)] = self.sensor.run("SELECT max(id) FROM readings")
        self.next, self.gaps = last + 1, []
        self.done["restored"] += 1

    def run(self) -> None:
        self.deliver()
        steps: list[tuple[int, Callable[[], None]]] = [
            *((4, self.insert), (3, self.fill), (1, self.update), (4, self.deliver), (4, self.purge)),
            *((2, self.purge_killed), (1, self.keep_a_copy), (1, self.restore)),
        ]
        weights, things = zip(*steps, strict=True)
        for _ in range(_STEPS):
            [what] = self.chance.choices(things, weights)
            if what not in (self.purge, self.purge_killed):
                what()
                continue
            try:
                what()
            except EdgeDeltaError:
                self.done["refused"] += 1
        self.deliver(sweeps=True)
        self.deliver(sweeps=True)


@pytest.fixture
def few_rows_stay(monkeypatch):
    monkeypatch.setattr("edge_delta.recovery.purge.purge.KEPT_ROWS", 3)
    monkeypatch.setattr("edge_delta.source.deletion._LEAST_FREE_SECONDS", 0.0)


@pytest.mark.usefixtures("few_rows_stay")
@pytest.mark.parametrize("seed", SEEDS)
def test_each_row_of_a_purged_database_is_in_its_table_once(seed, sensor, folder):
    life = Life(sensor, folder, "raw", seed)
    life.run()
    there = Counter(int(token) for token in folder.read("_0_raw")["temperature"])
    assert sorted(life.was - there.keys()) == [], life.done
    assert {token: n for token, n in there.items() if n > 1} == {}, life.done
    assert there.keys() == life.was
    assert life.done["purged"]
