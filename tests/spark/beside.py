"""Spark's OPTIMIZE beside live edge-delta processes: what really happens to commits and rows.

``python -m tests.spark.beside`` runs it on a folder and on S3 and writes the figures into ``docs/databricks.md``. The
S3 server is reached through a proxy that sees every request: a file of the log that was put twice is a commit
overwritten.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.conftest import lake_at
from tests.spark.conftest import address, reach_s3, session
from tests.support.command import EdgeDelta, eventually
from tests.support.proxy import Proxy
from tests.support.sqlite import LiveWriter, Sensor
from tests.support.tables import Place
from tests.support.weed import ACCESS_KEY, SECRET_KEY, Weed
from tools.figures import with_figures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Running

PAGE = Path(__file__).parents[2] / "docs" / "databricks.md"
_FEWEST = 3
"""So many OPTIMIZE at least, however long they take."""
COMMIT = r"_1_schematized/_delta_log/(\d{20})\.json$"
_HEAD = """\
| store | devices | commits of devices | OPTIMIZE done | refused | commits overwritten | rows lost |
| --- | --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Store:
    """Where the table is, and what it is called in the figures."""

    name: str
    place: Place
    proxy: Proxy | None = None


@dataclass(frozen=True)
class Figures:
    """What one run came to."""

    store: Store
    devices: int
    commits: int
    optimized: int
    refused: int
    overwritten: int
    lost: int
    repeated: int

    def row(self) -> str:
        counts = (self.devices, self.commits, self.optimized, self.refused, self.overwritten, self.lost)
        return " | ".join(["", self.store.name, *map(str, counts), ""]).strip()


def bucket_of(server: Weed) -> str:
    """A bucket of its own, because Spark keeps one set of S3A options for each."""
    name = f"beside-{uuid.uuid4().hex[:12]}"
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", **keys).create_bucket(Bucket=name)
    return name


@contextlib.contextmanager
def on_s3(spark: Any, server: Weed) -> Iterator[Store]:
    """A place on S3 that Spark and the devices reach through one proxy."""
    bucket = bucket_of(server)
    with Proxy(server.port) as proxy:
        reach_s3(spark, proxy.url, bucket)
        yield Store("S3", lake_at(proxy.url, bucket), proxy)


def puts_of_commits(proxy: Proxy) -> Counter[str]:
    """How often each version of the log was put with success."""
    done = [e for e in proxy.requests("PUT", COMMIT) if e.status == 200]
    return Counter(re.search(COMMIT, e.path)[1] for e in done)  # type: ignore[index]


def beside(spark: Any, directory: Path, store: Store, devices: int, seconds: float) -> Figures:
    """Run devices that commit some five times a second and OPTIMIZE again and again; count afterwards."""
    directory.mkdir()
    with Sensor(directory / "sensor.db") as sensor:
        sensor.create()
        sensor.add(50)
        made = [_device(directory, sensor.path, store.place, number) for number in range(devices)]
        with LiveWriter(sensor.path, rate=50, seconds=seconds + 600) as writer:
            running = [device.start() for device in made]
            for one in running:
                one.wait_for("batch committed", timeout=120)
            outcomes = _optimize_for(spark, address(store.place), seconds)
            writer.stop()
        _ended(running)
        for device in made:
            device.once(retry_for=60, timeout=180).succeeded()
        commits = sum(len(one.named("batch committed")) for one in running)
        lost, repeated = _counted(sensor, store.place, devices)
    overwritten = sum(n - 1 for n in puts_of_commits(store.proxy).values()) if store.proxy is not None else 0
    return Figures(store, devices, commits, outcomes["done"], outcomes["refused"], overwritten, lost, repeated)


def _device(directory: Path, database: Path, place: Place, number: int) -> EdgeDelta:
    flags = {
        "sqlite": database,
        "table_path": place.base,
        "state_dir": directory / f"state{number}",
        "node_id": f"n{number}",
        "interval": 0.2,
        "fuzz_factor": 0.3,
        "retry_for": 60,
    }
    return EdgeDelta(directory, flags, place.environment)


def _optimize_for(spark: Any, table: str, seconds: float) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until or outcomes.total() < _FEWEST:
        try:
            spark.sql(f"OPTIMIZE delta.`{table}`").collect()
            outcomes["done"] += 1
        except Exception as error:  # noqa: BLE001 - whatever Spark says is an outcome
            outcomes["refused"] += 1
            sys.stderr.write(f"OPTIMIZE: {str(error).splitlines()[0][:200]}\n")
    return outcomes


def _ended(running: list[Running]) -> None:
    for one in running:
        one.terminate()


def _counted(sensor: Sensor, place: Place, devices: int) -> tuple[int, int]:
    """Rows that are not in the table, and rows that are there more than once."""
    wanted = {(f"n{number}", row[0]) for number in range(devices) for row in sensor.rows(columns="id")}
    found = Counter(eventually(lambda: place.read().select("node_id", "reading_id").rows()))
    return len(wanted - set(found)), sum(n - 1 for n in found.values())


def written(figures: list[Figures]) -> str:
    """The page with these figures."""
    return with_figures(
        PAGE.read_text(encoding="utf-8"), "spark-beside", "\n".join([_HEAD, *(f.row() for f in figures)])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--devices", type=int, default=3)
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as name, session(Path(name)) as spark, contextlib.ExitStack() as stack:
        folder = Path(name)
        server = Weed(folder)
        stack.callback(server.stop)
        stores = [
            Store("folder", Place(str(folder / "lake" / "readings"))),
            stack.enter_context(on_s3(spark, server)),
        ]
        for number, store in enumerate(stores):
            figures.append(beside(spark, folder / f"run{number}", store, options.devices, options.seconds))
            sys.stdout.write(f"{figures[-1].row()}\n")
            assert figures[-1].repeated == 0
    PAGE.write_text(written(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
