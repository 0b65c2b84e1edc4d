"""The page that docs/ shows: tables, a plot, and what was promised beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.growth import PAUSE
from benchmarks.measure import Spread, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

NAMES = {
    "floor": "floor: SQLite visits every value",
    "edge_delta": "**edge-delta**, schematized",
    "edge_delta_imported": "the same, imported before",
    "duckdb_parquet": "DuckDB → one Parquet file",
    "polars_delta": "Polars, connectorx → Delta",
    "plain_loop": "plain loop → Delta",
    "pandas_delta": "pandas → Delta",
    "dlt_connectorx": "dlt, connectorx → Delta",
    "dlt_pyarrow": "dlt, pyarrow → Delta",
}
_IMPORTED = "edge_delta_imported"  # tells the work; beside the others it would be edge-delta twice
PLOT = "benchmarks.svg"
_MB = 1e6
_MIB = 2**20

Figures = dict[str, Any]


def write(results: Figures, output: Path, *, plot: bool) -> None:
    """Write the page and its plot.

    Args:
        results: raw figures by part, as in ``benchmarks.json``.
        output: the folder.
        plot: whether to draw; that takes matplotlib.
    """
    if plot and "contenders" in results:
        draw(results["contenders"]["figures"], output / PLOT)
    (output / "benchmarks.md").write_text("\n".join(page(results)) + "\n", encoding="utf-8")


def overview(figures: Figures) -> str:
    """The contenders in short, for the README."""
    runs = figures["runs"]
    head = ["", "whole process, s", "to edge-delta", "peak memory, MiB", "written, MB"]
    rows = []
    for name, own in runs.items():
        if name not in ("floor", _IMPORTED):
            seconds, peak = Spread.of(_of(own, "wall")).median, Spread.of(_of(own, "peak")).median / _MIB
            times = ratio(_of(own, "wall"), _of(runs["edge_delta"], "wall")).median
            written = Spread.of(_of(own, "written")).median / _MB
            rows.append([NAMES[name], f"{seconds:.1f}", f"{times:.1f}", f"{peak:,.0f}", f"{written:.0f}"])
    about = f"{figures['rows']:,} readings of 18 columns, out of SQLite into a folder, on a machine with two cores:"
    return "\n".join([about, *_table(head, rows)])


def page(results: Figures) -> Iterator[str]:
    """The page, line by line."""
    yield "# Benchmarks"
    yield ""
    yield "<!-- Written by `make bench` from what it measured; changes by hand are lost. -->"
    yield ""
    yield (
        "`make bench` measures every figure again (or one part, for example "
        "`make bench ARGS='--only contenders'`). Figures are medians, with the minimum and the maximum; "
        "ratios are taken pair by pair, between runs that followed each other. Times of two machines cannot be "
        "compared, ratios can."
    )
    for part, section in _SECTIONS.items():
        if part in results:
            yield from section(results[part]["figures"])
            yield ""
            yield _measured_on(results[part])
    yield from promises(results)


def _measured_on(part: Figures) -> str:
    on = part["on"]
    packages = ", ".join(f"{name} {version}" for name, version in on["packages"].items())
    return (
        f"<sub>{part['at']}: {on['processor']}, {on['cores']} cores, {on['memory'] / 2**30:.0f} GiB, {on['system']}, "
        f"Python {on['python']}, {packages}.</sub>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield "| " + " | ".join(head) + " |"
    yield "| --- " + "| ---: " * (len(head) - 1) + "|"
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def _of(runs: Sequence[Figures], key: str) -> list[float]:
    return [run[key] for run in runs]


def contenders(figures: Figures) -> Iterator[str]:
    """The contenders on one database."""
    runs = figures["runs"]
    yield ""
    yield f"## {figures['rows']:,} rows of 18 columns"
    yield ""
    yield (
        "The same SQLite file, each contender in its own process, in turn. *Whole* is the process from start to "
        "end, *work* is without start-up and imports. edge-delta imports while it reads, so its work is measured in a "
        "process that imported everything before. The floor visits the values and writes nothing; DuckDB writes one "
        "file without a Delta log, a cursor or timestamps."
    )
    yield ""
    yield f"![wall time, memory and bytes of each contender]({PLOT})"
    head = ["whole s", "work s", "CPU s", "peak MiB", "written MB", "rows/s", "whole, to ours", "work, to the floor"]
    yield from _table(["", *head], [_contender(name, runs) for name in runs])


def _contender(name: str, runs: Figures) -> list[str]:
    own = runs[name]
    written = Spread.of(b / _MB for b in _of(own, "written"))
    cells = [
        Spread.of(_of(own, "wall")).shown(),
        Spread.of(_of(own, "seconds")).shown(),
        Spread.of(_of(own, "cpu")).shown(),
        Spread.of(b / _MIB for b in _of(own, "peak")).shown(0),
        "-" if not written.most else written.shown(1),
        f"{Spread.of(r['rows'] / r['seconds'] for r in own).median:,.0f}",
    ]
    for other, key in (("edge_delta", "wall"), ("floor", "seconds")):
        against = runs.get(other)
        cells.append(ratio(_of(own, key), _of(against, key)).shown() if against else "-")
    return [NAMES[name], *cells]


def one_core(figures: Figures) -> Iterator[str]:
    """CPU where there is one core."""
    runs = figures["runs"]
    yield ""
    yield f"## {figures['rows']:,} rows on one core"
    yield ""
    yield (
        "Whole processes in turn, with their start and imports, none of which may use more than one core. Where "
        "*whole* is much longer than *CPU*, others used the machine meanwhile, which takes CPU, too."
    )
    head = ["", "whole s", "CPU s", "peak MiB", "CPU, to the floor"]
    yield from _table(
        head,
        [
            [
                _version(name, figures),
                Spread.of(_of(own, "wall")).shown(),
                Spread.of(_of(own, "cpu")).shown(),
                Spread.of(b / _MIB for b in _of(own, "peak")).shown(0),
                ratio(_of(own, "cpu"), _of(runs["floor"], "cpu")).shown(),
            ]
            for name, own in runs.items()
        ],
    )


def _version(name: str, figures: Figures) -> str:
    return f"as it was before ({figures['before']})" if name == "before" else NAMES[name]


def memory(figures: Figures) -> Iterator[str]:
    """What a process holds that waits."""
    yield ""
    yield "## Memory of a process that waits after a backlog"
    yield ""
    yield (
        f"A running process that has delivered {figures['rows']:,} rows and waits for the next cycle, five seconds "
        "after the last commit; it does nothing until then. *Anonymous* is what cannot be read again from a file."
    )
    keys = {"peak": (0, _MIB), "resident": (0, _MIB), "anonymous": (0, _MIB), "threads": (0, 1)}
    yield from _table(
        ["", "peak MiB", "resident MiB", "of it anonymous MiB", "threads"],
        [
            [
                _version(name, figures),
                *(Spread.of(n / per for n in _of(own, key)).shown(d) for key, (d, per) in keys.items()),
            ]
            for name, own in figures["runs"].items()
        ],
    )


def starts(figures: Figures) -> Iterator[str]:
    """What extras cost."""
    runs, installed = figures["runs"], figures["installed"]
    names = {
        "nothing more": "`edge-delta --once`, up to date",
        "metrics_file": "the same with `metrics_file`",
        "otlp": "the same with `otlp_endpoint`, the extra `otlp`",
        "databricks": "the import that a query of a warehouse begins with, the extra `databricks`",
    }
    yield ""
    yield "## What extras cost at a start, and on the disk"
    yield ""
    yield (
        "*Packages* and *MB* of an extra are what it adds to an installation; those of the first line are all others. "
        "The image leaves out of them what is never opened (`deploy/slim.py`), and has no extra."
    )
    yield from _table(
        ["", "whole s", "CPU s", "peak MiB", "packages", "MB"],
        [
            [
                shown,
                Spread.of(_of(runs[name], "wall")).shown(3),
                Spread.of(_of(runs[name], "cpu")).shown(3),
                Spread.of(b / _MIB for b in _of(runs[name], "peak")).shown(0),
                *([f"{found['packages']}", f"{found['bytes'] / _MB:.0f}"] if found else ["-", "-"]),
            ]
            for name, shown in names.items()
            for found in [installed.get(name)]
        ],
    )


def backlog(figures: Figures) -> Iterator[str]:
    """Time per row."""
    yield ""
    yield "## Time per row, by the length of the backlog"
    yield from _table(
        ["rows", "work s", "µs per row", "peak MiB", "written MB"],
        [[f"{int(n):,}", *_work(runs, 1e6 / int(n))] for n, runs in figures["runs"].items()],
    )


def columns(figures: Figures) -> Iterator[str]:
    """Time per cell."""
    yield ""
    yield "## Time per cell, by the number of columns"
    rows = {n: runs[0]["rows"] for n, runs in figures["runs"].items()}
    yield from _table(
        ["columns", "rows", "work s", "ns per cell", "peak MiB", "written MB"],
        [[n, f"{rows[n]:,}", *_work(runs, 1e9 / (rows[n] * int(n)))] for n, runs in figures["runs"].items()],
    )


def blobs(figures: Figures) -> Iterator[str]:
    """Memory with blobs."""
    yield ""
    yield f"## Rows with a blob of {figures['bytes'] // 1024} KiB each"
    yield from _table(
        ["rows", "work s", "ms per row", "peak MiB", "written MB"],
        [[f"{int(n):,}", *_work(runs, 1e3 / int(n))] for n, runs in figures["runs"].items()],
    )


def places(figures: Figures) -> Iterator[str]:
    """What displacing places costs."""
    runs = figures["runs"]
    yield ""
    yield f"## {figures['rows']:,} rows with displaced places"
    yield ""
    yield (
        "The sensor table with places as they are and displaced (`[gps_fuzzing]`), whole processes in turn: where "
        "50 sensors report the same place again and again, and where each reading has a place of its own."
    )
    head = ["", "whole s", "CPU s", "peak MiB", "whole, to exact", "CPU, to exact"]
    yield from _table(head, [_places(name, own, runs) for name, own in runs.items()])


def _places(name: str, own: Sequence[Figures], runs: Figures) -> list[str]:
    where, strategy = name.split(" ")
    exact = runs[f"{where} exact"]
    return [
        f"{'places repeat' if where == 'repeated' else 'each has its own'}, {strategy}",
        Spread.of(_of(own, "wall")).shown(),
        Spread.of(_of(own, "cpu")).shown(),
        Spread.of(b / _MIB for b in _of(own, "peak")).shown(0),
        ratio(_of(own, "wall"), _of(exact, "wall")).shown(),
        ratio(_of(own, "cpu"), _of(exact, "cpu")).shown(),
    ]


def modes(figures: Figures) -> Iterator[str]:
    """What several modes of one table cost."""
    runs = figures["runs"]
    dearest = runs[_dearest(runs)]
    yield ""
    yield f"## {figures['rows']:,} rows in each mode, and in all of them"
    yield ""
    yield (
        "Whole processes with `--once` in turn, into a folder. All modes in one process read each batch once. *To the "
        "dearest* is against the mode that takes most CPU by itself."
    )
    head = ["", "whole s", "CPU s", "peak MiB", "CPU, to the dearest"]
    yield from _table(head, [_mode(name, own, dearest) for name, own in runs.items()])


def _dearest(runs: Figures) -> str:
    return max((name for name in runs if "," not in name), key=lambda name: Spread.of(_of(runs[name], "cpu")).median)


def _mode(name: str, own: Sequence[Figures], dearest: Sequence[Figures]) -> list[str]:
    return [
        f"all {len(name.split(','))} in one process" if "," in name else name,
        Spread.of(_of(own, "wall")).shown(),
        Spread.of(_of(own, "cpu")).shown(),
        Spread.of(b / _MIB for b in _of(own, "peak")).shown(0),
        ratio(_of(own, "cpu"), _of(dearest, "cpu")).shown(),
    ]


def _work(runs: Sequence[Figures], scale: float) -> list[str]:
    seconds = _of(runs, "seconds")
    return [
        Spread.of(seconds).shown(),
        Spread.of(s * scale for s in seconds).shown(3),
        Spread.of(b / _MIB for b in _of(runs, "peak")).shown(0),
        Spread.of(b / _MB for b in _of(runs, "written")).shown(1),
    ]


def once(figures: Figures) -> Iterator[str]:
    """A start with nothing to do."""
    yield ""
    yield "## A run with nothing to do"
    names = {"once": "`edge-delta --once`, up to date", "polars": "`python -c 'import polars'`"}
    yield from _table(
        ["", "whole s", "CPU s", "peak MiB", "CPU, to polars"],
        [
            [
                shown,
                Spread.of(_of(figures[name], "wall")).shown(3),
                Spread.of(_of(figures[name], "cpu")).shown(3),
                Spread.of(b / _MIB for b in _of(figures[name], "peak")).shown(0),
                ratio(_of(figures[name], "cpu"), _of(figures["polars"], "cpu")).shown(),
            ]
            for name, shown in names.items()
        ],
    )


def idle(figures: Figures) -> Iterator[str]:
    """Idle cycles."""
    yield ""
    yield "## An idle cycle of a running process"
    yield from _table(
        ["rows in the source", "CPU ms per cycle"],
        [[f"{int(n):,}", Spread.of(s * 1e3 for s in seconds).shown(3)] for n, seconds in figures.items()],
    )


def sweep(figures: Figures) -> Iterator[str]:
    """Looks for rows below the cursor."""
    yield ""
    yield "## A look for rows below the cursor"
    yield ""
    yield (
        "Every `sweep` seconds (default 3,600), if the source was written since: what cycles with one new row take "
        "more with such a look. Nothing came below the cursor, so neither a cell nor the table is read. A cycle counts "
        "for at most half a second of CPU; what it does not get to is counted in the next ones, and is in these "
        "figures. The rows have 216 bytes."
    )
    yield from _table(
        ["rows in the source", "CPU ms, ids without a gap", "CPU ms, one id in 1,000 missing"],
        [
            [f"{int(n):,}", *(Spread.of(s * 1e3 for s in one[what]).shown(1) for what in ("dense", "gaps"))]
            for n, one in figures.items()
        ],
    )


def commits(figures: Figures) -> Iterator[str]:
    """Cost per commit."""
    yield ""
    yield "## Cost of a commit, by the table's version"
    yield ""
    yield (
        "Commits of 20 rows by one running process that maintains its table, up to a day's commits before each "
        "version. CPU and wall time count the whole process: reading, committing, maintenance, logging, and for wall "
        "time the pause of 10 ms between cycles. *Maintenance* is each commit's share of compactions and clean-ups. "
        "In the folder, files of the log are given the age that they would have at one commit every 300 s, so that the "
        "retention of 3 days removes them; on S3 all of them stay. In both, the list of replaced files stays."
    )
    yield from _table(
        [
            "",
            "version",
            "commit ms",
            "CPU ms per commit",
            "wall ms per commit",
            "maintenance ms per commit",
            "CPU, to the first",
        ],
        [
            [
                where,
                f"{window['version']:,}",
                Spread(**{k: v * 1e3 for k, v in window["commit"].items()}).shown(1),
                f"{window['cpu'] * 1e3:.1f}",
                f"{window['wall'] * 1e3:.1f}",
                f"{window['upkeep'] * 1e3:.1f}",
                f"{window['cpu'] / windows[0]['cpu']:.2f}",
            ]
            for where, windows in figures.items()
            for window in windows
        ],
    )


def syncing(figures: Figures) -> Iterator[str]:
    """What it costs that a commit survives a power cut."""
    runs, count = figures["runs"], figures["commits"]
    yield ""
    yield "## Syncing each commit to the disk"
    yield ""
    yield (
        f"{count} commits of {figures['rows']:,} rows to a folder, whole backlogs in turn: with `[storage] durability "
        '= "full"` (the default) data file, commit and directories are on the disk before a commit is reported.'
    )
    yield from _table(
        ["durability", "wall ms per commit", "CPU ms per commit", "wall, to off", "CPU, to off"],
        [
            [
                name,
                Spread.of(s * 1e3 / count for s in _of(own, "seconds")).shown(1),
                Spread.of(s * 1e3 / count for s in _of(own, "cpu")).shown(1),
                ratio(_of(own, "seconds"), _of(runs["off"], "seconds")).shown(),
                ratio(_of(own, "cpu"), _of(runs["off"], "cpu")).shown(),
            ]
            for name, own in runs.items()
        ],
    )


def box(figures: Figures) -> Iterator[str]:
    """A machine like a small single-board computer."""
    day, slow = figures["day"], figures["bytes_per_second"] / _MB
    disk = f"a disk of {slow:.0f} MB/s" if figures["slow"] else "a disk that could not be slowed here"
    yield ""
    yield "## A small machine: one core, little memory, a slow disk"
    yield ""
    yield (
        f"`make box`: {figures['rows']:,} rows under a hard limit of memory (a group of the kernel's, no swap), on one "
        f"core and {disk}, on which the program, the database, the state and the tables are; nothing of it is in "
        "memory at the start. `max_memory` is set to the limit. *Memory* is what the kernel counted, with what it kept "
        "of files, which it lets go of where there is need: it may come to the limit. *Windows of a week* have a "
        "median and a percentile, and are written at the end."
    )
    names = {"schematized": "schematized", "week": "windows of a week"}
    yield from _table(
        ["", "limit MiB", "whole s", "CPU s", "memory MiB", "exit code", "killed"],
        [
            [
                names.get(run["case"], "all five modes"),
                f"{run['memory']}",
                f"{run['wall']:.0f}",
                f"{run['cpu']:.1f}",
                f"{run['peak'] / _MIB:.0f}",
                "not finished, ended" if run.get("over") else f"{run['code']}",
                f"{run['killed']}",
            ]
            for run in figures["runs"]
        ],
    )
    if day is None:
        return
    yield ""
    yield (
        f"A day with default settings there, by a moved clock: {day['commits']} commits of 20 rows and "
        f"{day['upkeeps']} maintenances in {day['wall']:.0f} s, {day['cpu_ms']:.0f} ms of CPU per commit in the "
        f"last quarter, {day['resident_mb']:.0f} MB resident at the end, {day['killed']} killed at {day['memory']} MiB."
    )


_SECTIONS: dict[str, Callable[[Figures], Iterator[str]]] = {
    "contenders": contenders,
    "one_core": one_core,
    "backlog": backlog,
    "columns": columns,
    "blobs": blobs,
    "places": places,
    "modes": modes,
    "memory": memory,
    "once": once,
    "starts": starts,
    "idle": idle,
    "sweep": sweep,
    "commits": commits,
    "syncing": syncing,
    "box": box,
}


def promises(results: Figures) -> Iterator[str]:
    """What the project promises of itself, each with the figure that was measured."""
    found = {part: value["figures"] for part, value in results.items()}
    rows = [row for part, check in _PROMISES.items() if part in found for row in check(found[part])]
    if rows:
        yield ""
        yield "## What is promised"
        yield from _table(
            ["", "at most", "measured", "holds"],
            [[what, f"{limit:g}", f"{got:.3g}", "yes" if got <= limit else "**no**"] for what, limit, got in rows],
        )


Promise = tuple[str, float, float]


def _of_contenders(figures: Figures) -> Iterator[Promise]:
    runs = figures["runs"]
    ours = runs.get("edge_delta")
    if ours is None:
        return
    imported = runs.get(_IMPORTED, ours)

    def against(name: str, key: str) -> float:
        return ratio(_of(imported if key == "seconds" else ours, key), _of(runs[name], key)).median

    if "floor" in runs:
        yield "work, to the floor's", 2.5, against("floor", "seconds")
    if "duckdb_parquet" in runs:
        yield "work, to DuckDB's", 1.0, against("duckdb_parquet", "seconds")
        yield "bytes, to DuckDB's", 0.9, against("duckdb_parquet", "written")
    dlt = [against(name, "wall") for name in ("dlt_connectorx", "dlt_pyarrow") if name in runs]
    if dlt:
        yield "whole process, to dlt's best backend", 0.25, max(dlt)
    if "pandas_delta" in runs:
        yield "whole process, to pandas", 0.2, against("pandas_delta", "wall")
    yield f"peak MiB at {figures['rows']:,} rows", 256, Spread.of(_of(ours, "peak")).median / _MIB


def _of_one_core(figures: Figures) -> Iterator[Promise]:
    runs = figures["runs"]
    yield (
        "CPU on one core, to the floor's",
        2.0,
        ratio(_of(runs["edge_delta"], "cpu"), _of(runs["floor"], "cpu")).median,
    )


def _of_memory(figures: Figures) -> Iterator[Promise]:
    resident = Spread.of(_of(figures["runs"]["edge_delta"], "resident")).median / _MIB
    yield "resident MiB of a process that waits after a backlog", 90, resident


def _of_backlog(figures: Figures) -> Iterator[Promise]:
    sizes = list(figures["runs"])
    for size in sizes:
        peak = Spread.of(_of(figures["runs"][size], "peak")).median / _MIB
        yield f"peak MiB at a backlog of {int(size):,} rows", 256, peak
    if len(sizes) > 1:
        small, large = sizes[-2:]
        pairs = ratio(_of(figures["runs"][large], "seconds"), _of(figures["runs"][small], "seconds"))
        per_row = pairs.median * int(small) / int(large)
        yield f"time per row at {int(large):,} rows, to that at {int(small):,}", 1.1, per_row


def _of_blobs(figures: Figures) -> Iterator[Promise]:
    for runs in figures["runs"].values():
        yield "peak MiB with a blob in every row", 256, Spread.of(_of(runs, "peak")).median / _MIB


def _of_modes(figures: Figures) -> Iterator[Promise]:
    runs = figures["runs"]
    together = next(name for name in runs if "," in name)
    cpu = ratio(_of(runs[together], "cpu"), _of(runs[_dearest(runs)], "cpu")).median
    yield f"CPU of {len(together.split(','))} modes, to the dearest alone", 2.5, cpu
    yield "peak MiB with all modes", 256, Spread.of(_of(runs[together], "peak")).median / _MIB


def _of_places(figures: Figures) -> Iterator[Promise]:
    runs = figures["runs"]
    for where, shown in (("repeated", "places that repeat"), ("own", "a place of its own in each row")):
        cpu = ratio(_of(runs[f"{where} per_place"], "cpu"), _of(runs[f"{where} exact"], "cpu")).median
        yield f"CPU with {shown}, displaced, to exact", 1.1, cpu


def _of_once(figures: Figures) -> Iterator[Promise]:
    cpu = ratio(_of(figures["once"], "cpu"), _of(figures["polars"], "cpu")).median
    yield "CPU with nothing to do, to `import polars`", 1.0, cpu


def _of_idle(figures: Figures) -> Iterator[Promise]:
    yield "CPU ms of an idle cycle, at any size", 5.0, max(Spread.of(s).median for s in figures.values()) * 1e3


def _of_sweep(figures: Figures) -> Iterator[Promise]:
    rows, one = list(figures.items())[-1]
    seconds = max(Spread.of(one[what]).median for what in ("dense", "gaps"))
    yield f"CPU s of a look for rows below the cursor, at {int(rows):,} rows", 1.0, seconds


def _of_commits(figures: Figures) -> Iterator[Promise]:
    for where, windows in figures.items():
        first, last = windows[0], windows[-1]
        growth = last["cpu"] / first["cpu"]
        yield f"CPU per commit at version {last['version']:,}, to {first['version']:,} ({where})", 1.25, growth
        growth = (last["wall"] - PAUSE) / (first["wall"] - PAUSE)
        yield f"time per commit at version {last['version']:,}, to {first['version']:,} ({where})", 1.25, growth


_PROMISES: dict[str, Callable[[Figures], Iterator[Promise]]] = {
    "contenders": _of_contenders,
    "one_core": _of_one_core,
    "backlog": _of_backlog,
    "blobs": _of_blobs,
    "places": _of_places,
    "modes": _of_modes,
    "memory": _of_memory,
    "once": _of_once,
    "idle": _of_idle,
    "sweep": _of_sweep,
    "commits": _of_commits,
}


def draw(figures: Figures, path: Path) -> None:
    """Time, memory and bytes of each contender as bars."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "edge-delta"
    from matplotlib import pyplot as plt

    runs = figures["runs"]
    names = [name for name in runs if name != _IMPORTED][::-1]
    panels = (
        ("wall", 1.0, "whole process, s"),
        ("peak", 1 / _MIB, "peak memory, MiB"),
        ("written", 1 / _MB, "MB written"),
    )
    chart, axes = plt.subplots(1, len(panels), figsize=(11, 0.45 * len(names) + 1.2), sharey=True)
    for axis, (key, scale, title) in zip(axes, panels, strict=True):
        spreads = [Spread.of(v * scale for v in _of(runs[name], key)) for name in names]
        reach = [[s.median - s.least for s in spreads], [s.most - s.median for s in spreads]]
        colours = ["#d9480f" if name == "edge_delta" else "#868e96" for name in names]
        axis.barh([NAMES[n].replace("**", "") for n in names], [s.median for s in spreads], color=colours, xerr=reach)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    chart.tight_layout()
    chart.savefig(path, metadata={"Date": None})
    plt.close(chart)
