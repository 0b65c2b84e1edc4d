"""``python -m tools.box``: a machine like a small single-board computer, made of limits of the kernel.

One core, a hard limit of memory (no swap), and a disk that reads and writes so many bytes a second, on which the
program, its packages, the database, the state and the tables are; it is mounted anew before each run, so that nothing
of it is in memory. There a million rows are delivered in one mode and in all, windows of a week with quantiles are
written, and a device with default settings lives through a day of cycles by a moved clock (`tools.year`). The figures
go into docs/benchmarks.md as they come. A delivery that takes longer than ``--minutes`` is ended, and the page says so.
Needs root, groups with limits (`tests.support.cgroup`) and loop devices; what cannot be had of the slow disk is said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import report
from benchmarks.__main__ import machine
from benchmarks.generate import generate
from tests.support.cgroup import NoGroups, limited
from tests.support.command import clean_environment
from tools.powercut import mounted, possible
from tools.year import Year

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cgroup import Group

ROOT = Path(__file__).parent.parent
MIB = 2**20
DISK_BYTES = 4 * 2**30
BYTES_PER_SECOND = 20_000_000
"""What a card of the kind that such machines boot from writes and reads, about."""
ALL = "raw,schematized,sanitized,aggregated,emergency"
WEEK = {
    "window_minutes": 10_080,
    "aggregations": {"temperature": ["mean", "min", "max", "median", "p95"], "humidity": ["mean", "median"]},
}
CASES = ("schematized", ALL, "week")
MEMORY = (256, 128)
COMMITS_A_DAY = 288


class Box:
    """The machine.

    Args:
        directory: where its disk is kept.
        rows: of the database.
        limit: seconds after which a delivery is ended.
    """

    def __init__(self, directory: Path, rows: int, limit: float) -> None:
        self._directory = directory
        self._limit = limit
        self._rows = rows
        self._image = directory / "disk.img"
        self.slow = True

    def prepare(self) -> None:
        """The disk with the program and the database on it."""
        with self._image.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)
        with mounted(self._image, self._directory / "disk") as disk:
            _install(disk / "program")
            generate(disk / "readings.db", self._rows)

    def deliver(self, case: str, memory: int) -> dict[str, Any]:
        """Deliver all rows; what it took."""
        with self._started(memory * MIB) as (disk, group):
            for old in ("lake", "state"):
                shutil.rmtree(disk / old, ignore_errors=True)
            mode, more = ("aggregated", ["--flush"]) if case == "week" else (case, [])
            words = [
                "--sqlite",
                disk / "readings.db",
                "--table-path",
                disk / "lake" / "r",
                "--state-dir",
                disk / "state",
            ]
            words += ["--node-id", "box", "--processing-mode", mode, "--max-memory", f"{memory} MiB", "--once", *more]
            environment = clean_environment() | {"PYTHONPATH": str(disk / "program"), "PYTHONDONTWRITEBYTECODE": ""}
            if case == "week":
                environment["AGGREGATE_CONFIG"] = json.dumps(WEEK)
            with tempfile.TemporaryFile() as said:
                started = time.perf_counter()
                process = subprocess.Popen(
                    [sys.executable, "-m", "edge_delta", *map(str, words)],
                    env=environment,
                    cwd=disk,
                    stderr=said,
                    preexec_fn=_on_one_core(group),  # noqa: PLW1509 - this process has no other thread then
                )
                too_long = threading.Timer(self._limit, process.kill)
                too_long.start()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                too_long.cancel()
                too_long.join()
                wall = time.perf_counter() - started
                over = wall >= self._limit and process.returncode == -signal.SIGKILL
                said.seek(0)
                if process.returncode and not over:
                    sys.stderr.write(said.read().decode(errors="replace")[-2_000:])
            cpu = usage.ru_utime + usage.ru_stime
            return {
                "case": case,
                "memory": memory,
                "code": process.returncode,
                "killed": group.killed(),
                "over": over,
                "wall": wall,
                "cpu": cpu,
                "peak": group.peak(),
            }

    def day(self, memory: int) -> dict[str, Any]:
        """A day of cycles with default settings."""
        with self._started(memory * MIB) as (disk, group):
            folder = disk / "day"
            folder.mkdir()
            started = time.perf_counter()
            moments = list(Year(folder, entering=_on_one_core(group)).run(1, COMMITS_A_DAY, lines=4))
            return {
                "memory": memory,
                "commits": sum(m.commits for m in moments),
                "upkeeps": sum(m.upkeeps for m in moments),
                "cpu_ms": moments[-1].cpu_ms,
                "resident_mb": moments[-1].resident_mb,
                "killed": group.killed(),
                "wall": time.perf_counter() - started,
                "peak": group.peak(),
            }

    @contextlib.contextmanager
    def _started(self, memory: int) -> Iterator[tuple[Path, Group]]:
        with mounted(self._image, self._directory / "disk") as disk, limited(memory) as group:
            number = disk.stat().st_dev
            self.slow &= group.slow_disk(f"{os.major(number)}:{os.minor(number)}", BYTES_PER_SECOND)
            yield disk, group


def _on_one_core(group: Group) -> Any:
    def enter() -> None:
        group.enter()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    return enter


def _install(program: Path) -> None:
    """What a device has of packages, copied from those that run this."""
    for line in (ROOT / "requirements.lock").read_text(encoding="ascii").splitlines():
        name, pinned, _ = line.partition("==")
        if not pinned or line.startswith((" ", "#")):
            continue
        with contextlib.suppress(PackageNotFoundError):  # it is for another system
            for file in files(name) or ():
                if ".." not in file.parts and (source := Path(str(file.locate()))).is_file():
                    (program / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, program / file)
    shutil.copytree(ROOT / "edge_delta", program / "edge_delta")


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="where benchmarks.json and its page are")
    parser.add_argument("--minutes", type=float, default=20, help="after which a delivery is ended (20)")
    parser.add_argument("--directory", type=Path, help="for the disk (default: a temporary one)")
    options = parser.parse_args()
    if not possible():
        sys.exit("NOT TESTED: no file system can be mounted from a file here; run as root, with loop devices")
    bad = False
    with tempfile.TemporaryDirectory(prefix="box-", dir=options.directory) as place:
        try:
            for figures in measured(Box(Path(place), options.rows, 60 * options.minutes), options.rows):
                bad = recorded(figures, options.output)
        except NoGroups as error:
            sys.exit(f"NOT TESTED: no group of processes with a limit can be made here: {error}")
    sys.exit(1 if bad else 0)


def recorded(figures: dict[str, Any], output: Path) -> bool:
    """Write the page; returns whether anything was killed or failed."""
    raw = output / "benchmarks.json"
    results = json.loads(raw.read_text(encoding="utf-8")) if raw.exists() else {}
    results["box"] = {"on": machine(), "at": datetime.now(UTC).date().isoformat(), "figures": figures}
    output.mkdir(parents=True, exist_ok=True)
    raw.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report.write(results, output, plot=False)
    done = [*figures["runs"], *([figures["day"]] if figures["day"] else [])]
    return any(run["killed"] or (run.get("code") and not run["over"]) for run in done)


def measured(box: Box, rows: int) -> Iterator[dict[str, Any]]:
    """All figures so far, each time that there are more: what takes longest last."""
    box.prepare()
    figures: dict[str, Any] = {"rows": rows, "runs": [], "day": None, "bytes_per_second": BYTES_PER_SECOND}
    for memory in MEMORY:
        for case in CASES:
            figures["runs"].append(box.deliver(case, memory))
            sys.stdout.write(f"{figures['runs'][-1]}\n")
            sys.stdout.flush()
            yield figures | {"slow": box.slow}
        if figures["day"] is None:
            figures["day"] = box.day(memory)
            sys.stdout.write(f"{figures['day']}\n")
            sys.stdout.flush()
            yield figures | {"slow": box.slow}


if __name__ == "__main__":
    main()
