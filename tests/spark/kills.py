"""The fleet job on Spark, killed at random moments beside devices that go on: every row of every mode once.

``python -m tests.spark.kills``. The devices are made by the real command, in all modes; one in ten gains a column, has
rows that are rejected and windows that are corrected, gets its database back from a backup, or goes back to an earlier
version of a table and delivers again; one is deleted when all of it is taken. While the job is killed with its Java,
again and again, from the first round on, they commit, and ``edge-delta maintain`` joins their files, cleans their logs
and deletes what the job may be reading. Then the job ends once, and each row that a device's tables hold has to be in
the fleet's tables, once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from edge_delta.gather.takings import SHAPES
from tests.conftest import lake_at
from tests.spark.beside import bucket_of
from tests.spark.living import Living
from tests.support.gathering import assert_same
from tests.support.weed import Weed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tables import Place

READINGS = SHAPES["schematized"].suffix
ROOT = Path(__file__).parents[2]
_NONE = pl.DataFrame(schema={"node_id": pl.String})
_LONGER = 1.2
"""Kills come within so many times the last whole round: the next one may find more to do."""


@dataclass(frozen=True)
class Plan:
    """How many devices there are, how often the job is killed, and for how many minutes at most."""

    devices: int
    kills: int
    seed: int
    minutes: float = math.inf


@dataclass
class Ended:
    """What became of one run of the job.

    Attributes:
        how: "killed", "done" or "failed".
        step: what it was about last.
        seconds: since Spark was up.
        rows: that it wrote, if it was done.
        told: of devices that it could not take.
    """

    how: str
    step: str
    seconds: float
    rows: int = 0
    told: list[str] = field(default_factory=list)


class Rounds:
    """The job, run again and again.

    Args:
        fleet: the devices.
    """

    def __init__(self, fleet: Living) -> None:
        self._fleet = fleet
        self._number = 0

    def run(self, after: float | None = None) -> Ended:
        """Run the job, and kill it with all that it started after so many seconds, unless it is over before."""
        process, log = self._started()
        began = time.monotonic()
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - began
        assert process.stdout is not None
        with process, process.stdout as said:
            lines = said.read().splitlines()
        step = next((line[5:] for line in reversed(lines) if line.startswith("step ")), "looks for devices")
        done = next((line for line in lines if line.startswith("done ")), None)
        told = [line[5:] for line in lines if line.startswith("told ")]
        if done:
            return Ended("done", "", seconds, int(done[5:]), told)
        if process.returncode == -signal.SIGKILL:
            return Ended("killed", step, seconds, told=told)
        wrong = [line for line in log.read_text().splitlines() if "Error" in line or "Exception" in line]
        return Ended("failed", step, seconds, told=[*told, *wrong[-1:]])

    def _started(self) -> tuple[subprocess.Popen[str], Path]:
        """The job as a process, with Spark up."""
        self._number += 1
        folder = self._fleet.root / f"job-{self._number}"
        folder.mkdir()
        tables, into = (base.replace("s3://", "s3a://") for base in (self._fleet.tables, self._fleet.fleet.base))
        words = [str(folder), ",".join(SHAPES), tables, into, *filter(None, [self._fleet.store.url])]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.spark.job", *words],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Spark is a process of its own, and has to go with it
            )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (folder / "log").read_text()
        return process, folder / "log"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def kill(fleet: Living, rounds: Rounds, plan: Plan, seconds: float) -> Counter[str]:
    """Kill the job so often; how many rounds came to what, and which steps they were killed in."""
    found, chance, until = Counter[str](), random.Random(plan.seed), time.monotonic() + plan.minutes * 60
    while found["killed"] < plan.kills and time.monotonic() < until:
        fleet.may_delete = found["killed"] >= plan.kills // 2
        before = commits(fleet)
        ended = rounds.run(chance.uniform(0, _LONGER * seconds))
        seconds = ended.seconds if ended.how == "done" else seconds
        now = commits(fleet)
        new = {mode: now[mode] - before[mode] for mode in now if now[mode] != before[mode]}
        found[ended.how] += 1
        if ended.how == "killed":
            found[f"in: {ended.step}"] += 1
        rows = fleet.fleet.read(READINGS).height if now["schematized"] >= 0 else 0
        what = f"in: {ended.step}" if ended.step else f"{ended.rows} rows"
        about = f"{ended.how} after {ended.seconds:.1f} s, {what}"
        say(f"{found['killed']:3} {about}; commits {new or 'none'}; {rows} readings")
        for line in ended.told:
            say(f"    {line}")
    return found


def commits(fleet: Living) -> dict[str, int]:
    """The versions of the fleet's tables."""
    places = {mode: shape.suffix for mode, shape in SHAPES.items()}
    return {mode: fleet.fleet.table(s).version() if fleet.fleet.exists(s) else -1 for mode, s in places.items()}


def differences(fleet: Living) -> Iterator[str]:
    """What is not in the fleet's tables as it is in the devices'."""
    for mode, shape in SHAPES.items():
        ours = _read(fleet.fleet, shape.suffix)
        theirs = [fleet.wanted(number, shape.suffix) for number in fleet.numbers]
        wanted = pl.concat([_NONE, *(frame for frame in theirs if frame is not None)], how="diagonal")
        taken_back = fleet.taken_back if shape.suffix == READINGS else {}
        plain = ~pl.col("node_id").is_in(list(taken_back))
        try:
            assert_same(ours.filter(plain), wanted.filter(plain))
        except AssertionError as error:
            yield f"{mode}: {error}"
        key = [name for name in (*shape.key, "sensor_id") if name in ours.columns]
        if (repeated := ours.select(key).is_duplicated().sum()) and mode != "rejected":
            yield f"{mode}: {repeated} rows of keys that are there more than once"
        for node, once in taken_back.items():
            mine, its = (frame.filter(node_id=node) for frame in (ours, wanted))
            if missing := its.join(mine, on=its.columns, how="anti", nulls_equal=True).height:
                yield f"{mode}: {missing} rows of {node} are missing"
            known = pl.concat([its, once], how="diagonal")
            if strange := mine.join(known, on=known.columns, how="anti", nulls_equal=True).height:
                yield f"{mode}: {strange} rows of {node} are in no version of its table"
    raw = _read(fleet.fleet, SHAPES["raw"].suffix)
    for number, ids in fleet.ids().items():
        if lost := ids - set(raw.filter(node_id=fleet.name(number))["source_rowid"]):
            yield f"raw: {len(lost)} rows of the database of {fleet.name(number)} are missing"


def _read(place: Place, suffix: str) -> pl.DataFrame:
    return place.read(suffix) if place.exists(suffix) else _NONE


def unused(fleet: Living) -> int:
    """Files of the fleet's tables, in a folder, that no commit has: those of rounds that were killed while writing."""
    found = 0
    for shape in SHAPES.values():
        folder = Path(fleet.fleet.uri(shape.suffix))
        lines = [line for file in folder.glob("_delta_log/*.json") for line in file.read_text().splitlines()]
        known = {action["add"]["path"] for action in map(json.loads, lines) if "add" in action}
        found += sum(path.name not in known for path in folder.glob("*.parquet"))
    return found


def run(root: Path, plan: Plan, store: Place | None = None) -> list[str]:
    """All of it; what is wrong at the end."""
    fleet, began = Living(root, plan.devices, plan.seed, store), time.monotonic()
    for _ in range(2):
        fleet.each(fleet.add, fleet.numbers)
    say(f"{plan.devices} devices with two commits to each table, in {time.monotonic() - began:.0f} s")
    rounds, stop = Rounds(fleet), threading.Event()
    first = rounds.run()
    say(f"a whole round: {first.how} after {first.seconds:.1f} s, {first.rows} rows; its tables are removed")
    fleet.forget()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(fleet.each, lambda _: fleet.go_on(stop), [0])
        try:
            found = kill(fleet, rounds, plan, first.seconds)
        finally:
            stop.set()
        beside.result()
    say(f"{dict(found)} in {time.monotonic() - began:.0f} s; beside it {dict(fleet.done)}")
    last, nothing = rounds.run(), rounds.run()
    say(f"the last round: {last.how} after {last.seconds:.1f} s, {last.rows} rows; one more: {nothing.rows}")
    wrong = [*differences(fleet), *last.told]
    wrong += [f"a round that ended {ended.how}" for ended in (first, last, nothing) if ended.how != "done"]
    wrong += [f"{nothing.rows} rows came once more"] * bool(nothing.rows)
    for mode, shape in SHAPES.items():
        say(f"{mode}: {_read(fleet.fleet, shape.suffix).height} rows")
    if store is None:
        say(f"{unused(fleet)} files that killed rounds left, in no commit")
    return wrong


def main() -> int:
    """Run it; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=40)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--store", action="store_true", help="tables on a local S3 server instead of in a folder")
    parser.add_argument("--minutes", type=float, default=math.inf, help="kill no more after so many minutes")
    options = parser.parse_args()
    say(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        store = None
        if options.store:
            server = Weed(Path(name))
            stack.callback(server.stop)
            lake = lake_at(server.url, bucket_of(server))
            store = replace(lake, base=lake.base.rpartition("/")[0])
        plan = Plan(options.devices, options.kills, options.seed, options.minutes)
        wrong = run(Path(name), plan, store)
    for line in wrong:
        say(f"WRONG: {line}")
    say("different" if wrong else "every row of every mode once")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
