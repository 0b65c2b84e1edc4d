"""A database as an application treats it, and what was in it whenever it was delivered."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.histories.plans import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.histories.plans import Kind, Plan
    from tests.histories.states import State
    from tests.support.sqlite import Sensor

EPOCH = 1_767_225_600
HOT = 35.0
Row = tuple[int, str, float]
"""Seconds since 1970, model, temperature."""


class Database:
    """One database file.

    Args:
        sensor: the application's process.
        folder: a folder of its own.
        plan: the history.
        name: begins each row's tag.
    """

    def __init__(self, sensor: Sensor, folder: Path, plan: Plan, name: str) -> None:
        self.sensor, self.folder, self.plan, self.name = sensor, folder, plan, name
        self.kind: Kind = plan.table
        self.path = folder / "sensor.db"
        self.backup = folder / "backup.db"
        self.ever: dict[str, Row] = {}
        self.second, self.extra, self.life, self.lives, self.backup_life = EPOCH, 0, 0, 0, 0
        self.changed = self.deleted = self.goes_back = False
        self.backed_up: dict[int, str] = {}
        folder.mkdir(parents=True)
        self.open()
        self._create()

    # -- the file

    def open(self) -> None:
        """The application works with this database."""
        if self.sensor.path != self.path or not self.path.exists():
            self.sensor.open(self.path)

    def run(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        return self.sensor.run(sql, *parameters)

    def _create(self) -> None:
        time = TIMES[self.plan.time][0]
        self.run(f"CREATE TABLE r ({self.kind.declaration.format(time=time)}) {self.kind.options}")

    def _away(self) -> None:
        self.sensor.open(self.folder / "aside.db")

    def _removed(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _another_life(self) -> None:
        self.lives += 1
        self.life = self.lives

    # -- what is there

    @property
    def order(self) -> str:
        return self.kind.key or "timestamp"

    def tags(self) -> set[str]:
        return {str(tag) for (tag,) in self.run("SELECT sensor_id FROM r")}

    def states(self) -> dict[str, State]:
        """What may be updated of each row, by its tag."""
        return {
            str(tag): (humidity, note) for tag, humidity, note in self.run("SELECT sensor_id, humidity, note FROM r")
        }

    def by_id(self) -> dict[int, str]:
        """Tags by the ids that rows have now; by their times where those are what they are read by."""
        return {int(str(i)): str(tag) for i, tag in self.run(f"SELECT {self.kind.key or 0}, sensor_id FROM r")}

    def ids(self) -> list[int]:
        return [int(str(i)) for (i,) in self.run(f"SELECT {self.kind.key} FROM r ORDER BY 1")]

    # -- rows

    def _rows(self, ids: Iterable[int | None], how: str = "INSERT", at: int | None = None) -> None:
        for rowid in ids:
            tag = f"{self.name}{len(self.ever)}"
            self.second += 1 + len(self.ever) * 37 % 200
            second = rowid if self.plan.kind == "time as key" and rowid is not None else at or self.second
            row = (second, f"m{len(self.ever) % 3}", 20 + (len(self.ever) * 7 % 200) / 8)
            self.ever[tag] = row
            names = ["sensor_id", "model", "temperature", "humidity"]
            marks, values = ["?"] * 4, [tag, row[1], row[2], 50.0]
            if self.kind.timed:
                names.append("timestamp")
                marks.append(TIMES[self.plan.time][1])
                values.append(second)
            if self.plan.kind == "key without rowid" and rowid is None:
                [(last,)] = self.run("SELECT coalesce(max(id), 0) + 1 FROM r")
                rowid = int(str(last))  # noqa: PLW2901 - the id that is not given
            if rowid is not None and self.plan.kind != "time as key":
                names.append(self.kind.key or "")
                marks.append("?")
                values.append(rowid)
            self.run(f"{how} INTO r ({', '.join(names)}) VALUES ({', '.join(marks)})", *values)

    def insert(self, much: int) -> None:
        self._rows([None] * (1 + much % 4))

    def insert_many(self, much: int) -> None:
        self._rows([None] * (5 + much % 30))

    def fill_in(self, much: int) -> None:
        ids = self.ids()
        last = ids[-1] if ids else 1
        taken = set(ids)
        if self.plan.kind == "time as key":  # a row at the time of one that a backup took back is that one, changed
            taken |= {second for second, _, _ in self.ever.values()}
        free = [i for i in range(max(1, last - 300), last) if i not in taken]
        self._rows(free[much % 3 :: 5][: 1 + much % 3])
        if self.plan.kind != "time as key":
            self._rows([last + 2 + much])  # leaves ids free
        self.goes_back = True

    def replace(self, much: int) -> None:
        ids = self.ids()
        if ids:
            self.run(f"DELETE FROM r WHERE {self.kind.key} = ?", ids[much % len(ids)])
            if self.plan.kind != "time as key":
                self._rows([ids[much % len(ids)]])
        self.deleted = True

    def replace_in_its_time(self, much: int) -> None:
        """As `replace`, but the new row's time lies between those of the others."""
        tags = self.by_id() if self.kind.timed and self.kind.keeps_ids else {}
        if not tags or self.plan.kind == "time as key":
            self.replace(much)
            return
        rowid = sorted(tags)[much % len(tags)]
        self.run(f"DELETE FROM r WHERE {self.kind.key} = ?", rowid)
        self._rows([rowid], at=self.ever[tags[rowid]][0] + 1)
        self.deleted = True

    def insert_or_replace(self, much: int) -> None:
        ids = self.ids()
        if self.plan.kind != "time as key":
            self._rows(ids[much % 7 :: 11], "INSERT OR REPLACE")
        self.deleted = True

    def reuse_ids(self, much: int) -> None:
        ids = self.ids()[-1 - much % 4 :]
        self.run(f"DELETE FROM r WHERE {self.kind.key} >= ?", ids[0] if ids else 0)
        self._rows(ids if self.plan.kind != "time as key" else [None])
        self.deleted = True

    def _some(self, condition: str) -> str:
        return f"WHERE sensor_id IN (SELECT sensor_id FROM r {condition})"

    def update_newest(self, much: int) -> None:
        self.run(f"UPDATE r SET note = ? {self._some(f'ORDER BY {self.order} DESC LIMIT 1')}", f"n{much}")
        self.changed = True

    def update_old(self, much: int) -> None:
        self.run(f"UPDATE r SET humidity = humidity + 1 {self._some(f'ORDER BY {self.order} LIMIT {1 + much % 9}')}")
        self.changed = True

    def update_all(self, much: int) -> None:
        self.run("UPDATE r SET note = ?", f"all {much}")
        self.changed = True

    def delete_newest(self, much: int) -> None:
        self.run(f"DELETE FROM r {self._some(f'ORDER BY {self.order} DESC LIMIT {1 + much % 3}')}")
        self._were_deleted()

    def delete_oldest(self, much: int) -> None:
        self.run(f"DELETE FROM r {self._some(f'ORDER BY {self.order} LIMIT {1 + much % 9}')}")
        self._were_deleted()

    def delete_some(self, much: int) -> None:
        self.run("DELETE FROM r WHERE CAST(substr(sensor_id, 2) AS INTEGER) % 5 = ?", much % 5)
        self._were_deleted()

    def _were_deleted(self) -> None:
        if not self.tags():
            self._another_life()
        self.deleted = True

    def empty(self, _much: int) -> None:
        self.run("DELETE FROM r")
        self._were_deleted()

    # -- the table and its file

    def add_column(self, _much: int) -> None:
        self.extra += 1
        self.run(f"ALTER TABLE r ADD COLUMN extra{self.extra} TEXT DEFAULT 'x'")
        self.changed = True

    def _extras(self) -> list[str]:
        return [str(row[1]) for row in self.run("PRAGMA table_info(r)") if str(row[1]).startswith("extra")]

    def rename_column(self, _much: int) -> None:
        self.extra += 1
        for name in self._extras()[:1]:
            self.run(f"ALTER TABLE r RENAME COLUMN {name} TO extra{self.extra}")
        self.changed = True

    def drop_column(self, _much: int) -> None:
        for name in self._extras()[:1]:
            self.run(f"ALTER TABLE r DROP COLUMN {name}")
        self.changed = True

    def vacuum(self, _much: int) -> None:
        self.run("VACUUM")

    def checkpoint(self, _much: int) -> None:
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def journal(self, much: int) -> None:
        with suppress(RuntimeError):  # locked as long as another program has it open
            self.run(f"PRAGMA journal_mode={'DELETE' if much % 2 else 'WAL'}")

    def _copied(self, to: Path) -> None:
        self.checkpoint(0)
        # By a process of its own: to close a file drops the locks that the engine, in this process, has on it.
        subprocess.run(["cp", str(self.path), str(to)], check=True)

    def back_up(self, much: int) -> None:
        self.backup.unlink(missing_ok=True)
        if much % 3 == 0 and self.kind.keeps_ids:
            self.run("VACUUM INTO ?", str(self.backup))
        else:
            self._copied(self.backup)
        self.backup_life = self.life
        self.backed_up = self.by_id()

    def _newest_differ(self) -> bool:
        """Whether the newest row, of the backup or of now, has an id that is another row's in the other one."""
        now, then = self.by_id(), self.backed_up
        return any(a[max(a)] != b.get(max(a), a[max(a)]) for a, b in ((now, then), (then, now)) if a)

    def restore(self, _much: int) -> None:
        if self.backup.exists():
            self.goes_back |= self.backup_life != self.life or self._newest_differ()
            self._away()
            self._removed()
            shutil.copyfile(self.backup, self.path)
            self.open()
            self.life = self.backup_life
            self.deleted = True

    def same_rows_in_another_file(self, _much: int) -> None:
        copy = self.folder / "copy.db"
        self._copied(copy)
        self._away()
        self._removed()
        copy.rename(self.path)
        self.open()

    def recreate_the_file(self, _much: int) -> None:
        self._away()
        self._removed()
        self.open()
        self._create()
        self._another_life()
        self.deleted = True

    def recreate_the_table(self, _much: int) -> None:
        self.run("DROP TABLE r")
        self._create()
        self._another_life()
        self.deleted = True
