"""Random histories: which database, delivered how, and what happens to it. A seed makes one, always the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COLUMNS = "sensor_id TEXT, timestamp {time}, temperature REAL, humidity REAL, model TEXT, note TEXT"


@dataclass(frozen=True)
class Kind:
    """A kind of table.

    Attributes:
        declaration: its columns; ``{time}`` is the declaration of the time column.
        key: the column by which rows are named here; None where only their time has an order.
        options: what stands behind the declaration.
        timed: whether it has a time column.
        keeps_ids: whether VACUUM leaves the ids as they are.
        reuses: whether an id that is used again can be told from the row that had it before.
        lasting: whether ids are a column of its own, so that a row's new state can be told from another row.
    """

    declaration: str
    key: str | None = "rowid"
    options: str = ""
    timed: bool = True
    keeps_ids: bool = True
    reuses: bool = True
    lasting: bool = False


KINDS = {
    "integer primary key": Kind("id INTEGER PRIMARY KEY, " + _COLUMNS, lasting=True),
    "autoincrement": Kind("id INTEGER PRIMARY KEY AUTOINCREMENT, " + _COLUMNS, lasting=True),
    "descending": Kind("id INTEGER PRIMARY KEY DESC, " + _COLUMNS, keeps_ids=False),
    "plain": Kind(_COLUMNS, keeps_ids=False),
    "text key": Kind(_COLUMNS.replace("sensor_id TEXT", "sensor_id TEXT PRIMARY KEY"), keeps_ids=False),
    "time as key": Kind(_COLUMNS.replace("{time}", "INTEGER PRIMARY KEY"), lasting=True),
    "key without rowid": Kind("id INTEGER PRIMARY KEY, " + _COLUMNS, "id", "WITHOUT ROWID"),
    "in order of time": Kind(_COLUMNS + ", PRIMARY KEY (timestamp, sensor_id)", None, "WITHOUT ROWID"),
    "no time": Kind(
        "id INTEGER PRIMARY KEY AUTOINCREMENT, sensor_id TEXT, temperature REAL, humidity REAL, model TEXT, note TEXT",
        timed=False,
        reuses=False,
        lasting=True,
    ),
}
TIMES = {
    "iso": ("TEXT", "strftime('%Y-%m-%dT%H:%M:%SZ', ?, 'unixepoch')"),
    "local": ("DATETIME", "strftime('%Y-%m-%d %H:%M:%S', ?, 'unixepoch')"),
    "seconds": ("INTEGER", "?"),
    "milliseconds": ("INTEGER", "1000 * ?"),
    "text of seconds": ("TEXT", "CAST(? AS TEXT)"),
    "offset": ("TEXT", "strftime('%Y-%m-%dT%H:%M:%S+0000', ?, 'unixepoch')"),
}
"""How a time is declared, and written from seconds since 1970."""
READINGS = ("raw", "schematized", "sanitized")
"""Modes whose tables have a row for each row of the source."""
MODES = ("raw", "schematized", "sanitized", "aggregated", "emergency")
ROWS = {
    "insert": 10,
    "insert many": 4,
    "fill in": 4,
    "replace": 4,
    "replace in its time": 3,
    "insert or replace": 3,
    "reuse ids": 3,
    "update newest": 4,
    "update old": 3,
    "update all": 2,
    "delete newest": 3,
    "delete oldest": 3,
    "delete some": 3,
    "empty": 1,
}
FILES = {
    "add column": 3,
    "rename column": 2,
    "drop column": 2,
    "vacuum": 2,
    "back up": 4,
    "restore": 4,
    "same rows in another file": 2,
    "recreate the file": 2,
    "recreate the table": 1,
    "journal": 2,
    "checkpoint": 1,
}
RUNS = {
    "deliver": 26,
    "restart": 4,
    "kill": 3,
    "killed before a commit": 4,
    "killed after a commit": 4,
    "lose state": 2,
}
STEPS = ROWS | FILES | RUNS
COLUMNS = ("add column", "rename column", "drop column")
USED_AGAIN = ("replace", "replace in its time", "insert or replace", "reuse ids")


@dataclass(frozen=True)
class Step:
    """What happens, how much of it, and to which of the databases."""

    name: str
    much: int
    database: int = 0


@dataclass(frozen=True)
class Plan:
    """One history.

    Attributes:
        seed: what it was made of.
        kind: see `KINDS`.
        time: see `TIMES`.
        modes: of these tables.
        once: whether each delivery is a process of its own, else it goes on living.
        swept: whether every delivery looks below the cursor; else only the last one does.
        databases: how many, each with a node id of its own, in the same tables.
        batch: the most rows in a commit.
        by_group: whether windows are of groups of rows, else of single ones.
        steps: what happens.
        appends: whether new states of updated rows are delivered.
        settle: seconds that rows are held back; each step takes some.
    """

    seed: int
    kind: str
    time: str
    modes: tuple[str, ...]
    once: bool
    swept: bool
    databases: int
    batch: int
    by_group: bool
    steps: tuple[Step, ...]
    appends: bool = False
    settle: int = 0

    @property
    def table(self) -> Kind:
        """The kind of table."""
        return KINDS[self.kind]

    def short(self) -> Plan:
        """Its beginning, which costs half: histories of a test run."""
        return replace(self, steps=self.steps[: 2 * self.databases + 5])


def plan(seed: int) -> Plan:
    """The history of a seed."""
    draw = random.Random(seed)
    kind = draw.choice(sorted(KINDS))
    time = "seconds" if kind == "time as key" else draw.choice(sorted(TIMES))
    modes = tuple(draw.sample(MODES, 1 if draw.random() < 0.75 else draw.randint(2, 3)))
    if not KINDS[kind].timed:
        modes = tuple(m for m in modes if m in ("raw", "schematized")) or ("raw",)
    databases = 2 if draw.random() < 0.1 else 1
    steps = tuple(_steps(draw, kind, databases))
    one = Plan(
        seed,
        kind,
        time,
        modes,
        once=draw.random() < 0.5,
        swept=draw.random() < 0.8,
        databases=databases,
        batch=draw.choice([3, 10, 1000, 1000]),
        by_group=draw.random() < 0.5,
        steps=steps,
    )
    appends = draw.random() < 0.4 and KINDS[kind].lasting and any(mode in READINGS for mode in modes)
    return replace(one, appends=appends, settle=30 if draw.random() < 0.15 else 0)


def _steps(draw: random.Random, kind: str, databases: int) -> Iterator[Step]:
    table = KINDS[kind]
    weights = dict(STEPS)
    for name in () if table.reuses and table.key else ("fill in", *USED_AGAIN):
        del weights[name]
    names = draw.choices(list(weights), list(weights.values()), k=draw.randint(4, 14))
    for database in range(databases):
        yield Step("insert many", draw.randint(0, 40), database)
        yield Step("deliver", 0, database)
    for name in names:
        yield Step(name, draw.randint(0, 50), draw.randrange(databases))


def shrunk(one: Plan, fails: Callable[[Plan], bool], *, tries: int = 60) -> Plan:
    """A shorter history that fails too: steps are left out, larger portions first."""
    portion = max(1, len(one.steps) // 2)
    while tries and portion:
        at, shorter = 0, False
        while at < len(one.steps) and tries:
            fewer = replace(one, steps=one.steps[:at] + one.steps[at + portion :])
            tries -= 1
            if fails(fewer):
                one, shorter = fewer, True
            else:
                at += portion
        portion = portion if shorter and portion == 1 else portion // 2
    for changed in ({"modes": (mode,)} for mode in one.modes if len(one.modes) > 1):
        if fails(replace(one, **changed)):
            return replace(one, **changed)
    return one


def told(one: Plan, wrong: str) -> str:
    """A history in words."""
    how = f"{one.kind}, times as {one.time}, modes {' '.join(one.modes)}, batches of {one.batch}"
    flags = [name for name in ("once", "swept", "by_group", "appends", "settle") if getattr(one, name)]
    steps = "; ".join(f"{s.name} {s.much}" + (f" ({'ab'[s.database]})" if one.databases > 1 else "") for s in one.steps)
    return f"seed {one.seed} [{how}, {', '.join(flags)}]: {steps}\n    {wrong}"
