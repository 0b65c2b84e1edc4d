"""The demonstration: a sensor writes, edge-delta delivers into a folder, and the table is shown.

The sensor and edge-delta run as processes of their own, just as they do on a device. This one only looks on, and then
reads the table as anybody would.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable
from msgspec import Struct

from edge_delta.ask.output import as_table
from edge_delta.core.errors import ConfigurationError, EdgeDeltaError
from edge_delta.core.events import Event
from edge_delta.settings.load import variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


SECONDS = 6.0
"""How long the continuous run lasts."""
RATE = 200
"""Readings a second that the sensor writes."""
_DATABASE = "sensor.db"
_LOG = "edge-delta.log"
_BASE = "lake/readings"
_TABLE = f"{_BASE}_1_schematized"
_SHOWN_COLUMNS = ("reading_id", "timestamp", "sensor_id", "temperature", "node_id")
_SHOWN_ROWS = 5
_SHOWN_VERSIONS = 12


class Store(Struct, frozen=True):
    """Where the table goes, if not into the folder.

    Attributes:
        base: the table path.
        environment: what it takes to write there.
    """

    base: str
    environment: Mapping[str, str]

    @property
    def options(self) -> dict[str, str]:
        """Storage options for readers."""
        return {**{k.lower(): v for k, v in self.environment.items() if k.startswith("AWS_")}, "aws_allow_http": "true"}


def demo(folder: str | None, *, rows: int, s3: bool = False) -> int:
    """Show the main job on sample data.

    Args:
        folder: where to put it all; None makes a temporary folder, which is kept.
        rows: readings that are there before edge-delta starts.
        s3: whether to deliver to a local S3 server instead of a folder.

    Returns:
        0 if the table holds every reading exactly once, 1 if not.

    Raises:
        ConfigurationError: if the folder cannot be used.
    """
    # Its processes are in groups of their own, so that Ctrl-C, or a closed terminal, ends them in their order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    place = _prepared(folder)
    _say(f"Everything of this demonstration is in {place}")
    if not s3:
        return _shown(place, rows, None)
    from edge_delta.demo.local_s3 import BUCKET, local_s3  # noqa: PLC0415 - boto3, which only this needs

    with local_s3(place / "s3") as environment:
        _say(f"A local S3 server answers at {environment['AWS_ENDPOINT_URL']}; its log is {place / 's3.log'}")
        return _shown(place, rows, Store(f"s3://{BUCKET}/readings", environment))


def _shown(place: Path, rows: int, store: Store | None) -> int:
    with _sensor(place, rows) as sensor:
        _title(f"A sensor writes into {_DATABASE}")
        _say(f"SQLite in WAL mode: {_count(sensor):,} readings are there, {RATE} more come every second.")
        _title(f"edge-delta runs next to it for {SECONDS:.0f} seconds, with a cycle every second")
        code = _run(place, store, "--interval", "1", seconds=SECONDS)
        _say(f"Stopped with SIGTERM after the batch in flight: exit code {code}.")
        _title("The sensor stops, and edge-delta delivers the remaining rows with --once")
        written = _stopped(sensor)
        code = code or _run(place, store, "--once")
        _say(f"Exit code {code}.")
    if code:
        _say(f"Something went wrong; see {place / _LOG}.")
        return 1
    delivered = _show_table(place, store)
    equal = delivered == (written, written)
    verdict = "the same, each reading once" if equal else "NOT the same"
    _say(f"Readings in SQLite: {written:,}. Rows in the table: {delivered[0]:,}, different ids: {delivered[1]:,}.")
    _say(f"They are {verdict}.")
    if store is None:
        _say_what_next(place)
    else:
        _say("The server ends here. Without --s3 the table stays in a folder, where you can look at it.")
    return 0 if equal else 1


# -- the parts that run


def _prepared(folder: str | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="edge-delta-demo-"))
    place = Path(folder).expanduser().resolve()
    try:
        place.mkdir(parents=True, exist_ok=True)
        used = any(place.iterdir())
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be used: {error.strerror}", "Check --folder") from error
    if used:
        raise ConfigurationError(f"{place} is not empty", "Name an empty or a new folder with --folder")
    return place


@contextlib.contextmanager
def _sensor(place: Path, rows: int) -> Iterator[subprocess.Popen[str]]:
    """The sensor's process. It ends when its stdin closes, and so also when this process dies."""
    command = [
        sys.executable,
        "-m",
        "edge_delta.demo.sample",
        str(place / _DATABASE),
        f"--rows={rows}",
        f"--rate={RATE}",
    ]
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            yield process
        finally:
            _pipe(process.stdin).close()
            _pipe(process.stdout).read()  # its last report, which it would not be rid of otherwise


def _count(sensor: subprocess.Popen[str]) -> int:
    """The number of readings, from the sensor's next report."""
    line = _pipe(sensor.stdout).readline()
    if not line:
        raise EdgeDeltaError("the sample database cannot be written", "See the output above for the reason")
    return int(json.loads(line)["rows"])


def _stopped(sensor: subprocess.Popen[str]) -> int:
    _pipe(sensor.stdin).close()
    return _count(sensor)


def _flags(base: str) -> tuple[str, ...]:
    return (
        *("--sqlite", _DATABASE, "--table", "sensor_readings", "--timestamp-field", "timestamp"),
        *("--table-path", base, "--state-dir", "state"),
    )


def _run(place: Path, store: Store | None, *flags: str, seconds: float | None = None) -> int:
    """Run edge-delta with its log shown line by line; stops it after ``seconds``. Returns its exit code."""
    words = [*_flags(store.base if store is not None else _BASE), *flags]
    _say(f"$ {_program()} {shlex.join(words)}")
    theirs = set(variables())
    environment = {name: value for name, value in os.environ.items() if name not in theirs}
    environment |= dict(store.environment) if store is not None else {}
    command = [sys.executable, "-m", "edge_delta", "run", *words]
    with (
        (place / _LOG).open("a", encoding="utf-8") as log,
        subprocess.Popen(  # noqa: S603
            command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True, process_group=0
        ) as process,
    ):
        end = threading.Timer(seconds, process.terminate) if seconds is not None else None
        try:
            if end is not None:
                end.start()
            for line in _pipe(process.stderr):
                log.write(line)
                _show_event(line)
        finally:
            if end is not None:
                end.cancel()
            if process.poll() is None:
                process.terminate()
            process.wait()
    return process.returncode


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the process was started without this pipe")
    return stream


# -- what is shown


def _say(text: str) -> None:
    print(text, flush=True)


def _title(text: str) -> None:
    _say(f"\n== {text}")


def _show_event(line: str) -> None:
    """One line for each event that somebody who watches wants to see."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        _say(f"   {line.rstrip()}")
        return
    if event["event"] == Event.BATCH_COMMITTED:
        _say(
            f"   version {event['version']:>3}: {event['rows']:>7,} rows up to id {event['cursor']:>7,}"
            f"  in {event['seconds']:.2f} s"
        )
    elif event["level"] in ("warning", "error"):
        _say(f"   {event['level']}: {event['event']}: {event.get('error') or event.get('reason') or ''}")


def _show_table(place: Path, store: Store | None) -> tuple[int, int]:
    """Show the table's last rows and its history; returns its rows and its different ids."""
    options = store.options if store is not None else None
    uri = str(place / _TABLE) if store is None else store.base + "_1_schematized"
    table = DeltaTable(uri, storage_options=options)
    rows = pl.scan_parquet(table.file_uris(), storage_options=options, credential_provider=None)
    _title("The table, as any Delta reader sees it (its last rows, some of its columns)")
    last = rows.select(_SHOWN_COLUMNS).sort("reading_id").tail(_SHOWN_ROWS)
    _say(as_table(_SHOWN_COLUMNS, last.with_columns(pl.col("timestamp").dt.truncate("1s")).collect().rows()).rstrip())
    _title("Its history: each commit has its rows and the id they end at")
    _say(as_table(("version", "time", "operation", "rows"), _history(table)).rstrip())
    total, ids = rows.select(pl.len(), pl.col("reading_id").n_unique()).collect().row(0)
    return total, ids


def _history(table: DeltaTable) -> list[tuple[Any, ...]]:
    return [
        (
            commit["version"],
            f"{datetime.fromtimestamp(commit['timestamp'] / 1000, UTC):%H:%M:%S}",
            commit["operation"],
            int(commit.get("operationMetrics", {}).get("num_added_rows") or 0),
        )
        for commit in table.history(_SHOWN_VERSIONS)
    ]


def _program() -> str:
    """How the user started this, to be typed again."""
    started = sys.argv[0]
    if Path(started).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m edge_delta"
    return "edge-delta" if started == shutil.which("edge-delta") else shlex.quote(started)


def _say_what_next(place: Path) -> None:
    _title("What to type next")
    flags = [str(place / word) if word in (_DATABASE, _BASE, "state") else word for word in _flags(_BASE)]
    _say("Run it again: nothing is delivered twice.")
    _say(f"  {_program()} {shlex.join([*flags, '--once'])}")
    _say("Read the table:")
    code = f"import polars as pl; print(pl.read_delta({json.dumps(str(place / _TABLE))}))"
    _say(f"  {shlex.quote(sys.executable)} -c {shlex.quote(code)}")
    _say("Deliver your own database:")
    _say(f"  {_program()} --sqlite /path/to/your.db --table-path /path/to/lake/readings --once")
