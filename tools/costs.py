"""What a device asks of S3 and sends there, counted on the wire.

``python -m tools.costs`` runs a device through a proxy, with as many rows a commit as intervals of 10 s to an hour
bring, keeps what it counted in ``tools/costs.json``, and writes the tables of ``docs/databricks.md`` from that.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake

from tests.conftest import lake_at
from tests.support.command import EdgeDelta
from tests.support.proxy import Proxy
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tests.support.weed import Weed
from tools.figures import with_figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.command import Running
    from tests.support.proxy import Exchange

RECORD = Path(__file__).with_name("costs.json")
PAGE = Path(__file__).parent.parent / "docs" / "databricks.md"

INTERVALS = (10, 60, 300, 3600)
ROWS_A_SECOND = 1
COMMITS_AN_UPKEEP = 100
STARTS_A_DAY = 1
_DAY = 86_400
_MONTH = 30

# Amazon S3 Standard, us-east-1, as published: dollars for 1,000 requests, and for a gigabyte a month. Requests that
# delete are free, and so is what goes in. POST costs what PUT does.
PRICES = {"PUT": 0.005, "LIST": 0.005, "GET": 0.0004, "HEAD": 0.0004, "DELETE": 0.0}
STORAGE = 0.023
KINDS = ("PUT", "LIST", "GET", "HEAD", "DELETE")
_SIZES = ("sent", "received")


# -- counting


def kind(exchange: Exchange) -> str:
    """What S3 would bill the request as."""
    if exchange.method == "GET" and "list-type=" in exchange.path:
        return "LIST"
    if exchange.method == "POST" and re.search(r"[?&]delete\b", exchange.path):
        return "DELETE"
    return "PUT" if exchange.method == "POST" else exchange.method


def counted(exchanges: Iterable[Exchange]) -> dict[str, int]:
    """Requests by kind, and bytes on the wire, heads included."""
    found: Counter[str] = Counter()
    for one in exchanges:
        found[kind(one)] += 1
        found["sent"] += one.sent
        found["received"] += one.received
    return dict(found)


class Meter:
    """The exchanges since the last reading."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._seen = 0

    def read(self, *, quiet: float = 0.25) -> dict[str, int]:
        """Wait until nothing more comes, and count."""
        before = -1
        while len(self._proxy.exchanges) != before:
            before = len(self._proxy.exchanges)
            time.sleep(quiet)
        new, self._seen = self._proxy.exchanges[self._seen : before], before
        return counted(new)


def measured(directory: Path, server: Weed, rows: int, *, commits: int = COMMITS_AN_UPKEEP) -> dict[str, Any]:
    """One device with so many rows a commit, from its first start to its first upkeep, then idle, then started anew.

    Args:
        directory: a new folder.
        server: the S3 server.
        rows: rows a commit.
        commits: until the upkeep.
    """
    directory.mkdir()
    with Proxy(server.port) as proxy, Sensor(directory / "sensor.db") as sensor:
        sensor.create()
        device, place = _device(directory, sensor.path, proxy, server, commits)
        meter = Meter(proxy)
        _add(sensor, rows, 0)
        running = device.start()
        each = [_after(running, meter, 1)]
        for number in range(2, commits + 1):
            _add(sensor, rows, number - 1)
            each.append(_after(running, meter, number))
            if number == commits - 1:
                small = _bytes_a_row(place)
        running.wait_for("table looked after")
        each[-1] = _sum([each[-1], meter.read()])
        time.sleep(3)  # ten cycles
        idle = meter.read()
        assert running.terminate() == 0
        meter.read()
        device.once().succeeded()
        again = meter.read()
    commit = _mean(each[1:-1])
    upkeep = {key: max(0, round(value - commit.get(key, 0))) for key, value in each[-1].items()}
    return {
        "first": each[0],
        "commit": commit,
        "upkeep": upkeep,
        "idle": idle,
        "start": again,
        "bytes a row": small,
        "bytes a row, compacted": _bytes_a_row(place),
    }


def _device(directory: Path, database: Path, proxy: Proxy, server: Weed, commits: int) -> tuple[EdgeDelta, Place]:
    """The device, and its table without the proxy between."""
    (directory / "config.toml").write_text(f"[maintenance]\nevery_commits = {commits}\n", encoding="utf-8")
    wired = lake_at(proxy.url)
    flags = {
        "sqlite": database,
        "table_path": wired.base + "/{node_id}/readings",
        "state_dir": directory / "state",
        "node_id": "n1",
        "interval": 0.3,
        "fuzz_factor": 0,
    }
    return EdgeDelta(directory, flags, wired.environment), Place(wired.base + "/n1/readings", {}, server.url)


def _add(sensor: Sensor, rows: int, batch: int) -> None:
    """Readings with noise in their last digits, as sensors have it: what repeats itself would compress too well."""
    noise = random.Random(batch)
    first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=batch * rows)
    sensor.many(
        "INSERT INTO readings (sensor_id, timestamp, temperature, humidity, status_code) VALUES (?, ?, ?, ?, ?)",
        [
            (
                f"sensor-{noise.randrange(5)}",
                (first + timedelta(seconds=i + noise.random())).isoformat(timespec="milliseconds"),
                round(noise.gauss(20, 3), 2),
                round(noise.random(), 3),
                int(noise.random() < 0.01),
            )
            for i in range(rows)
        ],
    )


def _after(running: Running, meter: Meter, number: int) -> dict[str, int]:
    running.wait_for("batch committed", count=number)
    return meter.read()


def _bytes_a_row(place: Place) -> float:
    actions = place.table().get_add_actions(flatten=True)
    size, rows = (sum(actions.column(name).to_pylist()) for name in ("size_bytes", "num_records"))
    return round(float(size / rows), 1)


def _sum(counts: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _mean(counts: list[dict[str, int]]) -> dict[str, float]:
    return {key: round(value / len(counts), 3) for key, value in _sum(counts).items()}


# -- computing


def a_day(figures: Mapping[str, Any], interval: int) -> dict[str, float]:
    """Requests and bytes of a day at that interval: with a row a second no cycle is idle."""
    commits = _DAY / interval
    parts = (
        (figures["commit"], commits),
        (figures["upkeep"], commits / COMMITS_AN_UPKEEP),
        (figures["start"], STARTS_A_DAY),
    )
    return {key: sum(part.get(key, 0) * times for part, times in parts) for key in (*KINDS, *_SIZES)}


def dollars(day: Mapping[str, float]) -> float:
    """What a month's requests cost."""
    return sum(day[key] * price / 1000 for key, price in PRICES.items()) * _MONTH


def table(record: Mapping[str, Any]) -> str:
    """The page's table."""
    head = ["interval (s)", "rows per commit", *KINDS, "MB sent", "MB received", "requests, $ per month"]
    lines = ["| " + " | ".join(head) + " |", "|" + " ---: |" * len(head)]
    for interval in INTERVALS:
        figures = record["intervals"][str(interval)]
        day = a_day(figures, interval)
        cells = [f"{interval:,}", f"{interval * ROWS_A_SECOND:,}", *(f"{day[k]:,.0f}" for k in KINDS)]
        cells += [f"{day[k] / 1e6:,.1f}" for k in _SIZES]
        cells.append(f"{dollars(day):.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parts(record: Mapping[str, Any]) -> str:
    """What one commit, upkeep, idle cycle and start come to, at 300 s."""
    figures = record["intervals"]["300"]
    lines = ["| at 300 s | PUT | LIST | GET | HEAD | DELETE | kB sent | kB received |", "| --- |" + " ---: |" * 7]
    named = (
        ("first commit, which creates the table", "first"),
        ("a commit, with its share of checkpoints", "commit"),
        (f"maintenance after {COMMITS_AN_UPKEEP} commits", "upkeep"),
        ("ten idle cycles", "idle"),
        ("a start with nothing new", "start"),
    )
    for name, key in named:
        one = figures[key]
        cells = [f"{one.get(k, 0):.4g}" for k in KINDS] + [f"{one.get(k, 0) / 1e3:,.1f}" for k in _SIZES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def block(record: Mapping[str, Any]) -> str:
    """What stands between the markers."""
    sizes = [record["intervals"][str(interval)]["bytes a row"] for interval in (INTERVALS[0], INTERVALS[-1])]
    joined = record["intervals"][str(INTERVALS[-1])]["bytes a row, compacted"]
    sentences = (
        f"Counted with delta-rs {record['deltalake']} on a local S3 server: one table (`schematized`, from",
        f"{record['columns']} source columns), {ROWS_A_SECOND} row per second, {STARTS_A_DAY} start per day,",
        f"maintenance by the device every {COMMITS_AN_UPKEEP} commits. Prices are those of S3 Standard in us-east-1:",
        f"PUT and LIST ${PRICES['PUT']} and GET and HEAD ${PRICES['GET']} for 1,000, DELETE and incoming traffic free.",
        f"Files come to {sizes[0]:.0f} bytes per row as committed at {INTERVALS[0]} s, {sizes[1]:.0f} at",
        f"{INTERVALS[-1]:,} s and {joined:.0f} after compaction; a gigabyte is ${STORAGE} per month.",
    )
    about = textwrap.fill(" ".join(sentences), 120)
    tables = f"A day of one device:\n\n{table(record)}\n\nRequests of each part:\n\n{parts(record)}"
    return f"{about}\n\n{tables}"


def written(text: str, record: Mapping[str, Any]) -> str:
    """The page with these figures."""
    return with_figures(text, "costs", block(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from-record", action="store_true", help="write the page only, from what was counted before")
    if not parser.parse_args().from_record:
        with tempfile.TemporaryDirectory() as folder:
            server = Weed(Path(folder))
            try:
                found = {}
                for interval in INTERVALS:
                    found[str(interval)] = measured(Path(folder) / str(interval), server, interval * ROWS_A_SECOND)
                    sys.stdout.write(f"{interval}: {json.dumps(found[str(interval)])}\n")
                    sys.stdout.flush()
            finally:
                server.stop()
        record = {"deltalake": deltalake.__version__, "columns": 6, "intervals": found}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")


if __name__ == "__main__":
    main()
