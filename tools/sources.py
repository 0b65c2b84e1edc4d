"""Databases as real programs write them, each delivered once a second, with `verify` beside it.

``python -m tools.sources --minutes 10``: Home Assistant's states and statistics, WeeWX's archive, a ring of 100 slots,
and sessions that are completed after they began (`tests.support.program_writers`). At the end every row that was ever
committed is in its table once, and `verify` finds nothing to say. Where a busy machine lets a sweep come later than a
turn of the ring, rows are overwritten that nobody has read: such a sweep has to say so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import program_writers
from tests.support.command import EdgeDelta
from tests.support.tables import Place

if TYPE_CHECKING:
    from tests.support.command import Running

_SWEEP = "4"
"""Seconds between sweeps: a turn of the ring takes 25."""


@dataclass(frozen=True)
class Kind:
    """One program's table.

    Attributes:
        key: its key.
        time: the column with its times.
        changing: columns that the program changes after it has written a row.
        modes: what is delivered of it.
        config: more settings, in TOML.
    """

    key: str
    time: str
    changing: str | None = None
    modes: tuple[str, ...] = ("raw",)
    config: str = ""


KINDS = {
    "states": Kind("state_id", "last_updated_ts", "last_reported_ts,old_state_id"),
    "statistics": Kind("id", "start_ts", "sum"),
    "archive": Kind(
        "dateTime",
        "dateTime",
        modes=("raw", "aggregated", "emergency"),
        config=(
            '[aggregate]\nwindow_minutes = 10\ngroup_by = []\naggregations = { outTemp = ["mean", "max"] }\n'
            "[emergency]\nseverity_thresholds = { outTemp = 38 }\nanomaly_flag = false\n"
        ),
    ),
    "ring": Kind("slot", "at"),
    "sessions": Kind("id", "started", "ended,kwh"),
}


@dataclass
class Device:
    """One program's database, and the process that delivers it."""

    name: str
    folder: Path
    place: Place
    command: EdgeDelta
    running: Running | None = None
    checks: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, name: str, folder: Path) -> Device:
        """The device of one program."""
        kind, place = KINDS[name], Place(str(folder / name / "lake" / "t"))
        settings = folder / name / "config.toml"
        settings.write_text(f"processing_mode = {json.dumps(kind.modes)}\n{kind.config}", encoding="utf-8")
        flags: dict[str, Any] = {
            "config": settings,
            "sqlite": folder / name / "source.db",
            "table": name,
            "timestamp_field": kind.time,
            "table_path": place.base,
            "state_dir": folder / name / "state",
            "node_id": "n1",
        }
        command = EdgeDelta(folder / name, flags, {"SWEEP": _SWEEP, "UPLOAD_INTERVAL": "1", "FUZZ_FACTOR": "0"})
        return cls(name, folder / name, place, command)

    def verify(self) -> int:
        """The exit code of `verify`."""
        done = self.command.run("verify", timeout=300, ignore=KINDS[self.name].changing, table_path=self.place.base)
        self.checks[f"exit {done.code}"] += 1
        return done.code

    def finish(self) -> dict[str, Any]:
        """Deliver the rest; what it came to."""
        assert self.running is not None
        code, text = self.running.terminate(), self.running.text()
        self.command.once(env={"SWEEP": "0"}, timeout=300).succeeded()
        kind, lines = KINDS[self.name], (self.folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
        wanted = Counter((key, time_) for key, time_ in map(json.loads, lines))
        table = self.place.read("_0_raw")
        there = Counter(zip(table[kind.key], table[kind.time], strict=True))
        return {
            "exit": code,
            "rows": sum(wanted.values()),
            "missing": sum((wanted - there).values()),
            "twice": sum((there - wanted).values()),
            "late": sum(e["rows"] for e in self.running.named("rows below the cursor") if e["mode"] == "raw"),
            "overrun": len(self.running.named("all rows overwritten between two sweeps")),
            "resets": len(self.running.named("source reset")),
            "tracebacks": text.count("Traceback"),
            "verify beside": dict(self.checks),
            "verify": self.verify(),
        }


def sources(folder: Path, *, seconds: float, verify_every: float = 30.0) -> dict[str, dict[str, Any]]:
    """Write, deliver and verify for some time; what each program's database came to.

    Args:
        folder: an empty one.
        seconds: for how long.
        verify_every: seconds between two verifications of one database while it is written.
    """
    writing = subprocess.Popen(
        [sys.executable, "-I", program_writers.__file__, str(folder), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writing.stdin is not None
    assert writing.stdout is not None
    writing.stdout.readline()
    devices = [Device.of(name, folder) for name in KINDS]
    until = time.monotonic() + seconds
    try:
        for device in devices:
            device.running = device.command.start()
        turn = 0
        while time.monotonic() < until:
            time.sleep(max(0.0, min(verify_every / len(devices), until - time.monotonic())))
            devices[turn % len(devices)].verify()
            turn += 1
    finally:
        writing.communicate(timeout=30)
    time.sleep(2)
    try:
        return {device.name: device.finish() for device in devices}
    finally:
        for device in devices:
            device.command.end()


def faults(found: dict[str, dict[str, Any]]) -> list[str]:
    """What is not as it should be, in words."""
    wrong = []
    for name, one in found.items():
        kinds = ("twice", "tracebacks", "resets") if one["overrun"] else ("missing", "twice", "tracebacks", "resets")
        wrong += [f"{name}: {one[what]} {what}" for what in kinds if one[what]]
        wrong += [f"{name}: {what} ended with {one[what]}" for what in ("exit", "verify") if one[what]]
    return wrong


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.sources")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sources-") as folder:
        found = sources(Path(folder), seconds=60 * options.minutes)
    for name, one in found.items():
        sys.stdout.write(f"{name} {json.dumps(one)}\n")
    wrong = faults(found)
    sys.stdout.write(("\n".join(wrong) or "every row once, and nothing to say") + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
