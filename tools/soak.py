"""Cycles back to back, with faults on the wire, for an hour: memory, file descriptors and threads stay where they are.

``python -m tools.soak --seconds 3600``.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import lake_at
from tests.support.command import EdgeDelta
from tests.support.proxy import Answer, DropAnswer, DropBefore, Proxy
from tests.support.sqlite import LiveWriter, Sensor
from tests.support.tables import Place, assert_each_once
from tests.support.weed import Weed

if TYPE_CHECKING:
    from tests.support.command import Running
    from tests.support.proxy import Fault

_BARS = "▁▂▃▄▅▆▇█"
_FAULTS = (DropBefore(), DropAnswer(), Answer(500), Answer(503, "SlowDown"))
_SHARE = 0.01
_WIDTH = 60
_WARM_UP = 0.1


@dataclass
class Samples:
    """What the process held, over time."""

    megabytes: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    cycles: int = 0

    def take(self, pid: int) -> None:
        """Look once (proc(5))."""
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        values = dict(line.split(":", 1) for line in status.splitlines())
        self.megabytes.append(int(values["VmRSS"].split()[0]) / 1024)
        self.threads.append(int(values["Threads"]))
        self.descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - a name may be gone by then

    def plot(self) -> str:
        """One line each."""
        named: dict[str, list[float] | list[int]] = {
            "resident MB": self.megabytes,
            "descriptors": self.descriptors,
            "threads": self.threads,
        }
        return "\n".join(f"{name:<12} {_bars(values)} {_ends(values)}" for name, values in named.items())

    def ends(self, values: list[float] | list[int]) -> tuple[float, float]:
        """The medians of the first tenth after the warm-up, and of the last."""
        first, last = _tenths(values)
        return statistics.median(first), statistics.median(last)

    def floors(self, values: list[int]) -> tuple[int, int]:
        """The least of the two tenths: connections that faults broke come and go, and what leaks stays."""
        first, last = _tenths(values)
        return min(first), min(last)


def _tenths(values: list[Any]) -> tuple[list[Any], list[Any]]:
    warm = values[int(len(values) * _WARM_UP) :]
    tenth = max(1, len(warm) // 10)
    return warm[:tenth], warm[-tenth:]


def _bars(values: list[float] | list[int]) -> str:
    step = max(1, len(values) / _WIDTH)
    picked = [values[int(i * step)] for i in range(int(len(values) / step))]
    high = max(picked)
    return "".join(_BARS[min(len(_BARS) - 1, int(v / high * (len(_BARS) - 1)))] for v in picked)


def _ends(values: list[float] | list[int]) -> str:
    return f"{values[0]:.0f} … {values[-1]:.0f}, most {max(values):.0f}"


def soak(directory: Path, server: Weed, *, seconds: float, pause: float) -> Samples:
    """Run for a time; check that every row is there once."""
    samples, chance = Samples(), random.Random(20261122)

    def fault(_method: str, _path: str) -> Fault | None:
        return chance.choice(_FAULTS) if chance.random() < _SHARE else None

    with Proxy(server.port) as proxy, Sensor(directory / "sensor.db") as sensor:
        sensor.create()
        place = lake_at(proxy.url)
        flags = {"sqlite": sensor.path, "table_path": place.base, "state_dir": directory / "state", "node_id": "n1"}
        # As a table of the device's own is: without upkeep, what the opened table holds would grow with its files.
        settings = directory / "settings.toml"
        settings.write_text("[maintenance]\nkeeper = true\n", encoding="ascii")
        edge = EdgeDelta(directory, flags | {"config": settings, "interval": 0.05}, place.environment)
        proxy.chaos = fault
        with LiveWriter(sensor.path, rate=50, seconds=seconds + 600) as writer:
            running = edge.start()
            running.wait_for("batch committed", timeout=60)
            _watch(running, samples, proxy, seconds=seconds, pause=pause)
            writer.stop()
        proxy.chaos = lambda _method, _path: None
        assert running.terminate() == 0
        samples.cycles = len(running.named("cycle finished"))
        edge.once(retry_for=60).succeeded()
        found = Place(place.base, place.environment, server.url).read()["reading_id"]
        assert_each_once(found, [row[0] for row in sensor.rows(columns="id")])
    return samples


def _watch(running: Running, samples: Samples, proxy: Proxy, *, seconds: float, pause: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(pause)
        assert running.process.poll() is None, running.text()[-2000:]
        samples.take(running.process.pid)
        proxy.exchanges.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Weed(Path(folder))
        try:
            samples = soak(Path(folder), server, seconds=options.seconds, pause=max(0.2, options.seconds / 600))
        finally:
            server.stop()
    before, after = samples.ends(samples.megabytes)
    sys.stdout.write(f"{samples.plot()}\n{samples.cycles} cycles; resident {before:.0f} MB in the first tenth after ")
    sys.stdout.write(f"the warm-up, {after:.0f} MB in the last; every row is there once\n")
    if after > before * 1.1:
        sys.exit(f"resident memory grew from {before:.0f} to {after:.0f} MB")
    for name, values in (("descriptors", samples.descriptors), ("threads", samples.threads)):
        before, after = samples.floors(values)
        if after > before + 2:
            sys.exit(f"{name} grew from {before:.0f} to {after:.0f}")


if __name__ == "__main__":
    main()
