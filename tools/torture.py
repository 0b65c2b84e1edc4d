"""Kills and faults on the wire at random, over a live writer, in all modes at once, on S3.

``python -m tools.torture --kills 500 --faults 2000`` goes on until there were as many of both, or for ``--minutes``;
then everything that is waiting is delivered, and the tables are checked by ``edge-delta verify`` and by another engine.
If something is wrong, the folder with the database and the tables is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import lake_at
from tests.support import expected, modes
from tests.support.ask import verified
from tests.support.command import EdgeDelta
from tests.support.expected import ALL, assert_every_table_is_right
from tests.support.proxy import Answer, CutBody, DropAnswer, DropBefore, Proxy, Stall
from tests.support.sqlite import Sensor
from tests.support.weed import Weed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Running
    from tests.support.proxy import Fault
    from tests.support.tables import Place

FAULTS: dict[str, Fault] = {
    "connection dropped before the server acted": DropBefore(),
    "answer dropped after the server acted": DropAnswer(),
    "500": Answer(500),
    "503 SlowDown": Answer(503, "SlowDown"),
    "429": Answer(429, "TooManyRequests"),
    "403 ExpiredToken": Answer(403, "ExpiredToken"),
    "stall past the timeout": Stall(1.5),
    "body cut": CutBody(20),
}
_SHARE = 0.025
"""The share of requests that a fault hits. A start makes hundreds of them, and one 403 among them begins it anew."""
_SAY_EVERY = 20
"""Kills between two lines on stderr."""
_TICK = 0.2
_ROWS_A_TICK = 10
_PLACES = {"batch committed": "after a commit", "cycle started": "in a cycle", "started": "at the start"}


@dataclass
class Torture:
    """One run.

    Args:
        directory: where the device is.
        server: the S3 server.
        seed: of all that is random.
    """

    directory: Path
    server: Weed
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def run(self, *, kills: int, faults: int, minutes: float = math.inf) -> str:
        """Go on until there were that many kills and faults; the table of what was done, if all is right."""
        until = time.monotonic() + 60 * minutes
        self._faults_a_kill = faults / kills
        (self.directory / "device").mkdir()
        with Proxy(self.server.port) as proxy, Sensor(self.directory / "device" / "sensor.db") as sensor:
            modes.create(sensor)
            edge = self._device(sensor, lake_at(proxy.url))
            proxy.chaos = self._fault
            with _writing(sensor.path):
                while time.monotonic() < until and (self.kills.total() < kills or self.faults.total() < faults):
                    self._once(edge)
            proxy.chaos = lambda _method, _path: None
            edge.once(flush=True, max_batch_size=5000, retry_for=60, timeout=600).succeeded()
            return self._checked(sensor, lake_at(self.server.url), edge)

    def _device(self, sensor: Sensor, place: Place) -> EdgeDelta:
        settings = self.directory / "settings.toml"
        storage = {"request_timeout": 1.0, "connect_timeout": 1.0}
        values = {"processing_mode": ALL, "storage": storage} | expected.SETTINGS
        settings.write_text(modes.toml(values), encoding="utf-8")
        flags = {
            "config": settings,
            "sqlite": sensor.path,
            "table_path": place.base,
            "state_dir": self.directory / "state",
            "node_id": "n1",
            "interval": 0.05,
            "max_batch_size": 100,
        }
        return EdgeDelta(self.directory, flags, place.environment)

    def _fault(self, _method: str, _path: str) -> Fault | None:
        """Called by the proxy with its lock held. Faults keep in step with kills, so that most starts get to commit."""
        ahead = self.faults.total() > self._faults_a_kill * (self.kills.total() + 1)
        if ahead or self._chance.random() > _SHARE:
            return None
        name = self._chance.choice(list(FAULTS))
        self.faults[name] += 1
        return FAULTS[name]

    def _once(self, edge: EdgeDelta) -> None:
        """Start the process and kill it at a random moment."""
        running = edge.start()
        try:
            if self._chance.random() < 0.7:
                running.wait_for("batch committed", timeout=30)
        except AssertionError:
            assert running.process.poll() is None, running.text()  # it may take long, but it must not end
        time.sleep(self._chance.expovariate(2))
        assert running.process.poll() is None, running.text()
        running.kill()
        self.kills[_where(running)] += 1
        running.log.unlink()
        if self.kills.total() % _SAY_EVERY == 0:
            sys.stderr.write(f"{self.kills.total()} kills, {self.faults.total()} faults\n")

    def _checked(self, sensor: Sensor, place: Place, edge: EdgeDelta) -> str:
        place = type(place)(edge.flags["table_path"], place.environment, place.url)
        config = edge.flags["config"]
        found = verified(sensor.path, place, self.directory, node_id="n1", config=config, mode=",".join(ALL))
        assert found["equal"], [t["differences"] for t in found["tables"]]
        assert_every_table_is_right(sensor, place)
        rows = sensor.run("SELECT count(*) FROM stations")[0][0]
        lines = [f"{name:<45} {count:>6}  none lost, none twice" for name, count in sorted(self.faults.items())]
        lines += [
            f"{'killed ' + name:<45} {count:>6}  none lost, none twice" for name, count in sorted(self.kills.items())
        ]
        total = f"{rows} rows in {len(ALL)} modes, {self.faults.total()} faults, {self.kills.total()} kills: "
        return "\n".join(
            [f"{'fault':<45} {'times':>6}  outcome", *lines, total + "verify and an independent count agree"]
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A live writer: a sensor's process that inserts some rows again and again."""
    over = threading.Event()

    def write() -> None:
        with Sensor(path) as writer:
            written = 0
            while not over.wait(_TICK):
                modes.add(writer, _ROWS_A_TICK, start=written)
                written += _ROWS_A_TICK

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _where(running: Running) -> str:
    """The last thing that the process said before it was killed."""
    text = running.text()
    last = max(_PLACES, key=lambda event: text.rfind(f'"{event}"'))
    return _PLACES[last] if f'"{last}"' in text else "at the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="torture-"))
    server = Weed(directory)
    try:
        torture = Torture(directory, server, options.seed)
        table = torture.run(kills=options.kills, faults=options.faults, minutes=options.minutes)
    except BaseException:
        sys.stderr.write(f"what there was is in {directory}\n")
        raise
    finally:
        server.stop()
    shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.write(table + "\n")
    if torture.kills.total() < options.kills or torture.faults.total() < options.faults:
        sys.exit(
            f"not enough in {options.minutes:g} minutes: {options.kills} kills, {options.faults} faults were wanted"
        )


if __name__ == "__main__":
    main()
