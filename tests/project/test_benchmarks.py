"""The harness of the benchmarks: it runs, and its page is complete. No time is judged here."""

from __future__ import annotations

import json
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import measure, report
from benchmarks.__main__ import PARTS, README, Bench, Sizes, bench
from benchmarks.generate import COLUMNS, TABLE, generate
from tools.figures import with_figures

if TYPE_CHECKING:
    from pathlib import Path

CONTENDERS = ("floor", "edge_delta", "plain_loop")  # those that need nothing beyond the dependencies
TINY = Sizes(
    rows=2_000,
    backlogs=(500, 1_000),
    sources=(500,),
    swept=(500,),
    versions=(3, 6),
    columns=(10, 40),
    cells=4_000,
    blobs=20,
    blob_bytes=4_096,
    modes=("raw", "emergency"),
    runs=1,
    idle_cycles=5,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page and the raw figures of a tiny run of everything."""
    output = tmp_path_factory.mktemp("docs")
    bench(Bench(TINY, tmp_path_factory.mktemp("work"), CONTENDERS), output, plot=False)
    return output


def test_every_part_is_measured_and_says_where_and_with_what(results: Path) -> None:
    raw = json.loads((results / "benchmarks.json").read_text())
    assert tuple(raw) == PARTS
    for part in raw.values():
        assert part["on"]["cores"] >= 1
        assert {"deltalake", "polars"} <= set(part["on"]["packages"])


def test_the_page_has_a_row_for_each_contender_and_no_empty_cell(results: Path) -> None:
    lines = (results / "benchmarks.md").read_text().splitlines()
    for name in CONTENDERS:
        row, *_ = [line for line in lines if line.startswith(f"| {report.NAMES[name]} |")]
        assert len(row.split("|")) == 11
    tables = [line for line in lines if line.startswith("| ") and not line.startswith("|  |")]
    assert not [line for line in tables if "|  |" in line]
    assert "nan" not in "".join(tables)


def test_every_contender_brings_over_every_row_in_each_run(results: Path) -> None:
    raw = json.loads((results / "benchmarks.json").read_text())["contenders"]["figures"]
    for runs in raw["runs"].values():
        assert [run["rows"] for run in runs] == [TINY.rows] * TINY.runs
        assert all(run["wall"] > 0 and run["cpu"] > 0 and run["peak"] > 0 for run in runs)
    assert all(run["written"] > 0 for run in raw["runs"]["edge_delta"])


def test_each_promise_is_printed_with_what_was_measured(results: Path) -> None:
    page = (results / "benchmarks.md").read_text()
    for promise in ("work, to the floor's", "peak MiB with a blob in every row", "CPU ms of an idle cycle", "(S3)"):
        assert promise in page.split("## What is promised")[1]


def test_an_older_version_stands_beside_this_one_with_its_commit() -> None:
    run = {"wall": 1.0, "cpu": 2.0, "peak": 2**20, "resident": 80 * 2**20, "anonymous": 2**20, "threads": 3}
    runs = {"edge_delta": [run], "before": [run | {"resident": 185 * 2**20}]}
    figures = {"rows": 1_000, "runs": runs, "before": "2026-11-25, commit 0123456"}
    page = "\n".join(report.memory(figures))
    assert "| **edge-delta**, schematized | 1 | 80 | 1 | 3 |" in page
    assert "| as it was before (2026-11-25, commit 0123456) | 1 | 185 | 1 | 3 |" in page
    *_, promise = report.promises({"memory": {"figures": figures}})
    assert promise == "| resident MiB of a process that waits after a backlog | 90 | 80 | yes |"


def test_the_page_of_a_small_machine_says_what_was_killed_and_whether_its_disk_was_slow() -> None:
    run = {"case": "week", "memory": 128, "code": 137, "killed": 1, "wall": 60.0, "cpu": 9.0, "peak": 128 * 2**20}
    day = {"memory": 256, "commits": 288, "upkeeps": 2, "cpu_ms": 40.0, "resident_mb": 90.0, "killed": 0, "wall": 70.0}
    figures = {"rows": 1_000, "runs": [run], "day": day, "slow": False, "bytes_per_second": 20_000_000}
    page = "\n".join(report.box(figures))
    assert "| windows of a week | 128 | 60 | 9.0 | 128 | 137 | 1 |" in page
    assert "could not be slowed" in page
    assert "of 20 MB/s" in "\n".join(report.box(figures | {"slow": True}))
    ended = "\n".join(report.box(figures | {"runs": [run | {"code": -9, "killed": 0, "over": True}], "day": None}))
    assert "| windows of a week | 128 | 60 | 9.0 | 128 | not finished, ended | 0 |" in ended
    assert "A day with default settings" not in ended


def test_the_pages_show_the_recorded_figures_and_no_others() -> None:
    results = json.loads((README.parent / "docs" / "benchmarks.json").read_text())
    assert "\n".join(report.page(results)) + "\n" == (README.parent / "docs" / "benchmarks.md").read_text()
    text = README.read_text()
    assert with_figures(text, "bench", report.overview(results["contenders"]["figures"])) == text


def test_a_contender_that_fails_fails_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(measure.Failed, match="floor"):
        measure.contender("floor", tmp_path / "missing.db", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_arguments_give_the_same_rows(tmp_path: Path) -> None:
    found = []
    for name in ("one.db", "two.db"):
        generate(tmp_path / name, 3_001)
        with sqlite3.connect(tmp_path / name) as database:
            found.append(database.execute(f"SELECT * FROM {TABLE}").fetchall())
        database.close()
    assert found[0] == found[1]
    assert [row[0] for row in found[0]] == list(range(1, 3_002))
    assert len(found[0][0]) == len(COLUMNS)


def test_wide_and_heavy_tables_have_the_width_and_weight_asked_for(tmp_path: Path) -> None:
    generate(tmp_path / "wide.db", 3, columns=1_000)
    generate(tmp_path / "blobs.db", 3, blob_bytes=65_536)
    wide = sqlite3.connect(tmp_path / "wide.db")
    assert len(wide.execute(f"SELECT * FROM {TABLE}").fetchone()) == 1_000
    wide.close()
    heavy = sqlite3.connect(tmp_path / "blobs.db")
    assert heavy.execute(f"SELECT sum(length(image)) FROM {TABLE}").fetchone() == (3 * 65_536,)
    heavy.close()


def test_the_command_writes_the_page_of_the_part_asked_for(tmp_path: Path) -> None:
    chosen = ["--only", "contenders", "--contender", "floor", "--rows", "500", "--runs", "1", "--no-plot"]
    argv = [sys.executable, "-m", "benchmarks", *chosen, "--output", "docs", "--directory", "work"]
    measure.run(argv, directory=tmp_path)
    assert "500 rows" in (tmp_path / "docs" / "benchmarks.md").read_text()


def test_a_spread_shows_median_least_and_most() -> None:
    assert measure.Spread.of([3.0, 1.0, 2.0]).shown() == "2.00 (1.00 to 3.00)"
    assert measure.ratio([2.0, 6.0], [1.0, 2.0]).median == 2.5
