"""Processes, measured from outside: wall time, CPU time and peak memory as the kernel counted them.

This process stays small on purpose: a child's peak can never be below the memory of the process that started it
(Linux carries it over in ``exec``).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process.

    Attributes:
        wall: seconds from start to end, start-up included.
        cpu: user and system seconds.
        peak: the most resident memory, in bytes.
        written: bytes in the target folder afterwards.
        rows: rows that it says it brought over.
        seconds: seconds of the work itself, as it says.
    """

    wall: float
    cpu: float
    peak: int
    written: int = 0
    rows: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, float]:
        """For the file of raw results."""
        return asdict(self)


class Failed(Exception):
    """A measured process did not do what it should."""


def run(
    argv: Sequence[str],
    *,
    answers: bool = False,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a command to its end, with its stderr shown only if it fails.

    Args:
        argv: the command.
        answers: whether the last line that it prints is JSON with ``rows`` and ``seconds``.
        directory: where to run it.
        environment: what it has in its environment besides.

    Raises:
        Failed: if it exits with another code than 0.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        before = Path.cwd()
        os.chdir(directory or before)
        try:
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"} | dict(environment or {}),
                file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, err.fileno(), 2)],
            )
        finally:
            os.chdir(before)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        if status:
            said = err.read().decode(errors="replace")[-2000:]
            raise Failed(f"{' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}:\n{said}")
        answer = json.loads(out.read().splitlines()[-1]) if answers else {}
    return Run(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * 1024,
        rows=answer.get("rows", 0),
        seconds=answer.get("seconds", 0.0),
    )


def contender(
    name: str,
    database: Path,
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Run:
    """Run one contender into an empty folder, and remove the folder.

    Raises:
        Failed: if it fails, or the Delta log it leaves counts other rows than it says.
    """
    place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=directory))
    target = place / "table"
    os.sync()  # or the kernel writes what the one before left, at this one's expense
    try:
        module = f"benchmarks.contenders.{name}"
        command = [python, "-m", module, str(database), str(target)]
        found = run(command, answers=True, directory=place, environment=environment)
        logged = delta_rows(target)
        if logged is not None and logged != found.rows:
            raise Failed(f"{name} says it wrote {found.rows} rows, its Delta log has {logged}")
        written = sum(f.stat().st_size for f in target.rglob("*") if f.is_file()) if target.exists() else 0
    finally:
        shutil.rmtree(place)
    return Run(found.wall, found.cpu, found.peak, written, found.rows, found.seconds)


def modes(names: Sequence[str], database: Path, directory: Path) -> Run:
    """Deliver a database in these modes into an empty folder, as users do, and remove the folder.

    Raises:
        Failed: if it fails.
    """
    place = Path(tempfile.mkdtemp(prefix="modes-", dir=directory))
    flags = {"--sqlite": str(database), "--table-path": "lake/readings", "--state-dir": "state", "--node-id": "bench"}
    words = [word for flag in {**flags, "--processing-mode": ",".join(names)}.items() for word in flag]
    os.sync()
    try:
        return run([sys.executable, "-m", "edge_delta", "run", "--once", *words], directory=place)
    finally:
        shutil.rmtree(place)


def delta_rows(folder: Path) -> int | None:
    """Rows that the Delta logs under a folder have added, by their statistics; None if there is no log."""
    logs = [log for log in folder.rglob("_delta_log/*.json") if "/_dlt" not in str(log)]
    if not logs:
        return None
    actions = (json.loads(line) for log in logs for line in log.read_text().splitlines())
    return sum(int(json.loads(action["add"]["stats"])["numRecords"]) for action in actions if "add" in action)


def in_turn(names: Sequence[str], times: int, measure: Callable[[str], Run]) -> dict[str, list[Run]]:
    """Measure A B C A B C …, so that a change in the machine's speed falls on all alike."""
    found: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(times):
        for name in names:
            print(f"run {number + 1} of {times}: {name}", file=sys.stderr)
            found[name].append(measure(name))
    return found


def warm(path: Path) -> None:
    """Read a file once, so that the first contender does not pay for all."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several runs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of these values."""
        every = list(values)
        return cls(statistics.median(every), min(every), max(every))

    def shown(self, digits: int = 2) -> str:
        """As the tables show it: the median, then least and most."""
        if self.least == self.most:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f} to {self.most:,.{digits}f})"


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> Spread:
    """Ratios pair by pair, of runs that stood next to each other."""
    return Spread.of(a / b for a, b in zip(ours, theirs, strict=True) if b)
