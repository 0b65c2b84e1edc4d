"""Record what a version wrote: sources, tables of five modes and state directories, for `tests/system/test_upgrade.py`.

``python -m tools.upgrade_fixture PYTHON`` takes the interpreter of an environment where the version to be recorded is
installed, and writes ``tests/fixtures/<version>/device.tar.gz``. A later version has to take this over for ever, so a
recording is never made anew; a version whose tables or state differ gets one of its own.

There are two sources, a process each. ``stations`` has an INTEGER PRIMARY KEY and goes through every mode; ``events``
has a plain rowid and is schematized. Both lived through a compaction with a checkpoint and a database made again, so
their tables hold generations 0 and 1. Windows of the last generation are open.
"""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.support import expected, modes
from tests.support.command import clean_environment
from tests.support.sqlite import Sensor

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
MODES = ("raw", "schematized", "sanitized", "aggregated", "emergency")
ROWS = {0: 700, 1: 400}
"""How many rows of ``stations`` each generation has."""
STARTS = {0: 0, 1: 100_000}
"""The number of each generation's first reading, which decides its time and its values."""
_EVENTS = {0: 90, 1: 60}
_BATCH = 100


def settings(table: str) -> dict[str, object]:
    """The settings of one source, with addresses below the folder that the command runs in."""
    return {
        "sqlite": f"source/{table}.db",
        "sqlite_table_name": table,
        "table_path": f"lake/{table}",
        "state_dir": f"state/{table}",
        "processing_mode": list(MODES) if table == "stations" else ["schematized"],
        "max_batch_size": _BATCH,
        "retry_for": 5,
    } | (expected.SETTINGS if table == "stations" else {})


def fill(sensor: Sensor, table: str, generation: int, rows: int, *, after: int = 0) -> None:
    """Insert the next rows of a source."""
    start = STARTS[generation] + after
    if table == "stations":
        modes.add(sensor, rows, start=start)
        return
    # A bad number and a blob among them; neither is what the column says.
    sensor.run(
        "INSERT INTO events (at, level, name) WITH RECURSIVE n(i) AS "
        f"(SELECT {start} UNION ALL SELECT i + 1 FROM n LIMIT {rows}) "
        "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 1767225600 + i, 'unixepoch'), "
        "CASE i % 29 WHEN 3 THEN 'high' WHEN 4 THEN x'00ff' ELSE i % 7 END, 'event ' || i FROM n"
    )


def create(sensor: Sensor, table: str) -> None:
    """Make the source's table."""
    if table == "stations":
        modes.create(sensor)
    else:
        sensor.run("CREATE TABLE events (at TEXT, level INTEGER, name TEXT)")


class Device:
    """A device of the version to be recorded, in a folder."""

    def __init__(self, python: str, folder: Path) -> None:
        self._python = python
        self._folder = folder

    def edge_delta(self, *words: str) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            [self._python, "-m", "edge_delta", *words],
            cwd=self._folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"edge-delta {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def live(self, table: str) -> None:
        """Let one source live through two generations."""
        config = self._folder / f"{table}.toml"
        config.write_text(modes.toml(settings(table)), encoding="utf-8")
        rows = ROWS if table == "stations" else _EVENTS
        for generation in (0, 1):
            database = self._folder / "source" / f"{table}.db"
            if generation:
                database.rename(database.with_name(f"{table}-0.db"))
            with Sensor(database) as sensor:
                create(sensor, table)
                half = rows[generation] // 2
                fill(sensor, table, generation, half)
                self.edge_delta("run", "--config", config.name, "--once")
                if not generation:
                    self.edge_delta("maintain", "--config", config.name)
                fill(sensor, table, generation, rows[generation] - half, after=half)
                self.edge_delta("run", "--config", config.name, "--once", *([] if generation else ["--flush"]))


def record(python: str) -> Path:
    """Record the version of this interpreter's environment; where it was written."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("source", "lake", "state"):
            (folder / name).mkdir()
        device = Device(python, folder)
        version = device.edge_delta("--version").split()[-1]
        file = FIXTURES / version / "device.tar.gz"
        if file.exists():
            raise SystemExit(f"{file} is there already, and a recording is not made anew")
        for table in ("stations", "events"):
            device.live(table)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w:gz", compresslevel=9) as archive:
            archive.add(folder, arcname=".", filter=_anonymous)
    return file


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The member without who recorded it; None for what only a running process has."""
    if Path(member.name).name == "lock":
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    """Record a version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("python", help="the interpreter of the version to be recorded")
    file = record(str(Path(parser.parse_args().python).absolute()))
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
