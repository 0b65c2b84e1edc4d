"""What one round of `edge-delta gather` takes: first, with nothing new, and with one commit of each device.

A few devices deliver with the real program; the others are copies of theirs, made by delta-rs under their own node ids.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, Transaction, write_deltalake

from tests.support.command import clean_environment
from tests.support.modes import deliver
from tests.support.sqlite import Sensor
from tests.support.tables import Place

SUFFIX = "_1_schematized"
REAL = 3
COMMITS, ROWS = 4, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with Sensor(root / "none.db") as sensor:
            frame = real_devices(root, sensor)
            for number in range(REAL, options.devices):
                for commit in range(COMMITS):
                    copied(root, frame, number, commit)
            sys.stdout.write(f"{options.devices} devices with {COMMITS} commits of {ROWS} rows:\n")
            measured(root, "first round")
            measured(root, "nothing new")
            for number in range(REAL, options.devices):
                copied(root, frame, number, COMMITS)
            for number in range(REAL):
                one_more(root, sensor, number, COMMITS)
            measured(root, "one commit of each")
            found = pl.scan_delta(str(root / "fleet" / f"readings{SUFFIX}")).select("node_id", "reading_id").collect()
            assert found.height == found.unique().height == options.devices * ROWS * (COMMITS + 1), found.height


def place(root: Path, number: int) -> Place:
    return Place(str(root / "lake" / f"device-{number:04}" / "readings"))


def real_devices(root: Path, sensor: Sensor) -> pl.DataFrame:
    for number in range(REAL):
        for commit in range(COMMITS):
            one_more(root, sensor, number, commit)
    return place(root, 0).read(SUFFIX).head(ROWS)


def one_more(root: Path, sensor: Sensor, number: int, commit: int) -> None:
    folder = root / "devices" / f"{number}"
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    sensor.open(folder / "sensor.db")
    if new:
        sensor.create()
    sensor.add(ROWS, start=commit * ROWS)
    deliver(sensor.path, place(root, number), "schematized", node_id=f"device-{number:04}")


def copied(root: Path, frame: pl.DataFrame, number: int, commit: int) -> None:
    rows = frame.with_columns(node_id=pl.lit(f"device-{number:04}"), reading_id=pl.col("reading_id") + commit * ROWS)
    moved = CommitProperties(app_transactions=[Transaction(f"edge-delta/device-{number:04}/readings/0", commit)])
    write_deltalake(place(root, number).uri(SUFFIX), rows.to_arrow(), mode="append", commit_properties=moved)


def measured(root: Path, what: str) -> None:
    words = ["gather", "--table-path", str(root / "lake" / "{node_id}" / "readings")]
    words += ["--into", str(root / "fleet" / "readings"), "--state-dir", str(root / "state"), "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_delta", *words], stdout=subprocess.PIPE, cwd=root, env=clean_environment()
    )
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, status
    [mode] = [each for each in json.loads(answer) if each["mode"] == "schematized"]
    sys.stdout.write(
        f"| {what} | {time.perf_counter() - started:.1f} | {used.ru_utime + used.ru_stime:.1f} | "
        f"{used.ru_maxrss / 1024:.0f} | {mode['rows']:,} | {mode['commits']} |\n"
    )


if __name__ == "__main__":
    main()
