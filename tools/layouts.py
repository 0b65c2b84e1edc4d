"""What a device costs in each layout of a fleet's tables, for 10, 100 and 1,000 devices: counted on the wire.

One device runs with the real command behind a proxy that counts. The others are its own commits under other names, byte
for byte: a day of them stands in the table's checkpoint (tombstones of the files that were joined, cursors of all
devices, what compaction left), and between two of the device's commits come those that 300 s bring. Cycles with and
without a checkpoint, starts and compactions are counted apart and make up a day of 288 commits; the record is
``tools/layouts.json``, the table is in ``docs/fleets.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
from deltalake import DeltaTable
from deltalake._internal import DeltaFileSystemHandler

from edge_delta.core import events
from edge_delta.sinks.delta.lease import VACUUMED, milliseconds
from edge_delta.sinks.delta.upkeep import Keeper, Plan
from tests.conftest import lake_at
from tests.support.command import EdgeDelta
from tests.support.proxy import Proxy
from tests.support.sqlite import Sensor
from tests.support.tables import Place
from tests.support.weed import Weed
from tools.costs import KINDS, Meter, _add, dollars
from tools.figures import with_figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.command import Running

RECORD = Path(__file__).with_name("layouts.json")
PAGE = Path(__file__).parent.parent / "docs" / "fleets.md"

DEVICES = (10, 100, 1_000)
COMMITS_A_DAY, ROWS = 288, 300
COMMITS_AN_UPKEEP, COMMITS_A_CHECKPOINT, COMMITS_A_HANDLE = 100, 20, 100
STARTS_A_DAY = 1 + COMMITS_A_DAY / COMMITS_A_HANDLE
"""A table is opened anew after 100 commits, see `edge_delta.sinks.delta.opened`; that is what a start asks."""
NODE = "node-0000"
_SUFFIX = "_1_schematized"
_JOINED_BYTES = 64_000_000
_JOINED_BYTES_A_ROW = 11
_MOST_CYCLES = 40
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN = ("PUT", "LIST", "GET")


@dataclass(frozen=True)
class Layout:
    """One way to lay out the tables of a fleet."""

    name: str
    path: str
    partition_by: str | None = None

    @property
    def own(self) -> bool:
        """Whether each device has its own tables."""
        return "{node_id}" in self.path


OWN = Layout("a table per device", "{node_id}/readings")
SHARED = Layout("one shared table", "readings")
PARTITIONED = Layout("one shared table, `partition_by = node_id`", "readings", "node_id")


# -- the other devices


class Log:
    """A table's log, into which commits of other devices are put without the proxy.

    Args:
        place: the table, at the server itself.
        devices: how many write it.
    """

    def __init__(self, place: Place, devices: int) -> None:
        self._place = place
        self._devices = devices
        self._store: Any = DeltaFileSystemHandler(place.uri(_SUFFIX), place.options)
        self.version = place.table(_SUFFIX).version()
        texts = [self._text(version) for version in range(self.version + 1)]
        adding = [text for text in texts if '"add"' in text and '"dataChange":true' in text]
        self._template = adding[-1]
        self._cursor = list({_named(line): line for text in adding for line in _lines(text, "txn")}.values())
        [self._add] = _lines(self._template, "add")
        self._remove = next(line for text in texts for line in _lines(text, "remove"))
        self._data = self._get(json.loads(self._add)["add"]["path"])
        self._own: set[str] = set()
        self.small: list[str] = []
        self.looked_after = self.version

    def _text(self, version: int) -> str:
        return self._get(f"_delta_log/{version:020}.json").decode()

    def _get(self, name: str) -> bytes:
        return bytes(self._store.open_input_file(name).read())

    def _put(self, name: str, content: bytes) -> None:
        stream = self._store.open_output_stream(name, {})
        stream.write(content)
        stream.close()

    def _commit(self, lines: Iterable[str]) -> None:
        self.version += 1
        self._put(f"_delta_log/{self.version:020}.json", "\n".join(lines).encode())

    def a_day_passed(self, small: int) -> None:
        """All devices delivered for a day, and what came before the last ``small`` commits was joined."""
        now = milliseconds(datetime.now(UTC))
        looked = json.dumps({"txn": {"appId": VACUUMED, "version": now, "lastUpdated": now}})
        every = range(self._devices)
        cursors = [line.replace(NODE, _name(device)) for device in every for line in self._cursor]
        gone = [_other(self._remove, device) for device in every for _ in range(COMMITS_A_DAY)]
        parts = self._devices if self._parted else 1
        rows = COMMITS_A_DAY * ROWS * self._devices // parts
        joined = [line for device in range(parts) for line in self._joined(rows, device)]
        self._commit([*_lines(self._template, "commitInfo"), looked, *cursors, *gone, *joined])
        self._delivered(small, first=1)
        self._place.table(_SUFFIX).create_checkpoint()

    @property
    def _parted(self) -> bool:
        return bool(json.loads(self._add)["add"].get("partitionValues"))

    def _joined(self, rows: int, device: int) -> list[str]:
        """The files that compaction makes of so many rows, as they stand in the log: too large to be joined again."""
        count = -(-rows * _JOINED_BYTES_A_ROW // _JOINED_BYTES)
        said = [json.loads(_other(self._add, device)) for _ in range(count)]
        for one in said:
            one["add"] |= {"size": _JOINED_BYTES, "dataChange": False}
        return [json.dumps(one, separators=(",", ":")) for one in said]

    def others_deliver(self, count: int, *, keeper: bool) -> None:
        """So many commits of others; whoever makes the twentieth writes a checkpoint, and the keeper joins files."""
        if keeper and self.version - self.looked_after >= COMMITS_AN_UPKEEP:
            self._compacted()
            count -= 1
        before = self.version
        self._delivered(count, first=1)
        last = (self.version + 1) // COMMITS_A_CHECKPOINT * COMMITS_A_CHECKPOINT - 1
        if last > before:
            DeltaTable(self._place.uri(_SUFFIX), version=last, storage_options=self._place.options).create_checkpoint()

    def _delivered(self, count: int, *, first: int) -> None:
        texts = [_other(self._template, first + at % max(1, self._devices - 1)) for at in range(count)]
        self.small += [line for text in texts for line in _lines(text, "add")]
        start = self.version + 1
        with ThreadPoolExecutor(8) as pool:
            names = (f"_delta_log/{start + at:020}.json" for at in range(count))
            list(pool.map(self._put, names, (text.encode() for text in texts)))
        self.version += count

    def _compacted(self) -> None:
        gone = [json.loads(line)["add"] for line in self.small]
        remove = json.loads(self._remove)["remove"]
        lines = [
            json.dumps({"remove": remove | {k: one[k] for k in ("path", "size", "partitionValues")}}) for one in gone
        ]
        parts = {json.dumps(one["partitionValues"]): one for one in gone}
        for one in parts.values():
            joined = one | {
                "path": _UUID.sub(str(uuid.uuid4()), one["path"]),
                "size": _JOINED_BYTES,
                "dataChange": False,
            }
            lines.append(json.dumps({"add": joined}))
        self._commit([*_lines(self._template, "commitInfo"), *lines])
        self.small, self.looked_after = [], self.version

    def added(self, version: int) -> list[str]:
        """The files that a commit of the device added."""
        found = _lines(self._text(version), "add")
        self._own |= {json.loads(line)["add"]["path"] for line in found}
        return found

    def with_data(self) -> None:
        """Put the others' files of rows that are live, for who reads them."""
        named = {json.loads(line)["add"]["path"] for line in self.small}
        paths = named - self._own  # those are there
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda path: self._put(path, self._data), paths))

    def checkpoint(self) -> dict[str, int]:
        """What the newest checkpoint comes to."""
        hint = json.loads(self._get("_delta_log/_last_checkpoint"))
        name = f"_delta_log/{hint['version']:020}.checkpoint.parquet"
        return {"bytes": len(self._get(name)), "actions": hint["size"]}


def _name(device: int) -> str:
    return f"node-{device:04}"


def _lines(text: str, kind: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f'{{"{kind}"')]


def _named(line: str) -> str:
    return str(json.loads(line)["txn"]["appId"])


def _other(text: str, device: int) -> str:
    """What this device wrote, as another one would."""
    return _UUID.sub(str(uuid.uuid4()), text.replace(NODE, _name(device)))


# -- the device


class Device:
    """The device that is measured, and the commits between its own.

    Args:
        directory: a new folder.
        server: the S3 server.
        proxy: in front of it, for the device.
        layout: of the tables.
        devices: how many write the table.
    """

    def __init__(self, directory: Path, server: Weed, proxy: Proxy, layout: Layout, devices: int) -> None:
        self._directory = directory
        self._devices = 1 if layout.own else devices
        self._own = layout.own
        parts = "" if layout.partition_by is None else f'partition_by = "{layout.partition_by}"\n'
        (directory / "config.toml").write_text(f"[maintenance]\n{parts}", encoding="utf-8")
        wired = lake_at(proxy.url)
        self.place = Place(f"{wired.base}/{layout.path}".replace("{node_id}", NODE), {}, server.url)
        flags = {
            "sqlite": directory / "sensor.db",
            "table_path": f"{wired.base}/{layout.path}",
            "state_dir": directory / "state",
            "node_id": NODE,
            "interval": 1,
            "fuzz_factor": 0,
        }
        self._command = EdgeDelta(directory, flags, wired.environment)
        self._sensor = Sensor(directory / "sensor.db")
        self._sensor.create()
        self._meter = Meter(proxy)
        self._batches = self._cycles = 0
        self._running: Running

    def prepare(self) -> Log:
        """Make the table and a day of everybody's commits."""
        for _ in range(3):
            self._add_rows()
            self._command.once().succeeded()
        Keeper(self.place.uri(_SUFFIX), self.place.options, Plan(), now=_now, log=events.configure()).run(due=True)
        self._add_rows()
        self._command.once().succeeded()
        self._log = Log(self.place, self._devices)
        # Its own table is due for maintenance then; a shared one is halfway there.
        self._log.a_day_passed(COMMITS_AN_UPKEEP if self._own else COMMITS_AN_UPKEEP // 2)
        if self._own:
            self._log.with_data()
        return self._log

    def _add_rows(self) -> None:
        _add(self._sensor, ROWS, self._batches)
        self._batches += 1

    def start(self) -> dict[str, float]:
        """A start with nothing new."""
        self._meter.read()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = self._command.start(fresh=True, once=True).wait(300)
        assert code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
        return self._meter.read() | {"cpu": round(used, 3)}

    def run(self, kinds: Iterable[str]) -> dict[str, list[dict[str, float]]]:
        """Cycles of these kinds, after one that is not counted; what was counted, by kind."""
        found: dict[str, list[dict[str, float]]] = {"plain": [], "checkpoint": [], "upkeep": []}
        self._running = self._command.start(fresh=True)
        try:
            self.cycle("plain")
            for kind in kinds:
                which, counted = self.cycle(kind)
                found[which].append(counted)
                if found["upkeep"] and self._own and len(found["plain"]) >= 5 and found["checkpoint"]:
                    break
            self.peak, self.resident = self._running.peak_megabytes(), _resident(self._running)
            assert self._running.terminate() == 0
        finally:
            self._command.end()
        return found

    def cycle(self, kind: str) -> tuple[str, dict[str, float]]:
        """The others' commits of 300 s, then one of the device; what it was after all, and what was counted."""
        others = self._devices - 1
        if not self._own:
            others += _to_land(self._log.version + others + 1, others, checkpoint=kind == "checkpoint")
            self._log.others_deliver(others, keeper=True)
        self._cycles += 1
        upkeeps = len(self._running.named("table looked after"))
        self._meter.read()
        before = self._running.cpu_seconds()
        self._add_rows()
        event = self._running.wait_for("batch committed", count=self._cycles, timeout=300)
        counted = self._meter.read() | {"cpu": round(self._running.cpu_seconds() - before, 2)}
        self._log.version = max(self._log.version + 1, int(event["version"]))
        self._log.small += self._log.added(int(event["version"]))
        if len(self._running.named("table looked after")) > upkeeps:
            self._log.version = self.place.table(_SUFFIX).version()
            return "upkeep", counted
        return ("checkpoint" if _has_checkpoint(int(event["version"])) else "plain"), counted

    def close(self) -> None:
        self._sensor.close()


def _has_checkpoint(version: int) -> bool:
    """Whether delta-rs writes a checkpoint after a commit."""
    return (version + 1) % COMMITS_A_CHECKPOINT == 0


def _to_land(version: int, others: int, *, checkpoint: bool) -> int:
    """How many more or fewer commits before, so that ours is, or is not, the one that comes with a checkpoint."""
    if _has_checkpoint(version) is checkpoint:
        return 0
    if not checkpoint:
        return 1
    over = (version + 1) % COMMITS_A_CHECKPOINT
    return -over if over <= min(others, COMMITS_A_CHECKPOINT // 2) else COMMITS_A_CHECKPOINT - over


def _resident(running: Running) -> float:
    text = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def _now() -> datetime:
    return datetime.now(UTC)


def kept(uri: str, options: Mapping[str, str], meter: Meter) -> dict[str, float]:
    """Maintenance of a shared table, as its keeper does it when it is due, in a process of its own."""
    meter.read()
    text = json.dumps({"uri": uri, "options": dict(options)})
    done = subprocess.run([sys.executable, "-m", "tools.layouts", "--keep", text], stdout=subprocess.PIPE, check=True)
    said: dict[str, float] = json.loads(done.stdout)
    return meter.read() | said


def keep(uri: str, options: Mapping[str, str]) -> dict[str, float]:
    """The same, in that process."""
    before = time.process_time()
    report = Keeper(uri, options, Plan(), now=_now, log=events.configure()).run(due=True)
    assert report is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "cpu": round(time.process_time() - before, 2),
        "peak": round(peak),
        "joined": report.files_before - report.files_after,
    }


def measured(directory: Path, server: Weed, layout: Layout, devices: int, kinds: Iterable[str]) -> dict[str, Any]:
    """One layout with so many devices; what was counted of each part."""
    directory.mkdir()
    with Proxy(server.port) as proxy, Proxy(server.port) as other:
        device = Device(directory, server, proxy, layout, devices)
        try:
            log = device.prepare()
            start = device.start()
            cycles = device.run(kinds)
            found: dict[str, Any] = {"start": start, "cycles": {kind: len(each) for kind, each in cycles.items()}}
            found |= {kind: mean(each) for kind, each in cycles.items() if each}
            found |= {
                "resident": round(device.resident),
                "peak": round(device.peak),
                "checkpoint size": log.checkpoint(),
            }
            if not layout.own:
                log.with_data()
                options = device.place.options | {"aws_endpoint_url": other.url}
                found["upkeep"] = kept(device.place.uri(_SUFFIX), options, Meter(other))
        finally:
            device.close()
    return found


# -- computing


def mean(counts: list[dict[str, float]]) -> dict[str, float]:
    """The mean of some counts."""
    keys = {key for one in counts for key in one}
    return {key: round(sum(one.get(key, 0) for one in counts) / len(counts), 3) for key in sorted(keys)}


def times(layout: Layout) -> dict[str, float]:
    """How often a day has each part: commits, those with a checkpoint, compactions by the device, and starts."""
    own = COMMITS_A_DAY / COMMITS_AN_UPKEEP if layout.own else 0
    checkpoints = COMMITS_A_DAY / COMMITS_A_CHECKPOINT
    return {"plain": COMMITS_A_DAY - checkpoints - own, "checkpoint": checkpoints, "upkeep": own, "start": STARTS_A_DAY}


def a_day(figures: Mapping[str, Any], layout: Layout) -> dict[str, float]:
    """Requests, bytes and processor seconds of a device's day."""
    keys = (*KINDS, "sent", "received", "cpu")
    parts = times(layout).items()
    return {key: sum(figures.get(part, {}).get(key, 0) * count for part, count in parts) for key in keys}


def upkeeps(devices: int) -> float:
    """How often a day a shared table is compacted: its keeper looks after it after a commit of its own."""
    return COMMITS_A_DAY / max(1, COMMITS_AN_UPKEEP / devices)


def table(record: Mapping[str, Any]) -> str:
    """The cost of a device in each layout."""
    head = ["layout", "devices", *_SHOWN, "MB sent", "MB received", "CPU s", "MB resident", "$ per month"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for layout, devices, figures in _measured(record):
        day = a_day(figures, layout)
        cells = [layout.name, "any number" if layout.own else f"{devices:,}", *(f"{day[kind]:,.0f}" for kind in _SHOWN)]
        cells += [f"{day[way] / 1e6:,.1f}" for way in ("sent", "received")]
        cells += [f"{day['cpu']:,.0f}", f"{figures['peak']:,}", f"{dollars(day):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def keepers(record: Mapping[str, Any]) -> str:
    """What the keeper of a shared table does besides."""
    head = [
        "layout",
        "devices",
        "compactions",
        "PUT",
        "GET",
        "MB sent",
        "MB received",
        "CPU s",
        "peak MB",
        "checkpoint, MB",
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for layout, devices, figures in _measured(record):
        if layout.own:
            continue
        one, count = figures["upkeep"], upkeeps(devices)
        cells = [
            layout.name,
            f"{devices:,}",
            f"{count:,.0f}",
            *(f"{one.get(kind, 0) * count:,.0f}" for kind in ("PUT", "GET")),
        ]
        cells += [f"{one[way] * count / 1e6:,.0f}" for way in ("sent", "received")]
        cells += [f"{one['cpu'] * count:,.0f}", f"{one['peak']:,}", f"{figures['checkpoint size']['bytes'] / 1e6:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measured(record: Mapping[str, Any]) -> list[tuple[Layout, int, Mapping[str, Any]]]:
    known = {layout.name: layout for layout in (OWN, SHARED, PARTITIONED)}
    return [(known[one["layout"]], one["devices"], one["figures"]) for one in record["measured"]]


def from_devices_on(record: Mapping[str, Any]) -> int | None:
    """From how many devices on sharing costs each more than twice a table of its own, in any way that is measured."""
    by = {(layout, devices): (a_day(figures, layout), figures) for layout, devices, figures in _measured(record)}
    [own] = [found for (layout, _), found in by.items() if layout.own]
    for devices in DEVICES:
        day, figures = by.get((SHARED, devices), own)
        ways = [(day[way], own[0][way]) for way in ("sent", "received", "cpu")]
        ways += [(figures["peak"], own[1]["peak"]), (dollars(day), dollars(own[0]))]
        if any(there > 2 * ours for there, ours in ways):
            return devices
    return None


def times_as_much(record: Mapping[str, Any]) -> str:
    """By how much sharing multiplies what a device costs, for each number of devices."""
    by = {(layout, devices): (a_day(figures, layout), figures) for layout, devices, figures in _measured(record)}
    [(own, ours)] = [found for (layout, _), found in by.items() if layout.own]
    parts = []
    for devices in DEVICES:
        if (SHARED, devices) in by:
            day, theirs = by[SHARED, devices]
            ways = [
                (day[way] / own[way], what) for way, what in (("received", "bytes received"), ("cpu", "processor time"))
            ]
            ways += [(theirs["peak"] / ours["peak"], "memory"), (dollars(day) / dollars(own), "dollars")]
            parts.append(
                f"with {devices:,} devices " + ", ".join(f"{times:.1f} times the {what}" for times, what in ways)
            )
    return "; ".join(parts)


def block(record: Mapping[str, Any]) -> str:
    """What stands between the markers."""
    said = from_devices_on(record)
    advice = (
        f"**From {said:,} devices on: a table per device.** There a shared one costs each of them more than twice as "
        "much in at least one column."
        if said is not None
        else "Sharing never cost a device twice as much as a table of its own."
    )
    advice = textwrap.fill(f"{advice} Sharing costs it {times_as_much(record)}.", 120)
    besides = "The keeper of a shared table does this besides, in a day:"
    return f"{table(record)}\n\n{advice}\n\n{besides}\n\n{keepers(record)}"


def kinds_for(devices: int) -> list[str]:
    """The cycles that are measured."""
    most = {10: 10, 100: 8, 1_000: 2}.get(devices, 3)
    return ["checkpoint" if at % 4 == 1 else "plain" for at in range(most)]


def main() -> None:
    """Measure, record, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="*", default=DEVICES, help="measure only so many, keep the others")
    parser.add_argument("--from-record", action="store_true", help="write the page only, from what was counted before")
    parser.add_argument("--keep", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep:
        sys.stdout.write(json.dumps(keep(**json.loads(options.keep))))
        return
    if not options.from_record:
        _measure(options.devices)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    text = with_figures(PAGE.read_text(encoding="utf-8"), "layouts", block(record))
    PAGE.write_text(text, encoding="utf-8")


def _measure(numbers: Iterable[int]) -> None:
    found = {}
    if RECORD.exists():
        known = json.loads(RECORD.read_text(encoding="utf-8"))["measured"]
        found = {(one["layout"], one["devices"]): one["figures"] for one in known}
    asked = [(OWN, 1)] if (OWN.name, 1) not in found or 1 in numbers else []
    asked += [(layout, number) for number in numbers if number > 1 for layout in (SHARED, PARTITIONED)]
    with tempfile.TemporaryDirectory() as folder:
        server = Weed(Path(folder))
        try:
            for at, (layout, number) in enumerate(asked):
                kinds = ["plain"] * _MOST_CYCLES if layout.own else kinds_for(number)
                figures = measured(Path(folder) / str(at), server, layout, number, kinds)
                found[layout.name, number] = figures
                sys.stdout.write(f"{layout.name}, {number}: {json.dumps(figures)}\n")
                sys.stdout.flush()
                each = [{"layout": name, "devices": n, "figures": f} for (name, n), f in found.items()]
                record = {"deltalake": deltalake.__version__, "measured": each}
                RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
