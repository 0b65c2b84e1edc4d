"""Forty tables of three files in one process: what is damaged, locked, behind or urgent holds up nothing but itself.

``python -m tools.forty``: tables with and without rowid and views, one of them a million rows behind in three modes
that share its batches, one that alerts, one with a torn page, and a file that another process keeps locked; on S3, with
an application that goes on writing. First it is measured what alerts take beside the backlog, and the peak of memory.
Then there is another backlog, and the process is killed again and again under faults on the wire, while the locked file
comes and goes. In the end each row has to be in its tables once, and only the damaged table ends with an error.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import lake_at
from tests.support.command import EdgeDelta, eventually
from tests.support.proxy import Proxy
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tests.support.weed import Weed
from tools.torture import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Finished, Running
    from tests.support.proxy import Fault

SHARING = ("raw", "schematized", "sanitized")
"""The modes of the table that is behind; each batch is read once for all of them."""
_SUFFIX = {"raw": "_0_raw", "schematized": "_1_schematized", "sanitized": "_2_sanitized", "emergency": "_4_emergency"}
_COLUMNS = "sensor_id TEXT, timestamp INTEGER, value REAL"
_BEGAN = 1_767_225_600_000
_FAULTY = 0.01
_TORN_ROWS = 2_000
_LOG = r"/alerts_4_emergency/_delta_log/(\d{20})\.json$"


class Size(NamedTuple):
    """How much of everything.

    Attributes:
        rowid: plain tables.
        keyed: tables without rowid.
        views: views of plain tables.
        locked: tables of the file that is locked.
        backlog: rows that wait at first.
        again: rows that wait when the kills begin.
        kills: how many.
    """

    rowid: int = 22
    keyed: int = 5
    views: int = 4
    locked: int = 5
    backlog: int = 1_000_000
    again: int = 300_000
    kills: int = 40

    @property
    def tables(self) -> int:
        """All of them: besides those above, the one that is behind, that of alerts, and two in the damaged file."""
        return self.rowid + self.keyed + self.views + self.locked + 4


class Application:
    """Writes its tables: some rows and an alert ten times a second, each with a later time than the one before.

    Args:
        folder: where the files are.
        size: how many tables.
        chance: what happens when.
    """

    def __init__(self, folder: Path, size: Size, chance: random.Random) -> None:
        self._chance = chance
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._at = _BEGAN
        self.alerts: list[float] = []
        self.plant, self.locked = Sensor(folder / "plant.db"), Sensor(folder / "locked.db", wal=False)
        self.open = [f"r{i:02}" for i in range(size.rowid)] + [f"w{i:02}" for i in range(size.keyed)]
        self.views = {f"v{i:02}": f"r{i:02}" for i in range(size.views)}
        self.closed = [f"x{i:02}" for i in range(size.locked)]
        for name in [*self.open, "behind", "alerts"]:
            _create(self.plant, name)
        for view, table in self.views.items():
            self.plant.run(f"CREATE VIEW {view} AS SELECT sensor_id, timestamp, value FROM {table}")
        for name in self.closed:
            _create(self.locked, name)
            self._some(self.locked, name, 100)
        for name in self.open:
            self._some(self.plant, name, 100)
        self.fall_behind(size.backlog)

    def fall_behind(self, rows: int) -> None:
        """So many more rows in the table that is behind."""
        self._some(self.plant, "behind", rows)

    def _some(self, sensor: Sensor, table: str, rows: int, *, value: str = "20.0 + i % 7") -> None:
        sensor.run(
            f"INSERT INTO {table} (sensor_id, timestamp, value) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) "
            f"SELECT 's' || (i % 50), ? + i, {value} FROM n",
            rows,
            self._at,
        )
        self._at += rows

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Go on writing meanwhile."""
        self._over.clear()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(0.1):
            for name in self._chance.sample(self.open, min(3, len(self.open))):
                self._some(self.plant, name, self._chance.randint(1, 20))
            self._some(self.plant, "alerts", 1, value="99.0")
            self.alerts.append(time.monotonic())

    def lock(self) -> None:
        """Keep the file from everybody."""
        self.locked.run("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        """Let others read it, with a few more rows in it."""
        for name in self.closed:
            self._some(self.locked, name, 3)
        self.locked.run("COMMIT")

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """What is in each table that can be read, by what its source and itself are called."""
        files = {"plant": (self.plant, [*self.open, *self.views, "behind"]), "locked": (self.locked, self.closed)}
        return {
            f"{label}/{name}": sensor.run(f"SELECT sensor_id, timestamp, value FROM {name}")
            for label, (sensor, names) in files.items()
            for name in names
        }

    def close(self) -> None:
        """It ends."""
        self.plant.close()
        self.locked.close()


def _create(sensor: Sensor, name: str) -> None:
    if name.startswith("w"):
        sensor.run(f"CREATE TABLE {name} ({_COLUMNS}, PRIMARY KEY (timestamp, sensor_id)) WITHOUT ROWID")
    else:
        sensor.run(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {_COLUMNS})")


def damage(path: Path) -> None:
    """Make a file with a table that is sound and one in whose middle a page is torn."""
    with Sensor(path, wal=False) as sensor:
        for name in ("torn", "sound"):
            _create(sensor, name)
            sensor.run(
                f"INSERT INTO {name} (sensor_id, timestamp, value) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
                f"SELECT i + 1 FROM n LIMIT {_TORN_ROWS}) SELECT 's', {_BEGAN} + i, 1.5 FROM n"
            )
        [[root]] = sensor.run("SELECT rootpage FROM sqlite_schema WHERE name = 'torn'")
        [[page]] = sensor.run("PRAGMA page_size")
    with path.open("r+b") as file:
        top = file.read()[(root - 1) * page : root * page]
        cells = int.from_bytes(top[3:5])  # of an inner page; https://sqlite.org/fileformat2.html, 1.6
        cell = int.from_bytes(top[12 + 2 * (cells // 2) :][:2])
        child = int.from_bytes(top[cell : cell + 4])
        file.seek((child - 1) * page)
        file.write(bytes(page))


class Forty:
    """One run.

    Args:
        directory: where the device is.
        server: the S3 server.
        seed: of what happens by chance.
        size: how much of everything.
    """

    def __init__(self, directory: Path, server: Weed, seed: int, size: Size) -> None:
        self._directory, self._size = directory, size
        self._chance = random.Random(seed)
        self._server = server
        self._faults: Counter[str] = Counter()
        self._kills: Counter[str] = Counter()
        self._peak = 0.0
        (directory / "device").mkdir()
        damage(directory / "device" / "damaged.db")
        self._application = Application(directory / "device", size, self._chance)

    def run(self) -> str:
        """All of it.

        Returns:
            What it came to, in words.
        """
        application = self._application
        try:
            with Proxy(self._server.port) as proxy:
                self._device(proxy)
                application.lock()
                with application.writing():
                    waits = self._measure(proxy)
                    application.unlock()
                    application.fall_behind(self._size.again)
                    proxy.chaos = self._fault
                    self._kill_often()
                proxy.chaos = lambda _method, _path: None
                self._last(self._edge.once(timeout=600, retry_for=1))
            self._compare()
        finally:
            self._edge.end()
            application.close()
        return (
            f"{self._size.tables} tables of 3 files, {self._size.backlog + self._size.again:,} rows of one of them in "
            f"{len(SHARING)} modes: each row is there once after {self._kills.total()} kills "
            f"({', '.join(f'{count} {what}' for what, count in sorted(self._kills.items()))}) and "
            f"{self._faults.total()} faults on the wire; only the damaged table ended by an error; at most "
            f"{self._peak:.0f} MiB; beside the backlog alerts took p50 {_share(waits, 0.5):.2f} s, "
            f"p99 {_share(waits, 0.99):.2f} s, at most {waits[-1]:.2f} s, of {len(waits)} from INSERT to commit"
        )

    def _device(self, proxy: Proxy) -> None:
        place = lake_at(proxy.url)
        self._base = place.base
        device, file = self._directory / "device", self._directory / "config.toml"
        file.write_text(
            f"""node_id = "forty"
state_dir = "{self._directory}/state"
table_path = "{place.base}/{{source}}/{{table}}"
processing_mode = "raw"
interval = 1
fuzz_factor = 0
[storage]
request_timeout = 1.0
connect_timeout = 1.0
[[sources]]
sqlite = "{device}/plant.db"
tables = ["r*", "w*", {", ".join(f'"{name}"' for name in self._application.views)}]
[[sources]]
sqlite = "{device}/plant.db"
tables = ["behind"]
processing_mode = {list(SHARING)}
[[sources]]
sqlite = "{device}/plant.db"
tables = ["alerts"]
processing_mode = "emergency"
[sources.emergency]
severity_thresholds = {{ value = 90 }}
cooldown = 0
min_pause = 0.05
[[sources]]
sqlite = "{device}/locked.db"
tables = "*"
[[sources]]
sqlite = "{device}/damaged.db"
tables = "*"
""",
            encoding="utf-8",
        )
        self._edge = EdgeDelta(self._directory, {"config": file}, place.environment)

    # -- without kills

    def _measure(self, proxy: Proxy) -> list[float]:
        """Seconds that each alert took while the backlog was delivered, the shortest first."""
        running = self._edge.start(fresh=self._size.backlog >= Size().backlog)  # as it is installed
        running.wait_until(lambda: self._committed(proxy), what="the first alert", timeout=120)
        first = len(self._application.alerts)
        running.wait_until(lambda: self._caught_up(running), what="the backlog", timeout=900)
        until = len(self._application.alerts)
        eventually(lambda: len(self._alerted(proxy)) >= until, what="the last alert", timeout=30, pause=0.3)
        self._peak = running.peak_megabytes()
        assert running.terminate() == 0, running.text()
        assert until > first, "the backlog was over before there was an alert"
        return sorted(self._alerted(proxy)[i] - self._application.alerts[i] for i in range(first, until))

    @staticmethod
    def _caught_up(running: Running) -> bool:
        done = {e["mode"] for e in running.named("cycle finished") if e.get("source") == "plant/behind"}
        return done == set(SHARING)

    @staticmethod
    def _committed(proxy: Proxy) -> dict[int, float]:
        """When each commit of the alerts' table was answered."""
        done = [e for e in proxy.requests("PUT", _LOG) if e.status == 200]
        return {int(e.path.rpartition("/")[2].partition(".")[0]): e.answered for e in done}

    def _alerted(self, proxy: Proxy) -> list[float]:
        """When each alert was there: they are in the order of their rows."""
        times, found = self._committed(proxy), []
        for commit in sorted(self._place("plant/alerts").table("_4_emergency").history(), key=lambda c: c["version"]):
            rows = commit.get("operationMetrics", {}).get("num_added_rows", 0)
            if commit["operation"] == "WRITE":
                found += [times.get(commit["version"], float("inf"))] * int(rows)
        return found

    # -- with kills

    def _fault(self, _method: str, _path: str) -> Fault | None:
        if self._chance.random() > _FAULTY:
            return None
        name = self._chance.choice(list(FAULTS))
        self._faults[name] += 1
        return FAULTS[name]

    def _kill_often(self) -> None:
        for _ in range(self._size.kills):
            locked = self._chance.random() < 0.5
            if locked:
                self._application.lock()
            running = self._edge.start(max_batch_size=self._chance.choice([2_000, 10_000, 50_000]))
            try:
                if self._chance.random() < 0.8:
                    running.wait_until(partial(_sharing, running), what="a batch", timeout=60)
            except AssertionError:
                assert running.process.poll() is None, running.text()  # nothing may have come through, or all is there
            time.sleep(self._chance.expovariate(1))
            self._peak = max(self._peak, running.peak_megabytes())
            assert running.process.poll() is None, running.text()
            running.kill()
            self._kills[_where(running)] += 1
            running.log.unlink()
            if locked:
                self._application.unlock()

    # -- what came of it

    def _last(self, done: Finished) -> None:
        assert done.code == 1, done.stderr
        errors = {(e["source"], "is damaged" in e["error"]) for e in done.named("failed") if "source" in e}
        assert errors == {("damaged/torn", True)}, done.stderr

    def _place(self, key: str) -> Place:
        ours = lake_at(self._server.url)
        return Place(f"{self._base}/{key}", ours.environment, ours.url)

    def _compare(self) -> None:
        for key, wanted in self._application.rows().items():
            found = self._place(key).read("_0_raw").select("sensor_id", "timestamp", "value").rows()
            _assert_same(key, Counter(found), wanted)
        behind = self._application.plant.run("SELECT id FROM behind")
        for mode in SHARING[1:]:
            found = self._place("plant/behind").read(_SUFFIX[mode]).select("reading_id").rows()
            _assert_same(f"plant/behind, {mode}", Counter(found), behind)
        alerts = self._place("plant/alerts").read("_4_emergency")["reading_id"].to_list()
        _assert_same("alerts", Counter(alerts), range(1, len(self._application.alerts) + 1))
        sound = self._place("damaged/sound").read("_0_raw")["id"].to_list()
        _assert_same("the sound table of the damaged file", Counter(sound), range(1, _TORN_ROWS + 1))
        torn = self._place("damaged/torn")
        read = torn.read("_0_raw")["id"].to_list() if torn.exists("_0_raw") else []
        _assert_same("what can be read of the damaged table", Counter(read), range(1, len(read) + 1))


def _assert_same(what: str, found: Counter[object], wanted: object) -> None:
    expected = Counter(wanted)  # type: ignore[call-overload]
    missing, more = (expected - found).total(), (found - expected).total()
    if missing or more:
        message = f"{what}: {missing} rows are missing, {more} are there again"
        raise AssertionError(message)


def _sharing(running: Running) -> bool:
    return any(e.get("source") == "plant/behind" for e in running.named("batch committed"))


def _where(running: Running) -> str:
    """What a kill came between."""
    events = [e for e in running.named("batch committed") if e.get("source") == "plant/behind"]
    if not events:
        return "before that table's first batch"
    return (
        "after the last of the modes that share"
        if events[-1]["table"].endswith(_SUFFIX[SHARING[-1]])
        else "between two of these"
    )


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(len(ordered) * share))]


def main() -> None:
    """Do it in a temporary folder, which is kept if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=Size().backlog)
    parser.add_argument("--kills", type=int, default=Size().kills)
    parser.add_argument("--seed", type=int, default=20261127)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="edge-delta-forty-"))
    server = Weed(directory)
    try:
        size = Size(backlog=options.backlog, kills=options.kills)
        told = Forty(directory, server, options.seed, size).run()
    except BaseException:
        sys.stderr.write(f"what there was is in {directory}\n")
        raise
    finally:
        server.stop()
    shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.write(told + "\n")


if __name__ == "__main__":
    main()
