"""What is known of a device, and what is the matter with it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from edge_delta.core.time_formats import REJECTED_IN_A_ROW
from edge_delta.device.health import DEFAULT_ALLOWED, duration
from edge_delta.device.vitals import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_HOUR, _DAY = 3_600.0, 86_400.0


class Verdict(StrEnum):
    """What is the matter with a device, what needs somebody most first."""

    UNREADABLE = "cannot be read"
    DEAD = "dead"
    STOPPED = "stopped"
    BEHIND = "behind"
    REJECTING = "every row is rejected"
    SILENT = "silent"
    DELIVERING = "delivering"
    QUIET = "no new rows"
    UP_TO_DATE = "up to date"


_WELL = frozenset({Verdict.DELIVERING, Verdict.QUIET, Verdict.UP_TO_DATE})


class DeviceLane(Struct, frozen=True):
    """One source table of a device in one table.

    Attributes:
        table: where the table is, under what all have in common.
        mode: what the table holds.
        source: the source's table.
        generation: of the source.
        last_id: the last row delivered.
        at: when, seconds since 1970.
        said: what the commit says of the device, see `edge_delta.device.vitals`; empty for earlier versions.
    """

    table: str
    mode: str
    source: str
    generation: int
    last_id: int
    at: float
    said: Mapping[str, Any] = {}


class Device(Struct):
    """One device.

    Attributes:
        node: its id.
        lanes: what its tables' logs have of it.
        beat: its heartbeat, see `edge_delta.device.heartbeat`; None if it has none.
        error: why its tables cannot be read.
        now: when it was looked at, seconds since 1970.
        allowed: seconds that rows may wait, where somebody said so; else what the device says.
    """

    node: str
    lanes: list[DeviceLane] = field(default_factory=list)
    beat: Mapping[str, Any] | None = None
    error: str | None = None
    now: float = 0
    allowed: float | None = None

    @property
    def newest(self) -> DeviceLane | None:
        """Its last commit."""
        return max(self.lanes, key=lambda lane: lane.at, default=None)

    @property
    def committed(self) -> float | None:
        """When it last committed."""
        return self.newest.at if self.newest is not None else None

    @property
    def version(self) -> str | None:
        """Of edge-delta, as the heartbeat or the last commit says."""
        said = self.beat or (self.newest.said if self.newest is not None else {})
        return said.get("version")

    @property
    def limit(self) -> float:
        """Seconds that may pass without a delivery while rows wait."""
        said = [lane.said.get("allowed") for lane in self.lanes] + [s.get("allowed") for s in self._beats()]
        return self.allowed or max((float(n) for n in said if n), default=DEFAULT_ALLOWED)

    @property
    def waiting(self) -> int | None:
        """Ids that wait, as what is newest says; None where nothing says so."""
        committed = self.newest
        if self.beat is not None and (committed is None or self.beat["at"] > committed.at):
            numbers = [mode.get("waiting") for source in self._beats() for mode in source["modes"].values()]
            if any(n is not None for n in numbers):
                return int(max(n for n in numbers if n is not None))
        return committed.said.get("waiting") if committed is not None else None

    @property
    def settled(self) -> dict[str, int]:
        """The last id of each source that nothing in its tables depends on; of the newest generation."""
        found = {}
        for source, lanes in self._by_source().items():
            delivered = [lane for lane in lanes if lane.mode != "rejected"] or lanes
            newest = max(lane.generation for lane in delivered)
            found[source] = min(
                lane.said.get("settled", lane.last_id) for lane in delivered if lane.generation == newest
            )
        return found

    @property
    def generation(self) -> int | None:
        """Of its sources, the highest."""
        return max((lane.generation for lane in self.lanes), default=None)

    def rows(self, name: str, seconds: float) -> int | None:
        """How many ``rows`` or ``rejected`` ones came since; None where its commits do not say so.

        Modes hold the same rows, so the one that has most counts, and sources add up.
        """
        unit = "parts" if seconds <= _HOUR else "hours"
        found = [
            [within(lane.said["recent"], name, unit, after=self.now - seconds) for lane in lanes if lane.said]
            for lanes in self._by_source().values()
        ]
        return sum(map(max, found)) if found and all(found) else None

    @property
    def counted_since(self) -> float | None:
        """Since when its rows are counted, where that is later than a day ago: a lower bound then."""
        since = [lane.said["recent"]["since"] for lane in self.lanes if lane.said]
        return max(since) if since and max(since) > self.now - _DAY else None

    @property
    def trouble(self) -> str | None:
        """The kind of the error that it last told of, if it was not over."""
        told = [source.get("error") for source in self._beats() if source.get("error")]
        if told or (self.beat is not None and self.beat["at"] >= (self.committed or 0)):
            return told[0] if told else None
        return self.newest.said.get("error") if self.newest is not None else None

    @property
    def verdict(self) -> Verdict:
        """What is the matter, if anything."""
        if self.error is not None:
            return Verdict.UNREADABLE
        late = self.committed is None or self.now - self.committed > self.limit
        if self.beat is not None and (bad := self._by_its_beat(self.beat, late=late)) is not None:
            return bad
        if self._rejects_all():
            return Verdict.REJECTING
        if late and (self.waiting or self.beat is None):
            return Verdict.BEHIND if self.waiting else Verdict.SILENT
        if self.waiting:
            return Verdict.DELIVERING
        return Verdict.QUIET if late else Verdict.UP_TO_DATE

    def _by_its_beat(self, beat: Mapping[str, Any], *, late: bool) -> Verdict | None:
        if self.now - max(beat["at"], self.committed or 0) > self.limit + beat.get("every", 0):
            return Verdict.STOPPED if beat.get("stopped") == 0 else Verdict.DEAD
        if beat.get("stopped"):
            return Verdict.STOPPED
        if late and (self.trouble is not None or self.now - beat.get("heard", beat["at"]) > self.limit):
            return Verdict.BEHIND
        return None

    def _rejects_all(self) -> bool:
        """Whether the last batches of a source had not one row that fits, by the same measure as `health`."""
        newest = [max(lanes, key=lambda lane: lane.at) for lanes in self._by_source().values()]
        return any(lane.said.get("rejected_in_a_row", 0) >= REJECTED_IN_A_ROW for lane in newest)

    @property
    def ok(self) -> bool:
        """Whether nobody is needed."""
        return self.verdict in _WELL

    def reason(self) -> str:
        """What it waits for, in words; empty where nothing is the matter."""
        if self.error is not None:
            return self.error
        verdict = self.verdict
        parts = []
        if verdict in (Verdict.DEAD, Verdict.STOPPED) and self.beat is not None:
            code = self.beat.get("stopped")
            parts.append("" if code is None else f"ended with exit code {code}")
        if verdict is Verdict.SILENT:
            parts.append("no heartbeat tells whether it is idle or dead")
        if self.waiting:
            parts.append(f"{self.waiting:,} rows wait")
        parts.append(self.trouble or "")
        return "; ".join(filter(None, parts))

    def _by_source(self) -> dict[str, list[DeviceLane]]:
        found: dict[str, list[DeviceLane]] = {}
        for lane in self.lanes:
            found.setdefault(lane.source, []).append(lane)
        return found

    def _beats(self) -> list[Mapping[str, Any]]:
        return list((self.beat or {}).get("sources", {}).values())


def merged(devices: Iterable[Device]) -> list[Device]:
    """Each device once, with all its tables: those of its sources may lie under several addresses."""
    found: dict[str, Device] = {}
    for device in devices:
        known = found.setdefault(device.node, device)
        if known is not device:
            known.lanes += [lane for lane in device.lanes if lane not in known.lanes]
            known.beat, known.error = known.beat or device.beat, known.error or device.error
    return list(found.values())


def ordered(devices: Iterable[Device]) -> list[Device]:
    """Who needs somebody most first: by what is the matter, then by how long ago it delivered, and what waits."""
    order = list(Verdict)
    return sorted(devices, key=lambda d: (order.index(d.verdict), d.committed or 0, -(d.waiting or 0), d.node))


def about(device: Device, time: Callable[[float | None], str | None]) -> dict[str, Any]:
    """A device for a program.

    Args:
        device: the device.
        time: how times are written.
    """
    return {
        "node_id": device.node,
        "verdict": str(device.verdict),
        "ok": device.ok,
        "reason": device.reason() or None,
        "last_commit": time(device.committed),
        "last_heartbeat": time(device.beat["at"]) if device.beat is not None else None,
        "rows_waiting": device.waiting,
        "rows_last_hour": device.rows("rows", _HOUR),
        "rows_last_day": device.rows("rows", _DAY),
        "rejected_last_day": device.rows("rejected", _DAY),
        "counted_since": time(device.counted_since),
        "generation": device.generation,
        "settled": device.settled,
        "version": device.version,
        "tables": [
            {
                "table": lane.table,
                "mode": lane.mode,
                "source_table": lane.source,
                "generation": lane.generation,
                "last_id": lane.last_id,
                "last_commit": time(lane.at),
            }
            for lane in sorted(device.lanes, key=lambda lane: (lane.table, lane.source))
        ],
    }


def ago(device: Device, at: float | None) -> str:
    """How long ago something was, for people."""
    return "never" if at is None else duration(max(0.0, device.now - at))
