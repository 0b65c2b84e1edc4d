"""Looks at all devices of a fleet: the ends of their tables' logs, and their heartbeats, many at once."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from edge_delta.ask.fleet.devices import Device, DeviceLane, ordered
from edge_delta.ask.fleet.finding import FleetLayout, Table, branches, tables_in
from edge_delta.core.errors import EdgeDeltaError
from edge_delta.device import heartbeat
from edge_delta.sinks.delta.tail import Tail, tail_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.ask.fleet.finding import Branch
    from edge_delta.sinks.objects import Objects

_THREADS = 24
_COMMITS, _COMMITS_IN_SHARED = 12, 1_500
"""Commits that are read at most of one log: those of upkeep carry no device; in a shared table each is another's."""
_ALL_AGAIN = 20
"""Looks after which tables are looked for again."""


class Fleet:
    """All devices whose tables lie under an address.

    Args:
        objects: what is there.
        layout: how the tables lie.
        table_path: the setting, by which heartbeats are found.
        allowed: seconds that rows may wait; by default what each device says.
    """

    def __init__(self, objects: Objects, layout: FleetLayout, table_path: str, allowed: float | None = None) -> None:
        self._objects = objects
        self._layout = layout
        self._table_path = table_path
        self._allowed = allowed
        self._looks = 0
        self._lock = threading.Lock()
        self._tables: dict[str, Table] = {}
        self._tails: dict[str, Tail] = {}
        self._errors: dict[str, str] = {}
        self._bare: set[str] = set()

    def look(self) -> list[Device]:
        """All devices, who needs somebody most first.

        Raises:
            EdgeDeltaError: if nothing can be read at all.
        """
        if self._looks % _ALL_AGAIN == 0:
            self._tables, self._tails, self._bare = {}, {}, set()
        self._looks += 1
        self._errors = {}
        with ThreadPoolExecutor(_THREADS) as pool:
            if not self._tables:
                list(pool.map(self._find, branches(self._objects, self._layout)))
            else:
                list(pool.map(self._read, [t for t in self._tables.values() if t.mode != "rejected"]))
            devices = self._devices()
            list(pool.map(self._complete, devices))
        # A folder without tables is a device's if it has a heartbeat: one that could not deliver anything yet.
        return ordered(device for device in devices if device.lanes or device.beat is not None or device.error)

    def _find(self, branch: Branch) -> None:
        """Find the tables of a folder, and read them."""
        try:
            tables = tables_in(self._objects, self._layout, branch)
        except EdgeDeltaError as error:
            self._failed(branch.node, error)
            return
        with self._lock:
            self._tables |= {table.path: table for table in tables}
            if branch.node is not None and not tables:
                self._bare.add(branch.node)
        for table in tables:
            if table.mode != "rejected":
                self._read(table)

    def _read(self, table: Table) -> None:
        most = _COMMITS_IN_SHARED if self._layout.shared else _COMMITS
        try:
            known = self._tails.get(table.path)
            tail = tail_of(self._objects, table.path, most=most, every=self._layout.shared, known=known)
        except EdgeDeltaError as error:
            self._failed(table.node, error)
            return
        with self._lock:
            self._tails[table.path] = tail

    def _failed(self, node: str | None, error: EdgeDeltaError) -> None:
        if node is None:
            raise error
        with self._lock:
            self._errors[node] = str(error)

    def _devices(self) -> list[Device]:
        now = time.time()
        nodes = {table.node for table in self._tables.values() if table.node is not None} | set(self._errors)
        nodes |= self._bare | {lane.node for tail in self._tails.values() for lane in tail.lanes.values()}
        found = {
            node: Device(node, error=self._errors.get(node), now=now, allowed=self._allowed) for node in sorted(nodes)
        }
        for path, tail in self._tails.items():
            for device, lane in _lanes(self._tables[path], tail):
                found[device].lanes.append(lane)
        return list(found.values())

    def _complete(self, device: Device) -> None:
        """Its heartbeat; and its rejected rows, where its other tables tell of nothing new: all rows may be there."""
        try:
            content = self._objects.read(heartbeat.place_under(self._layout.root, self._table_path, device.node))
            device.beat = heartbeat.read(content) if content is not None else None
            if device.error is None and not device.ok:
                for table in [t for t in self._tables.values() if t.mode == "rejected"]:
                    if table.node == device.node:
                        tail = tail_of(self._objects, table.path, most=_COMMITS)
                        device.lanes += [lane for node, lane in _lanes(table, tail) if node == device.node]
        except EdgeDeltaError as error:
            device.error = str(error)


def _lanes(table: Table, tail: Tail) -> Iterable[tuple[str, DeviceLane]]:
    for lane in tail.lanes.values():
        said = _said(lane.note)
        yield lane.node, DeviceLane(table.path, table.mode, lane.source, lane.generation, lane.rowid, lane.at, said)


def _said(note: str | None) -> dict[str, Any]:
    try:
        said = json.loads(note or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("recent"), dict) else {}
