"""Alerts through kills, and how long they take with many groups open.

``python -m tools.alerts --kills 200``: a process that delivers alerts with a cooldown over a live writer is killed
again and again; then its alerts equal those of one undisturbed run. ``python -m tools.alerts --groups 100000`` writes
what that comes to into docs/modes.md. ``python -m tools.alerts --backlog 1000000`` writes there what alerts take while
other modes of the same table have so many rows to catch up with.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tests.support import modes
from tests.support.command import EdgeDelta
from tests.support.sqlite import Sensor
from tests.support.tables import Place

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tests.support.command import Running

LIMITS = {"severity_thresholds": {"temperature": 35}, "cooldown": 4, "min_pause": 0.05}
TABLE = "_4_emergency"
COLUMNS = ["reading_id", "alert_type", "severity", "alert_id", "timestamp", "value", "silenced"]
_PAGE = Path(__file__).parents[1] / "docs" / "modes.md"
_MARK = "<!-- alerts -->"
_MARK_BACKLOG = "<!-- alerts beside a backlog -->"
_BEHIND = "raw,schematized,sanitized,emergency"
_FILL = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?)
INSERT INTO stations (sensor_id, timestamp, temperature)
SELECT 's' || (i % 50), strftime('%Y-%m-%dT%H:%M:%fZ', 1767225600 + i, 'unixepoch'), 20.0 + i % 7 FROM n"""


def device(directory: Path, sensor: Sensor, **emergency: object) -> tuple[EdgeDelta, Place]:
    """A device that delivers alerts into a folder."""
    config = directory / "settings.toml"
    config.write_text(modes.toml({"emergency": LIMITS | emergency}), encoding="utf-8")
    place = Place(str(directory / "lake" / "readings"))
    flags = {
        "config": config,
        "sqlite": sensor.path,
        "table_path": place.base,
        "state_dir": directory / "state",
        "node_id": "n1",
        "processing_mode": "emergency",
    }
    return EdgeDelta(directory, flags, place.environment), place


def iso(second: float) -> str:
    """So many seconds after the first reading."""
    return datetime.fromtimestamp(modes.EPOCH + second, UTC).isoformat()


def killed(directory: Path, kills: int, seed: int = 1) -> str:
    """Kill it that often; what was there in the end, if no alert is missing or there twice."""
    chance, over = random.Random(seed), threading.Event()
    with Sensor(directory / "sensor.db") as sensor:
        modes.create(sensor)
        edge, place = device(directory, sensor)

        def write() -> None:
            second = 0
            while not over.wait(0.02):
                hot = 40.0 if second % 10 < 7 else 20.0
                row = {"sensor_id": f"s{second % 7}", "timestamp": iso(second // 7), "temperature": hot}
                modes.insert(sensor, row)
                second += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for kill in range(kills):
                _start_and_kill(edge, chance)
                if kill % 20 == 19:
                    sys.stderr.write(f"{kill + 1} kills\n")
        finally:
            over.set()
            writer.join()
        edge.once(timeout=300).succeeded()
        once = Place(str(directory / "once" / "readings"))
        edge.once(table_path=once.base, state_dir=directory / "other state", timeout=300).succeeded()
    ours, theirs = alerts(place), alerts(once)
    assert ours.equals(theirs), ours.join(theirs, on="alert_id", how="anti")
    assert not ours["alert_id"].is_duplicated().any()
    ends = ours.filter(pl.col("severity") == "over").height
    return f"{kills} kills: {ours.height - ends} alerts and {ends} ends, none twice, none missing"


def _start_and_kill(edge: EdgeDelta, chance: random.Random) -> None:
    running = edge.start(max_batch_size=chance.choice([3, 100]))
    if chance.random() < 0.8:
        running.wait_for("batch committed", count=1 + chance.randrange(3), timeout=60)
    time.sleep(chance.expovariate(4))
    assert running.process.poll() is None, running.text()
    running.kill()
    running.log.unlink()


def alerts(place: Place) -> pl.DataFrame:
    """The table's alerts, in an order of their own."""
    return place.read(TABLE).select(COLUMNS).sort(COLUMNS)


def waited(directory: Path, groups: int, count: int) -> str:
    """Seconds from INSERT to readable, with so many groups open."""
    with Sensor(directory / "sensor.db") as sensor:
        modes.create(sensor)
        now = time.time() - modes.EPOCH
        hot = [(f"s{i}", iso(now + i / groups), 40.0) for i in range(groups)]
        sensor.many("INSERT INTO stations (sensor_id, timestamp, temperature) VALUES (?, ?, ?)", hot)
        edge, place = device(directory, sensor, cooldown=3600, min_pause=0.5)
        running = edge.start(fresh=True, interval=300)
        running.wait_for("cycle finished", timeout=120)
        assert place.read(TABLE).height == groups
        table = place.table(TABLE)
        waits = sorted(_one(sensor, table, running, number) for number in range(count))
        peak = running.peak_megabytes()
        assert running.terminate() == 0
        assert place.read(TABLE).height == groups + 2 * count
    half, most = waits[count // 2], waits[min(count - 1, round(count * 0.99))]
    return f"{groups:,} groups open: p50 {half:.2f} s, p99 {most:.2f} s of {count} alerts, at most {peak:.0f} MB"


def beside_a_backlog(directory: Path, rows: int) -> str:
    """Seconds from INSERT to readable, while the other modes of the table have so many rows waiting."""
    with Sensor(directory / "sensor.db") as sensor:
        modes.create(sensor)
        sensor.run(_FILL, rows)
        edge, place = device(directory, sensor, cooldown=0)
        edge.once(timeout=300).succeeded()  # alerts are up to date, as where another mode is added
        running = edge.start(processing_mode=_BEHIND, interval=300)
        running.wait_for("batch committed", timeout=120)
        waits: list[float] = []
        table: DeltaTable | None = None
        while not [e for e in running.named("cycle finished") if e["mode"] == "sanitized"]:
            time.sleep(random.uniform(0.05, 0.2))
            began, number = time.monotonic(), f"new{len(waits)}"
            now = time.time() - modes.EPOCH
            modes.insert(sensor, {"sensor_id": number, "timestamp": iso(now), "temperature": 50.0})
            while table is None or not _there(table, number):
                assert running.process.poll() is None, running.text()
                assert time.monotonic() - began < 60, running.text()
                time.sleep(0.01)
                table = place.table(TABLE) if place.exists(TABLE) else None
            waits.append(time.monotonic() - began)
        peak = running.peak_megabytes()
        assert running.terminate() == 0
        assert place.read(TABLE)["sensor_id"].to_list().count("new0") == 1
    waits.sort()
    half, most = waits[len(waits) // 2], waits[min(len(waits) - 1, round(len(waits) * 0.99))]
    others = f"three other modes of the table {rows:,} rows behind"
    return f"{others}: p50 {half:.2f} s, p99 {most:.2f} s of {len(waits)} alerts, at most {peak:.0f} MB"


def _one(sensor: Sensor, table: DeltaTable, running: Running, number: int) -> float:
    """One alert of a new sensor, and the end of another's group with it."""
    time.sleep(random.uniform(0.1, 0.8))
    version, now = table.version(), time.time() - modes.EPOCH + 2
    ended = {"sensor_id": f"s{number}", "timestamp": iso(now), "temperature": 20.0}
    began = time.monotonic()
    modes.insert(sensor, ended, {"sensor_id": f"new{number}", "timestamp": iso(now), "temperature": 50.0})
    while table.version() == version or not _there(table, f"new{number}"):
        assert running.process.poll() is None, running.text()
        assert time.monotonic() - began < 60, running.text()
        time.sleep(0.02)
        table.update_incremental()
    return time.monotonic() - began


def _there(table: DeltaTable, sensor: str) -> bool:
    return bool(pl.scan_delta(table).filter(sensor_id=sensor).collect().height)


def _write(mark: str, line: str) -> None:
    before, _, after = _PAGE.read_text(encoding="utf-8").partition(mark)
    _PAGE.write_text(f"{before}{mark}\n{line}{after[after.find(chr(10), 1) :]}", encoding="utf-8")


def main() -> None:
    """Kill, or measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--groups", type=int)
    parser.add_argument("--backlog", type=int)
    parser.add_argument("--alerts", type=int, default=100)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="edge-delta-alerts-"))
    if options.groups:
        line = waited(directory, options.groups, options.alerts)
        _write(_MARK, line)
    elif options.backlog:
        line = beside_a_backlog(directory, options.backlog)
        _write(_MARK_BACKLOG, line)
    else:
        line = killed(directory, options.kills or 200)
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
