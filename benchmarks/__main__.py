"""Measure everything and write docs/benchmarks.md: ``python -m benchmarks``.

::

    python -m benchmarks                              # all of it: about half an hour on two cores
    python -m benchmarks --only contenders            # the table of contenders
    python -m benchmarks --only commits --runs 1      # one of the growth benchmarks
    python -m benchmarks --output /tmp/report         # leave docs/ alone

Each part's raw figures go into ``benchmarks.json`` beside the page; parts that are not measured keep their last ones.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import growth, lean, measure, report
from tools.figures import with_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONTENDERS = (
    "floor",
    "edge_delta",
    "edge_delta_imported",
    "duckdb_parquet",
    "polars_delta",
    "plain_loop",
    "pandas_delta",
    "dlt_connectorx",
    "dlt_pyarrow",
)
PACKAGES = (
    *("adbc-driver-sqlite", "connectorx", "deltalake", "dlt", "duckdb", "edge-delta"),
    *("pandas", "polars", "pyarrow", "sqlalchemy"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        rows: rows that the contenders bring over.
        backlogs: backlogs for the time per row.
        sources: sizes of source for the idle cycle.
        swept: sizes of source for the sweep.
        versions: table versions for the cost of a commit.
        columns: numbers of columns.
        cells: cells in each of those tables.
        blobs: rows with a blob.
        blob_bytes: the size of each.
        modes: those that are measured one by one, and together.
        runs: how often each is measured.
        idle_cycles: over how many cycles an idle one is averaged.
    """

    rows: int = 1_000_000
    backlogs: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    sources: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    swept: tuple[int, ...] = (1_000_000, 10_000_000)
    versions: tuple[int, ...] = (100, 1_000, 10_000)
    columns: tuple[int, ...] = (10, 100, 1_000)
    cells: int = 10_000_000
    blobs: int = 20_000
    blob_bytes: int = 65_536
    modes: tuple[str, ...] = ("raw", "schematized", "sanitized", "aggregated", "emergency")
    runs: int = 5
    idle_cycles: int = 2_000


class Bench:
    """The parts, each a method that returns its raw figures.

    Args:
        sizes: how much.
        directory: for databases, which stay, and tables, which do not.
        contenders: who takes part.
        before: an older checkout with an environment of its own, for the parts that are measured beside one.
    """

    def __init__(
        self,
        sizes: Sizes,
        directory: Path,
        contenders: Sequence[str] = CONTENDERS,
        before: lean.Checkout | None = None,
    ) -> None:
        self._sizes = sizes
        self._directory = directory
        self._contenders = contenders
        self._before = before

    def contenders(self) -> dict[str, Any]:
        """Everyone on the same database, in turn."""
        database = self._database(self._sizes.rows)
        found = self._in_turn(self._contenders, lambda name: measure.contender(name, database, self._directory))
        return {"rows": self._sizes.rows, "runs": found}

    def backlog(self) -> dict[str, Any]:
        """edge-delta on backlogs of different length."""
        return self._edge_delta_on({str(rows): self._database(rows) for rows in self._sizes.backlogs})

    def columns(self) -> dict[str, Any]:
        """edge-delta on tables of different width, all of the same number of cells."""
        cells = self._sizes.cells
        return self._edge_delta_on({str(n): self._database(cells // n, columns=n) for n in self._sizes.columns})

    def blobs(self) -> dict[str, Any]:
        """edge-delta with a blob in every row."""
        database = self._database(self._sizes.blobs, blob_bytes=self._sizes.blob_bytes)
        return {"bytes": self._sizes.blob_bytes} | self._edge_delta_on({str(self._sizes.blobs): database})

    def places(self) -> dict[str, Any]:
        """The same readings with their places as they are and displaced, where places repeat and where none does."""
        databases = {"repeated": self._database(self._sizes.rows), "own": self._database(self._sizes.rows, moving=True)}
        strategies = {"exact": "", "per_place": '"radius_meters": 500', "planar_laplace": '"epsilon": 0.004'}

        def one(name: str) -> measure.Run:
            where, strategy = name.split(" ")
            numbers = strategies[strategy]
            said = f'{{"enabled": true, "strategy": "{strategy}", {numbers}, "harmless": ["location"]}}'
            fuzzing = {"GPS_FUZZING_CONFIG": said, "GPS_FUZZING_SECRET": "a secret of the benchmarks"}
            environment = fuzzing if numbers else {}
            return measure.contender("edge_delta", databases[where], self._directory, environment=environment)

        found = self._in_turn([f"{where} {strategy}" for where in databases for strategy in strategies], one)
        return {"rows": self._sizes.rows, "runs": found}

    def modes(self) -> dict[str, Any]:
        """Each mode alone, and all of them in one process."""
        database = self._database(self._sizes.rows)
        found = self._in_turn(
            [*self._sizes.modes, ",".join(self._sizes.modes)],
            lambda names: measure.modes(names.split(","), database, self._directory),
        )
        return {"rows": self._sizes.rows, "runs": found}

    def one_core(self) -> dict[str, Any]:
        """The floor and edge-delta on one core."""
        database = self._database(self._sizes.rows)
        found = self._in_turn(
            [lean.FLOOR, *self._versions()],
            lambda name: lean.on_one_core(name, database, self._directory, self._before),
        )
        return {"rows": self._sizes.rows, "runs": found} | self._named()

    def memory(self) -> dict[str, Any]:
        """What a process holds that waits after a backlog."""
        database = self._database(self._sizes.rows)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in self._versions()}
        for _ in range(min(3, self._sizes.runs)):
            for name, own in runs.items():
                checkout = self._before if name == lean.BEFORE and self._before else lean.HERE
                own.append(lean.idle_memory(checkout, database, self._directory))
        return {"rows": self._sizes.rows, "runs": runs} | self._named()

    def starts(self) -> dict[str, Any]:
        """What a start costs with each extra, and what it adds to what is installed."""
        starts = lean.Starts(self._directory, self._database(min(self._sizes.sources)))
        try:
            return {"runs": self._in_turn(lean.STARTS, starts.run), "installed": lean.installed()}
        finally:
            starts.close()

    def _versions(self) -> list[str]:
        return [lean.OURS, *([lean.BEFORE] if self._before else [])]

    def _named(self) -> dict[str, str]:
        return {"before": self._before.named()} if self._before else {}

    def syncing(self) -> dict[str, Any]:
        """Many commits to a folder, each synced to the disk, and not."""
        rows, each = min(self._sizes.rows, 50_000), max(1, min(self._sizes.rows, 50_000) // 50)
        database = self._database(rows)

        def one(durability: str) -> measure.Run:
            file = self._directory / f"{durability}.toml"
            file.write_text(f'[storage]\ndurability = "{durability}"\n', encoding="utf-8")
            environment = {"EDGE_DELTA_CONFIG": str(file), "MAX_BATCH_SIZE": str(each)}
            return measure.contender("edge_delta_imported", database, self._directory, environment=environment)

        return {"rows": each, "commits": -(-rows // each), "runs": self._in_turn(["full", "off"], one)}

    def once(self) -> dict[str, Any]:
        """A run with nothing to do."""
        times = max(self._sizes.runs, min(3 * self._sizes.runs, 15))
        ours, polars = growth.nothing_to_do(self._directory, self._database(min(self._sizes.sources)), times)
        return {"once": [r.as_json() for r in ours], "polars": [r.as_json() for r in polars]}

    def idle(self) -> dict[str, Any]:
        """Idle cycles beside sources of different size."""
        cycles = self._sizes.idle_cycles
        return {
            str(rows): [
                growth.idle(self._directory, self._database(rows), cycles) for _ in range(min(3, self._sizes.runs))
            ]
            for rows in self._sizes.sources
        }

    def sweep(self) -> dict[str, Any]:
        """Looks for rows below the cursor beside sources of different size."""
        return {
            str(rows): {
                what: [
                    growth.sweep(self._directory, self._database(rows), 5, gaps=gaps)
                    for _ in range(min(3, self._sizes.runs))
                ]
                for what, gaps in (("dense", False), ("gaps", True))
            }
            for rows in self._sizes.swept
        }

    def commits(self) -> dict[str, Any]:
        """Cost per commit at growing table versions, in a folder and on S3."""
        from tests.support.weed import ACCESS_KEY, BUCKET, SECRET_KEY, Weed

        found = {"folder": self._commits()}
        place = Path(tempfile.mkdtemp(prefix="weed-", dir=self._directory))
        server = Weed(place)
        credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        environment = credentials | {"AWS_ENDPOINT_URL": server.url, "AWS_REGION": "us-east-1"}
        try:
            found["S3"] = self._commits(bucket=BUCKET, environment=environment)
        finally:
            server.stop()
            shutil.rmtree(place)
        return {where: [asdict(window) for window in windows] for where, windows in found.items()}

    def _commits(self, bucket: str | None = None, environment: dict[str, str] | None = None) -> list[growth.Window]:
        """The windows of one store. The first is over in seconds, so it is taken several times, before and after."""

        def windows(*versions: int) -> list[growth.Window]:
            # A prefix of its own, as no table is left behind in the folder either.
            path = None if bucket is None else f"s3://{bucket}/{uuid.uuid4().hex}/{{node_id}}/readings"
            return growth.commits(self._directory, versions, table_path=path, environment=environment)

        first, *later = self._sizes.versions
        runs = max(1, self._sizes.runs // 2)
        firsts = [windows(first)[0] for _ in range(runs)]
        grown = windows(first, *later)
        firsts += [grown[0], *(windows(first)[0] for _ in range(runs))]
        return [sorted(firsts, key=lambda w: w.cpu)[len(firsts) // 2], *grown[1:]]

    def _edge_delta_on(self, databases: dict[str, Path]) -> dict[str, Any]:
        def one(name: str) -> measure.Run:
            return measure.contender("edge_delta_imported", databases[name], self._directory)

        return {"runs": self._in_turn(list(databases), one)}

    def _in_turn(self, names: Sequence[str], one: Callable[[str], measure.Run]) -> dict[str, list[dict[str, float]]]:
        found = measure.in_turn(names, self._sizes.runs, one)
        return {name: [r.as_json() for r in runs] for name, runs in found.items()}

    def _database(self, rows: int, **kind: int) -> Path:
        """A database with that content, made if it is not there yet."""
        name = "-".join(["readings", str(rows), *(f"{key}-{value}" for key, value in kind.items())])
        path = self._directory / f"{name}.db"
        if not path.exists():
            print(f"generating {path.name}", file=sys.stderr)
            unfinished = path.with_suffix(".part")
            names = {f"--{key.replace('_', '-')}": value for key, value in {"rows": rows, **kind}.items()}
            wanted = [name if value is True else f"{name}={value}" for name, value in names.items()]
            # Elsewhere, because no process that is measured can have a lower peak than this one.
            measure.run([sys.executable, "-m", "benchmarks.generate", str(unfinished), *wanted])
            unfinished.rename(path)
        measure.warm(path)
        return path


README = measure.ROOT / "README.md"
PARTS = (
    *("contenders", "one_core", "backlog", "columns", "blobs", "places", "modes", "memory", "once", "starts", "idle"),
    *("sweep", "commits", "syncing"),
)


def machine() -> dict[str, Any]:
    """What it was measured on, and with which versions."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    uname = os.uname()
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory,
        "system": f"{uname.sysname} {uname.release.split('-')[0]} {uname.machine}",
        "python": sys.version.split()[0],
        "packages": {name: number for name in PACKAGES if (number := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def bench(work: Bench, output: Path, parts: Sequence[str] = PARTS, *, plot: bool = True) -> None:
    """Measure these parts, and write the page, its plot and the raw figures into the folder."""
    output.mkdir(parents=True, exist_ok=True)
    raw = output / "benchmarks.json"
    results: dict[str, Any] = json.loads(raw.read_text(encoding="utf-8")) if raw.exists() else {}
    for part in parts:
        figures = getattr(work, part)()
        results[part] = {"on": machine(), "at": datetime.now(UTC).date().isoformat(), "figures": figures}
        raw.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report.write(results, output, plot=plot)
    if output.resolve() == measure.ROOT / "docs" and "contenders" in results:
        text = README.read_text(encoding="utf-8")
        README.write_text(
            with_figures(text, "bench", report.overview(results["contenders"]["figures"])), encoding="utf-8"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part (may be given again)")
    parser.add_argument("--rows", type=int, default=Sizes().rows, help="rows for the contenders")
    parser.add_argument("--runs", type=int, default=Sizes().runs, help="times that each is measured")
    parser.add_argument("--contender", action="append", choices=CONTENDERS, help="only these (may be given again)")
    parser.add_argument(
        "--before", type=Path, help="a folder with an older version and its .venv, to measure beside it"
    )
    parser.add_argument("--directory", type=Path, help="for databases, which stay (default: a temporary one)")
    parser.add_argument("--output", type=Path, default=measure.ROOT / "docs", help="where the page goes")
    parser.add_argument("--no-plot", action="store_true", help="for where matplotlib is not installed")
    options = parser.parse_args()
    directory = (options.directory or Path(tempfile.gettempdir()) / "edge-delta-benchmarks").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    before = lean.Checkout.of(options.before.resolve()) if options.before else None
    work = Bench(Sizes(rows=options.rows, runs=options.runs), directory, options.contender or CONTENDERS, before)
    bench(work, options.output, options.only or PARTS, plot=not options.no_plot)


if __name__ == "__main__":
    main()
