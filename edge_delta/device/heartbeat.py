"""A heartbeat: a small object beside the tables that tells a device without new rows from a dead one.

It is written by a thread of its own, at most every ``heartbeat`` seconds, and once more as the process ends; the last
time is kept in the state directory, so that runs once a minute write no more. Whether it can be written makes no
difference to what is delivered. It holds no readings, no places and no texts of errors::

    node_id, version
    at         when it was written, seconds since 1970
    heard      when the engine was last heard of: a process may hang while its threads go on
    every      the setting
    stopped    the exit code where the process ended; null while it runs
    sources    by what each is called, "" for a single one: table, allowed seconds, kind of the error that is not over,
               and by mode its generation, settled id, waiting ids, and when it last committed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from edge_delta import __version__
from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.events import Event, Log
from edge_delta.core.observing import SilentObserver
from edge_delta.device.state import kept_node_id
from edge_delta.sinks import address as storage
from edge_delta.sinks.objects import put
from edge_delta.sinks.store_options import store_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_delta.core.errors import TransientError
    from edge_delta.core.model import Cursor, Step, Waiting
    from edge_delta.core.ports import Source
    from edge_delta.device.mirror import Mirror
    from edge_delta.device.state import StateDirectory
    from edge_delta.settings.sections import Settings

FOLDER = "_edge_delta"
"""Readers, VACUUM and Auto Loader pass over names that begin with an underscore, and it lies in no table."""
_KEPT = "heartbeat"
_LAST_SECONDS = 10.0
"""How long the end of the process waits for the last one."""
_SOURCE = re.compile(r"\{(table|source)\}")


def place_of(table_path: str, node_id: str) -> str:
    """The address of a device's heartbeat: beside its tables, or beside the folders that its tables are in.

    Args:
        table_path: the setting, with its placeholders.
        node_id: the device.
    """
    whole = table_path.rstrip("/")
    first = _SOURCE.search(whole)
    parent, slash, _ = (whole[: first.start()] if first else whole).rpartition("/")
    uri = storage.address(parent or ("/" if slash else "."), node_id=node_id)
    safe = re.sub(r"[^\w.-]", "_", node_id, flags=re.ASCII)
    if safe != node_id:  # two ids must not become one name
        safe += "-" + hashlib.sha256(node_id.encode()).hexdigest()[:8]
    return f"{uri.rstrip('/')}/{FOLDER}/heartbeat-{safe}.json"


def place_under(root: str, table_path: str, node_id: str) -> str:
    """The same under an address that all tables are under."""
    return place_of(table_path, node_id).removeprefix(root.rstrip("/")).lstrip("/")


def read(content: bytes) -> Mapping[str, Any] | None:
    """What a heartbeat says; None where it is none."""
    try:
        said = json.loads(content)
        sources = said["sources"].values()
        whole = float(said["at"]) > 0 and all(isinstance(source["modes"], dict) for source in sources)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return said if whole else None


class Heartbeat:
    """Writes the heartbeat of one process.

    Args:
        settings: those of the process; ``table_path`` with its placeholders.
        state: its state directory.
        log: where it is said, once, that it cannot be written.
    """

    def __init__(self, settings: Settings, state: StateDirectory, log: Log) -> None:
        self._settings = settings
        self._file = state.path / _KEPT
        self._log = log
        self._mirrors: dict[str, Mirror] = {}
        self._ends = threading.Event()
        self._complained = False
        self._wrote = False
        self.heard = time.time()

    def of_source(self, label: str, mirror: Mirror) -> SilentObserver:
        """One source more; what it returns hears of the engine."""
        self._mirrors[label] = mirror
        return _Heard(self)

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Write it from time to time, and at the end."""
        thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ends.set()
            thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        every = self._settings.heartbeat
        while not self._ends.is_set():
            due = self._last() + every - time.time()
            if not self._ends.wait(max(1.0, min(due, every))) and self._last() + every <= time.time():
                self._write()
        # That it ended on purpose is news where this process wrote one; who ends every minute writes no more often.
        if self._wrote or self._last() + every <= time.time():
            self._write()

    def _last(self) -> float:
        try:
            return min(self._file.stat().st_mtime, time.time())
        except OSError:
            return 0.0

    def _write(self) -> None:
        """Write it, whatever comes of that."""
        try:
            content = self._content()
            if content is None:
                return
            place = place_of(self._settings.table_path, content["node_id"])
            put(place, store_options(place, os.environ, self._settings.storage), json.dumps(content).encode())
            self._complained, self._wrote = False, True
            self._file.touch(0o600)
            os.utime(self._file)
        except (EdgeDeltaError, OSError) as error:
            if not self._complained:
                self._log.warning(Event.HEARTBEAT, error=str(error))
            self._complained = True

    def _content(self) -> dict[str, Any] | None:
        contents = {label: _copied(mirror.vitals.content) for label, mirror in dict(self._mirrors).items()}
        known = [content.get("node_id") for content in contents.values()]
        own = next((node for node in known if node), None)
        node = own or self._settings.node_id or kept_node_id(self._settings.state_dir)
        if node is None:
            return None
        codes = [(content.get("stopped") or {}).get("exit_code", -1) for content in contents.values()]
        return {
            "node_id": node,
            "version": __version__,
            "at": round(time.time(), 3),
            "heard": round(self.heard, 3),
            "every": self._settings.heartbeat,
            "stopped": max(codes) if self._ends.is_set() and codes and -1 not in codes else None,
            "sources": {label: _of_source(content) for label, content in contents.items()},
        }


def _copied(content: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what another thread changes."""
    for _ in range(100):
        with contextlib.suppress(RuntimeError):  # dictionary changed size during iteration
            return {**content, "tables": {mode: dict(table) for mode, table in dict(content["tables"]).items()}}
    return dict(content)


def _of_source(content: Mapping[str, Any]) -> dict[str, Any]:
    error = content.get("last_error") or {}
    tables = content["tables"]
    return {
        "table": content.get("source_table"),
        "allowed": content.get("health_after"),
        "error": error.get("kind") if error and not error.get("over_at") else None,
        "modes": {
            mode: {
                "generation": tables[mode].get("generation"),
                "settled": tables[mode].get("settled_id"),
                "waiting": tables[mode].get("rows_waiting"),
                "committed_at": tables[mode].get("committed_at"),
            }
            for mode in content.get("modes", ())
            if mode in tables
        },
    }


class _Heard(SilentObserver):
    """Notes that the engine is at work."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat

    def _note(self) -> None:
        self._heartbeat.heard = time.time()

    def opened(self, source: Source, node_id: str) -> None:  # noqa: ARG002 - see `Observer`
        self._note()

    def settled(self, step: Step, waiting: Waiting) -> None:  # noqa: ARG002 - see `Observer`
        self._note()

    def updated(self, mode: str, cursor: Cursor) -> None:  # noqa: ARG002 - see `Observer`
        self._note()

    def cycled(self, pause: float | None) -> None:  # noqa: ARG002 - see `Observer`
        self._note()

    def alive(self) -> None:
        self._note()

    def failed(self, error: TransientError, failures: int, pause: float) -> None:  # noqa: ARG002 - see `Observer`
        self._note()
