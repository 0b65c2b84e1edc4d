"""A history as it happens, and what has to be true of the tables behind it.

What was visible whenever a delivery succeeded is written down here, from the database itself; nothing of the product
is asked for it. A row is told by its tag, which no other row ever has.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable

from edge_delta.core.errors import TwoSources
from tests.histories.database import HOT, Database
from tests.histories.plans import COLUMNS, FILES, READINGS, ROWS, USED_AGAIN, Plan, plan, shrunk, told
from tests.histories.process import Killed, Process
from tests.histories.states import Held, States

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.histories.plans import Step
    from tests.support.sqlite import Sensor

SUFFIXES = {
    "raw": "_0_raw",
    "schematized": "_1_schematized",
    "sanitized": "_2_sanitized",
    "aggregated": "_3_aggregated",
    "emergency": "_4_emergency",
}
WINDOW = 300
TOLD = (
    "rows lost",
    "rows purged before their window closed",
    "rows came too late",
    "rows below the cursor not delivered",
    "source taken for the same",
)
"""Events that say why a window lacks rows."""
HARMLESS = frozenset(
    {"insert", "insert many", "fill in", "update newest", "update old", "update all", "checkpoint", "journal"}
    | {"deliver", "restart", "killed before a commit", "killed after a commit"}
)
"""Steps after which no window lacks a row, so that none may be told."""
FEW = 8
"""Fewer rows, which were all changed and given other ids since they were delivered, may be those of another source."""
FAST = Path("/dev/shm")


class Broken(AssertionError):
    """The tables are not what they have to be."""


class Node:
    """A database, what delivers it, and what was seen of it."""

    def __init__(self, database: Database, process: Process, held: Held) -> None:
        self.database, self.process, self.held = database, process, held
        self.seen: set[str] = set()
        self.states = 0
        self.stopped = self.unknown = False


class World:
    """All that a plan is about.

    Args:
        sensor: the application's process.
        folder: a folder of its own.
        plan: the history.
    """

    def __init__(self, sensor: Sensor, folder: Path, one: Plan) -> None:
        self.folder, self.plan = folder, one
        self.base = str(folder / "lake" / "t")
        self.rows, self.clock = States(), 0.0
        self.nodes = [self._node(sensor, number) for number in range(one.databases)]

    def _node(self, sensor: Sensor, number: int) -> Node:
        folder = self.folder / f"device{number}"
        database = Database(sensor, folder, self.plan, "ab"[number])
        values = {
            "sqlite": str(database.path),
            "sqlite_table_name": "r",
            "table_path": self.base,
            "state_dir": str(folder / "state0"),
            "node_id": f"n{number}",
            "once": self.plan.once,
            "retry_for": 0.5,
            "processing_mode": list(self.plan.modes),
            "max_batch_size": self.plan.batch,
            "sweep": "0" if self.plan.swept else "1000000",
            "config": str(folder / "settings.toml"),
        }
        if self.plan.table.timed:
            values["timestamp_col"] = "timestamp"
        group = "model" if self.plan.by_group else "sensor_id"
        (folder / "settings.toml").write_text(
            f"settle = {self._settle()}\n{self._updates()}"
            f'[aggregate]\nwindow_minutes = {WINDOW // 60}\nallowed_lateness = 0\ngroup_by = ["{group}"]\n'
            'aggregations = { temperature = ["min", "max"] }\n'
            f"[emergency]\nseverity_thresholds = {{ temperature = {HOT} }}\nanomaly_flag = false\n"
        )
        process = Process(values, once=self.plan.once, clock=lambda: self.clock)
        return Node(database, process, Held(self.plan.settle))

    def _updates(self) -> str:
        return 'on_update = "append"\nupdate_window = 1000000\n' if self.plan.appends else ""

    def _settle(self) -> int:
        return self.plan.settle

    # -- what happens

    def run(self, *, judged: bool = True) -> None:
        """All steps, a last delivery, and what has to be true then, also by ``verify``, which costs a third of it."""
        try:
            for step in self.plan.steps:
                node = self.nodes[step.database]
                if not node.stopped:
                    self._do(node, step)
            for node in self.nodes:
                if not node.stopped:
                    self._before_the_sweep(node)
                    self._finish(node)
            self._check()
            for node in self.nodes if judged else ():
                if not node.stopped:
                    self._judged(node)
        finally:
            for node in self.nodes:
                node.process.kill()

    def _do(self, node: Node, step: Step) -> None:
        node.database.open()
        self.clock += 5 + step.much % 16
        before, there = len(node.database.ever), node.database.states()
        if step.name == "vacuum" and not node.database.kind.keeps_ids:
            changed = self.rows.changed(there)
            node.unknown |= len(changed) < FEW and all(changed)
        if step.name in FILES:  # a file that goes is read to its end
            self.rows.delivered(there, sure=False)
        if step.name in ROWS or step.name in FILES:
            getattr(node.database, step.name.replace(" ", "_"))(step.much)
        elif step.name == "restart":
            node.process.stop()
        elif step.name == "kill":
            node.process.kill()
        elif step.name == "lose state":
            node.process.stop()
            node.states += 1
            node.process.values["state_dir"] = str(node.database.folder / f"state{node.states}")
        else:
            if step.name != "deliver":
                node.process.killer.arm(step.name.removeprefix("killed "), step.much % 4)
            self._deliver(node)
            node.process.killer.arm("", 0)
        node.held.happened(step.name, list(node.database.ever)[before:], self.clock)

    def _deliver(self, node: Node) -> None:
        there, sure = node.database.states(), False
        try:
            node.process.deliver()
            sure = self.plan.swept
        except Killed:
            node.held.forget()
        except TwoSources as error:
            self._two(node, error)
        settled = node.held.settled(there, self.clock) if sure else set()
        self.rows.delivered({tag: there[tag] for tag in settled}, sure=True)
        self.rows.delivered(there, sure=False)
        node.seen |= settled
        self._none_early(node)

    def _none_early(self, node: Node) -> None:
        mode = self.plan.modes[0]
        if not self.plan.settle or mode == "aggregated" or node.database.kind.key is None:
            return
        early = node.held.early(self._tags(mode), self.clock)
        if early:
            raise Broken(f"{mode}: delivered before they were settled: {early[:8]}")

    def _two(self, node: Node, error: TwoSources) -> None:
        node.stopped = True
        if not node.database.goes_back:
            raise Broken(f"it stopped though no earlier database came back: {error}")

    def _before_the_sweep(self, node: Node) -> None:
        """Where nobody looked below the cursor, `verify` says so."""
        mode = self.plan.modes[0]
        if self.plan.swept or self.plan.settle or mode not in READINGS or node.database.kind.key is None:
            return
        node.database.open()
        self._deliver(node)
        if node.stopped or not self._exists(mode):
            return
        missing = node.database.tags() - set(self._tags(mode))
        node.process.stop()
        [report] = [one for one in node.process.verify() if one.mode == mode]
        if missing and report.equal:
            raise Broken(f"verify says equal, and {sorted(missing)[:5]} are in no table")

    def _finish(self, node: Node) -> None:
        node.database.open()
        there = node.database.states()
        self.rows.delivered(there, sure=True)
        try:
            node.process.finish()
        except TwoSources as error:
            self._two(node, error)
            return
        node.seen |= there.keys()

    def _judged(self, node: Node) -> None:
        """Where all is well, `verify` says so; what the application changed later is all that it may name."""
        node.database.open()
        for report in node.process.verify():
            odd = dict(report.counts)
            if node.database.changed and not (self.plan.appends and report.mode in READINGS):
                odd.pop("cell", None)
            if node.database.deleted:
                odd.pop("lost", None)
            excused = report.mode in ("aggregated", "emergency") and not self._harmless
            if excused and self._events(report.mode, *TOLD, "source reset"):
                odd = {}  # what was told already, it finds too
            if odd:
                raise Broken(f"verify says {odd} where all is well: {[d.detail for d in report.differences][:3]}")

    # -- what is true then

    def _exists(self, mode: str) -> bool:
        return DeltaTable.is_deltatable(self.base + SUFFIXES[mode])

    def _read(self, mode: str) -> pl.DataFrame:
        return pl.scan_delta(self.base + SUFFIXES[mode]).collect()

    def _tags(self, mode: str) -> list[str]:
        if not self._exists(mode):
            return []
        return self._read(mode)["sensor_id"].to_list()

    def _check(self) -> None:
        ever = {tag: row for node in self.nodes for tag, row in node.database.ever.items()}
        seen = {tag for node in self.nodes for tag in node.seen}
        for mode in self.plan.modes:
            if mode == "aggregated":
                self._windows(ever, seen)
            elif mode == "emergency":
                hot = {tag for tag, (_, _, degrees) in ever.items() if degrees > HOT}
                found = self._tags(mode)
                found = sorted(set(found)) if self._may_repeat(mode) else found
                self._each_once(mode, found, (seen & hot) - self._unsure(mode), hot)
            else:
                tags = self._tags(mode)
                again = self.plan.appends or self._may_repeat(mode)
                self._each_once(mode, sorted(set(tags)) if again else tags, seen, ever)
                self._in_their_states(mode)

    def _in_their_states(self, mode: str) -> None:
        if not self._exists(mode):
            return
        names = {step.name for step in self.plan.steps}
        # A row that is back under its id, after another one had it, is the state of now.
        twice = not names.isdisjoint(COLUMNS) or ("restore" in names and not names.isdisjoint(USED_AGAIN))
        wrong = self.rows.wrong_in(self._read(mode), appends=self.plan.appends, twice=twice)
        if wrong is not None:
            raise Broken(f"{mode}: {wrong}")

    def _events(self, mode: str, *names: str) -> list[dict[str, Any]]:
        said = [event for node in self.nodes for event in node.process.events()]
        return [event for event in said if event["event"] in names and event.get("mode") == mode]

    def _may_repeat(self, mode: str) -> bool:
        """Whether it was told that rows may come again which nothing tells, where no table of readings is beside."""
        resets = self._events(mode, "source reset")
        return any("unsure_until" in e for e in resets) or (bool(resets) and any(n.unknown for n in self.nodes))

    def _unsure(self, mode: str) -> set[str]:
        """Rows of which it was told that they may be missing, and those that are there no more to be asked about."""
        if self._events(mode, "source taken for the same"):
            return {tag for node in self.nodes for tag in node.seen}
        ranges = [e for e in self._events(mode, "rows below the cursor not delivered") if "first_id" in e]
        if not ranges:
            return set()
        unsure: set[str] = set()
        for node in self.nodes:
            node.database.open()
            there = node.database.by_id()
            unsure |= node.seen - set(there.values())
            unsure |= {tag for i, tag in there.items() for e in ranges if e["first_id"] <= i <= e["last_id"]}
        return unsure

    def _each_once(self, mode: str, found: list[str], wanted: Iterable[str], possible: Iterable[str]) -> None:
        twice = sorted(tag for tag, times in Counter(found).items() if times > 1)
        missing, strange = sorted(set(wanted) - set(found)), sorted(set(found) - set(possible))
        if twice:
            raise Broken(f"{mode}: delivered again: {twice[:8]} and so on, {len(twice)}")
        if missing:
            raise Broken(f"{mode}: never delivered: {missing[:8]} and so on, {len(missing)}")
        if strange:
            raise Broken(f"{mode}: not from here: {strange[:8]}")

    @property
    def _harmless(self) -> bool:
        return self.plan.table.keeps_ids and all(step.name in HARMLESS for step in self.plan.steps)

    def _windows(self, ever: dict[str, tuple[int, str, float]], seen: set[str]) -> None:
        group = "model" if self.plan.by_group else "sensor_id"

        def counted(tags: Iterable[str]) -> Counter[tuple[int, str]]:
            return Counter((ever[t][0] // WINDOW * WINDOW, ever[t][1] if group == "model" else t) for t in tags)

        most, least, found = counted(ever), counted(seen), Counter[tuple[int, str]]()
        if self._exists("aggregated"):
            for start, name, rows in self._read("aggregated").select("window_start", group, "record_count").rows():
                found[int(start.timestamp()), name] += rows
        for window in found:
            if found[window] > most[window] and not self._may_repeat("aggregated"):
                raise Broken(f"aggregated: window {window} counts {found[window]} rows of {most[window]}")
        told = [event.get("rows") for event in self._events("aggregated", *TOLD)]
        if told and self._harmless:
            raise Broken(f"aggregated: {told} rows are told where all are there")
        missing = {window: least[window] - found[window] for window in least if found[window] < least[window]}
        if missing and None not in told and sum(missing.values()) > sum(told):
            window = min(missing)
            raise Broken(
                f"aggregated: window {window} lacks {missing[window]} of {least[window]} rows, {told} are told"
            )


def happens(sensor: Sensor, one: Plan, *, judged: bool = True) -> str | None:
    """Let a plan happen; what is wrong behind it, in words."""
    where = Path(tempfile.mkdtemp(prefix="history", dir=FAST if FAST.is_dir() else None))
    try:
        World(sensor, where, one).run(judged=judged)
    except Exception as error:  # noqa: BLE001 - whatever a history comes to is a finding
        return f"{type(error).__name__}: {error}"
    finally:
        sensor.open(where / "aside.db")
        shutil.rmtree(where, ignore_errors=True)
    return None


def story(sensor: Sensor, seed: int, *, shorten: bool = True) -> str | None:
    """Let the history of a seed happen; if something is wrong, it in words, in its shortest form."""
    one = plan(seed)
    wrong = happens(sensor, one)
    if wrong is None:
        return None
    if not shorten:
        return told(one, wrong)
    short = shrunk(one, lambda other: _kind(happens(sensor, other)) == _kind(wrong))
    return told(short, happens(sensor, short) or wrong)


def _kind(wrong: str | None) -> str | None:
    """What two findings have in common if they are one: they begin alike."""
    return None if wrong is None else " ".join(wrong.split()[:3])
