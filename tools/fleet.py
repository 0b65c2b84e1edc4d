"""Many devices at once on S3: what a commit costs them, and whether each row is there once.

``python -m tools.fleet`` runs 1, 8 and 32 writers on one table and 32 writers on tables of their own, and writes the
figures into ``docs/fleets.md``.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import lake_at
from tests.support.command import EdgeDelta
from tests.support.proxy import Proxy
from tests.support.sqlite import LiveWriter, Sensor
from tests.support.tables import Place, assert_each_once
from tests.support.weed import Weed
from tools.figures import with_figures

if TYPE_CHECKING:
    from tests.support.command import Running

PAGE = Path(__file__).parent.parent / "docs" / "fleets.md"
COMMIT = r"_1_schematized/_delta_log/\d{20}\.json$"
_HEAD = """\
| writers | tables | seconds | commits | commits per second | tries per commit | p50 (s) | p99 (s) |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Figures:
    """What one fleet came to; ``latencies`` are seconds from the data to the commit that stands."""

    writers: int
    tables: int
    seconds: float
    commits: int
    tries: int
    latencies: list[float]

    def row(self) -> str:
        ordered = sorted(self.latencies)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return (
            f"| {self.writers} | {self.tables} | {self.seconds:.0f} | {self.commits} | "
            f"{self.commits / self.seconds:.1f} | {self.tries / self.commits:.2f} | "
            f"{statistics.median(ordered):.2f} | {p99:.2f} |"
        )


def fleet(directory: Path, server: Weed, *, writers: int, shared: bool, seconds: float) -> Figures:
    """Run so many devices over one live database for a time, and check that every row of each is there once."""
    directory.mkdir()
    with Proxy(server.port) as proxy, Sensor(directory / "sensor.db") as sensor:
        sensor.create()
        sensor.add(50)
        place = lake_at(proxy.url)
        base = place.base if shared else place.base + "/{node_id}/readings"
        devices = [_device(directory, sensor.path, place, base, number) for number in range(writers)]
        with LiveWriter(sensor.path, rate=20, seconds=seconds + 600) as writer:
            running = [device.start() for device in devices]
            for one in running:
                one.wait_for("batch committed", timeout=180)
            events, tries, started = _commits(running), len(proxy.requests("PUT", COMMIT)), time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - started
            new = [e for before, now in zip(events, _commits(running), strict=True) for e in now[len(before) :]]
            tries = len(proxy.requests("PUT", COMMIT)) - tries
            writer.stop()
        _ended(running)
        for device in devices:
            device.once(retry_for=60, timeout=180).succeeded()
        _check(sensor, server, base, place, writers, shared=shared)
    latencies = [float(e["seconds"]) for e in new]
    return Figures(writers, 1 if shared else writers, took, len(new), tries, latencies)


def _device(directory: Path, database: Path, place: Place, base: str, number: int) -> EdgeDelta:
    flags = {
        "sqlite": database,
        "table_path": base,
        "state_dir": directory / f"state{number}",
        "node_id": f"n{number}",
        "interval": 2,
        "fuzz_factor": 0.3,
    }
    return EdgeDelta(directory, flags, place.environment)


def _commits(running: list[Running]) -> list[list[dict[str, Any]]]:
    return [one.named("batch committed") for one in running]


def _ended(running: list[Running]) -> None:
    for one in running:
        one.signal(signal.SIGTERM)
    for one in running:
        code = one.wait(60)
        assert code in {0, 128 + signal.SIGTERM}, one.text()  # 143: the batch in flight took longer than the grace


def _check(sensor: Sensor, server: Weed, base: str, place: Place, writers: int, *, shared: bool) -> None:
    rows = [row[0] for row in sensor.rows(columns="id")]
    nodes = [f"n{number}" for number in range(writers)]
    bases = [base] if shared else [base.replace("{node_id}", node) for node in nodes]
    found = []
    for one in bases:
        found += Place(one, place.environment, server.url).read().select("node_id", "reading_id").rows()
    assert_each_once(found, [(node, row) for node in nodes for row in rows])


def written(figures: list[Figures]) -> str:
    """The page with these figures."""
    return with_figures(PAGE.read_text(encoding="utf-8"), "fleet", "\n".join([_HEAD, *(f.row() for f in figures)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--writers", type=int, default=32)
    options = parser.parse_args()
    most = options.writers
    fleets = [(1, True), (max(2, most // 4), True), (most, True), (most, False)]
    with tempfile.TemporaryDirectory() as folder:
        server = Weed(Path(folder))
        try:
            figures = []
            for number, (writers, shared) in enumerate(fleets):
                place = Path(folder) / f"fleet{number}"
                figures.append(fleet(place, server, writers=writers, shared=shared, seconds=options.seconds))
                sys.stdout.write(figures[-1].row() + "\n")
        finally:
            server.stop()
    PAGE.write_text(written(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
