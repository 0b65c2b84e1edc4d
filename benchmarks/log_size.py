"""What tables cost by their log: long texts in it, 100,000 live files, and syncing each commit to the disk.

``python -m benchmarks.log_size`` runs the command on a folder and prints rows for docs/operations.md. The files are one
under many names, each with limits as edge-delta's own files have them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deltalake import DeltaTable

COMMAND = [sys.executable, "-m", "edge_delta", "--once", "--node-id", "n1"]
FILES = 100_000
ROUNDS = 7


def database(path: Path, rows: int, text: str) -> None:
    """A database of so many rows, written by another process."""
    sql = (
        "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS r (id INTEGER PRIMARY KEY, timestamp TEXT, temperature "
        f"REAL, note TEXT); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows}) "
        f"INSERT INTO r (timestamp, temperature, note) SELECT '2026-01-01T00:00:00Z', i, {text} FROM n;"
    )
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(path), sql], check=True)


def run(place: Path, *words: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and resident MB at most of one run."""
    argv = [*COMMAND, "--sqlite", str(place / "s.db"), "--table-path", str(place / "lake" / "r")]
    argv += ["--state-dir", str(place / "state"), *words]
    started = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(argv[0], argv, os.environ, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def checkpoint(table: Path) -> None:
    """Write a checkpoint, in another process: the peak of memory of one that starts a run would count as the run's."""
    code = "import deltalake, sys; deltalake.DeltaTable(sys.argv[1]).create_checkpoint()"
    subprocess.run([sys.executable, "-c", code, str(table)], check=True)


def long_texts(place: Path) -> str:
    """300 commits of one row of 100 kB."""
    database(place / "s.db", 300, "hex(randomblob(50000))")
    _, cpu, resident = run(place, "--max-batch-size", "1")
    log = sum(f.stat().st_size for f in (place / "lake" / "r_1_schematized" / "_delta_log").glob("*"))
    return f"| 300 commits of a row with 100 kB of text | log {log / 1e6:.1f} MB | {resident:.0f} MB | {cpu:.1f} s |"


def many_files(place: Path) -> str:
    """A run with one new row on a table of `FILES` live files."""
    database(place / "s.db", 1, "'x'")
    run(place)
    log = place / "lake" / "r_1_schematized" / "_delta_log"
    table = DeltaTable(str(log.parent))
    first = next(json.loads(line)["add"] for line in (log / f"{table.version():020}.json").open() if '"add"' in line)
    with (log / f"{table.version() + 1:020}.json").open("w") as file:
        for n in range(FILES):
            name = f"part-{n:05}-{os.urandom(16).hex()}-c000.snappy.parquet"
            # What a commit names has to be there; ext4 takes 65,000 names of a file.
            if n % 50_000 == 0:
                whole = Path(shutil.copy(log.parent / first["path"], log.parent / name))
            else:
                os.link(whole, log.parent / name)
            file.write(json.dumps({"add": first | {"path": name}}) + "\n")
    checkpoint(log.parent)
    database(place / "s.db", 1, "'x'")
    run(place)
    checkpoint(log.parent)  # files since the last but one are looked at, after a power cut
    an_hour_ago = time.time() - 3_600  # what is younger than ten minutes is put on the disk once more at each start
    for path in (*log.iterdir(), *log.parent.iterdir(), log.parent):
        os.utime(path, (an_hour_ago, an_hour_ago))
    measured = []
    for _ in range(3):
        database(place / "s.db", 1, "'x'")
        measured.append(run(place))
    cpu, resident = (statistics.median(one[i] for one in measured) for i in (1, 2))
    idle = [run(place) for _ in range(3)]
    size = sum(f.stat().st_size for f in log.glob("*.checkpoint.parquet")) / 1e6
    quiet = statistics.median(one[1] for one in idle), statistics.median(one[2] for one in idle)
    return (
        f"| a run with a new row, {FILES:,} live files | checkpoint {size:.1f} MB | {resident:.0f} MB | {cpu:.2f} s |\n"
        f"| a run with nothing new, {FILES:,} live files | | {quiet[1]:.0f} MB | {quiet[0]:.2f} s |"
    )


def syncing(place: Path) -> str:
    """Wall time of 50 commits of 1,000 rows with and without fsync, in turn."""
    taken: dict[str, list[float]] = {"full": [], "off": []}
    for n in range(ROUNDS):
        for durability, all_of_it in taken.items():
            part = place / f"{n}{durability}"
            part.mkdir()
            database(part / "s.db", 50_000, "'x'")
            (part / "c.toml").write_text(f'[storage]\ndurability = "{durability}"\n')
            all_of_it.append(run(part, "--max-batch-size", "1000", "--config", str(part / "c.toml"))[0])
    full, off = (statistics.median(all_of_it) / 50 * 1000 for all_of_it in taken.values())
    return f"| a commit of 1,000 rows | synced {full:.1f} ms | not synced {off:.1f} ms | {full - off:+.1f} ms |"


if __name__ == "__main__":
    known = {measure.__name__: measure for measure in (long_texts, many_files, syncing)}
    for measure in [known[name] for name in sys.argv[1:]] or known.values():
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder)), flush=True)
