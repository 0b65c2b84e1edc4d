"""Random histories of a database: every row that was there when a cycle ran is in the table once.

A row is told by its tag, which no other row ever has. ``HISTORIES`` sets how many are tried (`make histories`: 10,000).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from itertools import count

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_delta.core.errors import TwoSources
from tests.support.inprocess import deliver
from tests.support.tables import Place

HISTORIES = int(os.environ.get("HISTORIES", "12"))
NUMBERS = count()
SCHEMAS = {
    "integer primary key": "id INTEGER PRIMARY KEY, timestamp TEXT, tag TEXT, value REAL, note TEXT",
    "autoincrement": "id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, tag TEXT, value REAL, note TEXT",
    "descending": "id INTEGER PRIMARY KEY DESC, timestamp TEXT, tag TEXT, value REAL, note TEXT",
    "plain": "timestamp TEXT, tag TEXT, value REAL, note TEXT",
}
STEPS = (
    "insert",
    "insert many",
    "fill in",
    "replace",
    "update newest",
    "update old",
    "update all",
    "delete newest",
    "delete oldest",
    "delete some",
    "add column",
    "rename column",
    "back up",
    "restore",
    "recreate",
    "empty",
    "lose state",
    "deliver",
    "deliver",
    "deliver",
)


@dataclass
class History:
    """One database, its table, and what was ever seen in it."""

    sensor: object
    folder: object
    schema: str
    second: int = 0
    runs: int = 0
    state: int = 0
    seen: set[str] = field(default_factory=set)
    backups: int = 0

    def __post_init__(self):
        self.place = Place(str(self.folder / "lake" / "t"))
        self.path = self.folder / "device" / "sensor.db"
        self.path.parent.mkdir(parents=True)
        self.sensor.open(self.path)
        self._create()

    def _create(self):
        self.sensor.run(f"CREATE TABLE r ({SCHEMAS[self.schema]})")
        self.renamed = 0

    def _rows(self, rows, *, how="INSERT"):
        given = "rowid, " if rows and rows[0] is not None else ""
        for rowid in rows:
            self.second += 1
            values = [*([rowid] if given else []), self.second, f"tag {next(NUMBERS)}", self.second / 7]
            marks = f"{'?, ' if given else ''}strftime('%Y-%m-%dT%H:%M:%SZ', 1767225600 + ?, 'unixepoch'), ?, ?"
            self.sensor.run(f"{how} INTO r ({given}timestamp, tag, value) VALUES ({marks})", *values)

    def do(self, step, much):
        name = step.replace(" ", "_")
        getattr(self, name)(much)

    def insert(self, much):
        self._rows([None] * (1 + much % 4))

    def insert_many(self, much):
        self._rows([None] * (5 + much % 30))

    def fill_in(self, much):
        [(last,)] = self.sensor.run("SELECT coalesce(max(rowid), 0) FROM r")
        taken = {i for (i,) in self.sensor.run("SELECT rowid FROM r")}
        free = [i for i in range(1, last) if i not in taken]
        self._rows(free[: 1 + much % 3])
        self._rows([last + 10 + much])  # leaves ids free

    def replace(self, much):
        ids = [i for (i,) in self.sensor.run("SELECT rowid FROM r ORDER BY rowid")]
        if ids:
            rowid = ids[much % len(ids)]
            self.sensor.run("DELETE FROM r WHERE rowid = ?", rowid)
            self._rows([rowid])

    def update_newest(self, much):
        self.sensor.run("UPDATE r SET note = ? WHERE rowid = (SELECT max(rowid) FROM r)", f"n{much}")

    def update_old(self, much):
        self.sensor.run("UPDATE r SET value = value + 1 WHERE rowid % 7 = ?", much % 7)

    def update_all(self, much):
        self.sensor.run("UPDATE r SET note = ?", f"all {much}")

    def delete_newest(self, much):
        self.sensor.run("DELETE FROM r WHERE rowid IN (SELECT rowid FROM r ORDER BY rowid DESC LIMIT ?)", 1 + much % 3)

    def delete_oldest(self, much):
        self.sensor.run("DELETE FROM r WHERE rowid IN (SELECT rowid FROM r ORDER BY rowid LIMIT ?)", 1 + much % 9)

    def delete_some(self, much):
        self.sensor.run("DELETE FROM r WHERE rowid % 5 = ?", much % 5)

    def add_column(self, _much):
        self.sensor.run(f"ALTER TABLE r ADD COLUMN extra{next(NUMBERS)} TEXT DEFAULT 'x'")

    def rename_column(self, _much):
        names = [row[1] for row in self.sensor.run("PRAGMA table_info(r)")]
        extra = [n for n in names if n.startswith("extra")]
        if extra:
            self.sensor.run(f"ALTER TABLE r RENAME COLUMN {extra[0]} TO extra{next(NUMBERS)}")

    def _backup(self):
        return self.folder / "backup.db"

    def back_up(self, _much):
        self._backup().unlink(missing_ok=True)
        self.sensor.run("VACUUM INTO ?", str(self._backup()))

    def restore(self, _much):
        if self._backup().exists():
            self._replaced()
            shutil.copy(self._backup(), self.path)
            self.sensor.open(self.path)

    def _replaced(self):
        self.sensor.open(self.folder / "aside.db")
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def recreate(self, _much):
        self._replaced()
        self._backup().unlink(missing_ok=True)  # put back, it would be a second database
        self.sensor.open(self.path)
        self._create()

    def empty(self, _much):
        self.sensor.run("DELETE FROM r")
        self._backup().unlink(missing_ok=True)

    def lose_state(self, _much):
        self.state += 1

    def deliver(self, _much):
        tags = {tag for (tag,) in self.sensor.run("SELECT tag FROM r")}
        state = str(self.folder / f"state{self.state}")
        deliver(
            self.path,
            self.place,
            processing_mode=["raw"],
            state_dir=state,
            env={"SWEEP": "0"},
            timestamp_col="timestamp",
        )
        self.seen |= tags
        self.check()

    def check(self):
        there = self.place.read("_0_raw")["tag"].to_list() if self.place.exists("_0_raw") else []
        twice = sorted({tag for tag in there if there.count(tag) > 1})
        missing = sorted(self.seen - set(there))
        assert not twice, f"delivered again: {twice}"
        assert not missing, f"never delivered: {missing}"


steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 50)), min_size=4, max_size=16)


@settings(
    max_examples=HISTORIES,
    deadline=None,
    derandomize="HISTORIES" not in os.environ,  # in the tests the same ones each time
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes longer than finding
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=st.sampled_from(sorted(SCHEMAS)), history=steps)
def test_every_row_that_was_there_at_a_cycle_is_delivered_once(sensor, tmp_path, schema, history):
    one = History(sensor, tmp_path / f"h{next(NUMBERS)}", schema)
    try:
        for step, much in [("insert many", 20), ("deliver", 0), *history, ("deliver", 0)]:
            one.do(step, much)
    except TwoSources:
        pass  # told, which is right or at least not silent
    sensor.open(tmp_path / "aside.db")
    shutil.rmtree(one.folder)
