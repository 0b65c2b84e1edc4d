"""``make pythons``: the wheel on each Python from 3.11 to 3.14 that can be had, with the locked packages.

On each: the import, and 20,000 rows in every mode, counted by a query. Interpreters are those on the path, pyenv's, and
what uv can install; one that cannot be had is said to be not tried, and is no failure.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tools.steps import ROOT, Failed, run, say

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ROWS = 20_000
BEGAN = 1_795_000_000
MODES = ("raw", "schematized", "sanitized", "aggregated", "emergency")
EACH_ROW = {"0_raw", "1_schematized"}
UV = str(ROOT / ".venv" / "bin" / "uv")
ASKS = "import sys; print('%d.%d' % sys.version_info[:2])"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pythons-") as name:
        place = Path(name)
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place)
        [wheel] = place.glob("*.whl")
        database(place / "sensor.db")
        tried = 0
        for version in sys.argv[1:] or VERSIONS:
            python = interpreter(version)
            if python is None:
                say(f"{version}: NOT TRIED, no such Python can be had here")
                continue
            try:
                say(f"{version}: {delivered(python, wheel, place / version)}")
            except Failed as failed:
                say(f"{version}: FAILED: {failed}")
                return 1
            tried += 1
    return 0 if tried else 1


def interpreter(version: str) -> Path | None:
    """A Python of this version that runs."""
    there = [shutil.which(f"python{version}"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for path in there:
        if path and _says(path) == version:
            return Path(path)
    asked = [UV, "python", "find", "--no-project", "--managed-python", version]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        installed = [UV, "python", "install", "--quiet", version]
        try:
            subprocess.run(installed, capture_output=True, check=False, timeout=120)
        except subprocess.TimeoutExpired:
            return None
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def _says(path: Path | str) -> str:
    return subprocess.run([path, "-c", ASKS], capture_output=True, text=True, check=False).stdout.strip()


def delivered(python: Path, wheel: Path, place: Path) -> str:
    """Every mode's table after a run; `Failed` if one has not the rows that it has to."""
    run(UV, "venv", "--quiet", "--python", python, place)
    inside = place / "bin" / "python"
    install: list[object] = [UV, "pip", "install", "--quiet", "--python", inside]
    run(*install, "--only-binary", ":all:", "--require-hashes", "-r", ROOT / "requirements.lock")
    run(*install, "--no-deps", "--offline", wheel)
    edge_delta = place / "bin" / "edge-delta"
    lake = place / "lake" / "readings"
    device = ["--sqlite", place.parent / "sensor.db", "--table-path", lake, "--state-dir", place / "state"]
    device += ["--processing-mode", ",".join(MODES)]
    run(edge_delta, *device, "--once", "--flush", folder=place)
    counted = {}
    for table in sorted(path.name.removeprefix("readings_") for path in lake.parent.iterdir()):
        query = f"SELECT count(*) AS n FROM readings_{table}"
        answer = run(edge_delta, "query", query, "--table-path", lake, folder=place)
        counted[table] = int(re.findall(r"^ *(\d+) *$", answer, re.MULTILINE)[0])
    if any(counted.get(table) != ROWS for table in EACH_ROW) or len(counted) < len(MODES):
        raise Failed(f"{counted} of {ROWS} rows")
    run(edge_delta, "verify", *device, folder=place)
    exact = run(inside, "-c", "import platform; print(platform.python_version())").strip()
    return f"{exact} delivered " + ", ".join(f"{n:,} rows {table}" for table, n in counted.items())


def database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        columns = "id INTEGER PRIMARY KEY, timestamp TEXT, sensor_id TEXT, temperature REAL, anomaly_flag INTEGER"
        db.execute(f"CREATE TABLE readings ({columns})")
        rows = (
            (f"{datetime.fromtimestamp(BEGAN + i, UTC)}", f"s{i % 7}", 20 + i % 9, i % 999 == 0) for i in range(ROWS)
        )
        db.executemany(
            "INSERT INTO readings (timestamp, sensor_id, temperature, anomaly_flag) VALUES (?, ?, ?, ?)", rows
        )
        db.commit()


if __name__ == "__main__":
    sys.exit(main())
