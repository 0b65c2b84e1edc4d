"""What a start costs: packages that an idle run does not need are not imported."""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import edge_delta

HEAVY = {"polars", "pyarrow", "boto3", "botocore", "duckdb", "pandas"}
SELDOM = {
    *("structlog", "rich", "asyncio", "tenacity", "tomli", "tqdm", "prometheus_client", "http", "ssl", "random"),
    *("_hashlib", "shutil", "bz2", "lzma"),
}
"""Small ones, and what they bring along, which together cost as much as the rest of an idle run."""
OF_OTHER_RUNS = {
    *("edge_delta.source.rows", "edge_delta.source.census", "edge_delta.core.capsules", "edge_delta.core.ports"),
    *("edge_delta.core.counting", "edge_delta.modes.privacy.policy", "edge_delta.topology.draws"),
    *("edge_delta.device.settled", "edge_delta.device.thrift"),
}
"""Our own, of which each costs as much as ten system calls and a quarter of a millisecond."""
SHARE_OF_POLARS = 0.95
SHOW_MODULES = """
import json, sys
import edge_delta
from edge_delta.cli.main import main
code = main(sys.argv[1:])
ours = [name for name in sys.modules if name.startswith("edge_delta.")]
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules}) + ours]))
"""


def modules_after(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of edge-delta in a process of its own, and what it had imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NODE_ID": "device-1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, names = json.loads(done.stdout.splitlines()[-1])
    return code, set(names)


def sensor(path: Path, rows: int) -> None:
    """A database written by another process."""
    sql = f"""
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE r (id INTEGER PRIMARY KEY, timestamp TEXT, temperature REAL)")
db.executemany("INSERT INTO r VALUES (?, '2026-11-22T01:41:34+00:00', 1.5)", [(i,) for i in range(1, {rows + 1})])
db.commit()
db.close()
"""
    subprocess.run([sys.executable, "-c", sql, str(path)], check=True)


@pytest.fixture
def flags(tmp_path):
    return [
        *("--once", "--sqlite", str(tmp_path / "s.db"), "--table-path", str(tmp_path / "lake" / "r")),
        *("--state-dir", str(tmp_path / "state")),
    ]


def test_an_empty_table_needs_no_heavy_package(tmp_path, flags):
    sensor(tmp_path / "s.db", 0)
    code, names = modules_after(*flags)
    assert code == 0
    assert names & HEAVY == set()


def test_a_run_with_nothing_new_needs_no_heavy_package(tmp_path, flags):
    sensor(tmp_path / "s.db", 10)
    code, names = modules_after(*flags)
    assert code == 0
    assert "polars" in names
    code, names = modules_after(*flags)
    assert code == 0
    assert names & (HEAVY | SELDOM | OF_OTHER_RUNS) == set()


def cpu_seconds(argv):
    """What a process costs as a whole, its threads included."""
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    process = os.posix_spawn(argv[0], argv, {**os.environ, "NODE_ID": "device-1"}, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return used.ru_utime + used.ru_stime


def test_a_run_with_nothing_new_costs_less_than_importing_polars(tmp_path, flags):
    sensor(tmp_path / "s.db", 10)
    once = [str(Path(sys.executable).with_name("edge-delta")), *flags]
    polars = [sys.executable, "-c", "import polars"]
    # As installed: pip compiles a wheel's modules. A checkout's may be compiled again at every start.
    compileall.compile_dir(str(Path(edge_delta.__file__).parent), quiet=1)
    cpu_seconds(once)
    shares = [cpu_seconds(once) / cpu_seconds(polars) for _ in range(7)]
    assert statistics.median(shares) < SHARE_OF_POLARS, shares


def test_the_main_job_into_a_folder_needs_neither_pyarrow_nor_an_sdk(tmp_path, flags):
    sensor(tmp_path / "s.db", 10)
    _, names = modules_after(*flags)
    assert names & (HEAVY - {"polars"}) == set()


def test_wrong_settings_are_told_before_anything_is_imported(tmp_path):
    code, names = modules_after("--sqlite", str(tmp_path / "s.db"), "--interval", "soon")
    assert code == 2
    assert names & (HEAVY | {"deltalake", "adbc_driver_sqlite"}) == set()


def test_no_module_of_the_running_process_uses_a_second_sqlite_library(tmp_path, flags):
    sensor(tmp_path / "s.db", 10)
    _, names = modules_after(*flags)
    assert names & {"sqlite3", "_sqlite3"} == set()


SHOW_COLLECTIONS = """
import gc, os
seen = []
gc.collect()
gc.callbacks.append(lambda phase, _: seen.append(phase))
os._exit = lambda code: print(code, len(seen))
from edge_delta.cli.main import entry
entry()
"""


def test_nothing_is_imported_before_collections_are_off(tmp_path):
    for _ in range(2):  # what is compiled the first time makes objects that are collected
        done = subprocess.run(
            [sys.executable, "-c", SHOW_COLLECTIONS, "--once", "--interval", "soon"],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
    assert done.stdout.split() == ["2", "0"], done.stderr
