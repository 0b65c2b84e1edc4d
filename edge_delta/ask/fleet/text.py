"""A fleet for people, as lines on a terminal, and for programs."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_delta.ask.fleet.devices import Verdict, about, ago

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.ask.fleet.devices import Device

HEADS: tuple[str, ...] = (
    *("device", "state", "last commit", "heartbeat", "rows 1 h", "rows 24 h", "rejected 24 h", "gen", "settled"),
    *("version", "waits for"),
)
NUMBERS = frozenset(HEADS[4:9])
"""The columns with numbers, which stand on the right."""
_WIDEST = 60
_HOUR, _DAY = 3_600.0, 86_400.0


def written(at: float | None) -> str | None:
    """A time for a program."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def as_json(devices: Sequence[Device], at: float) -> str:
    """All of it as one JSON object."""
    counts = Counter(str(device.verdict) for device in devices)
    whole = {
        "at": written(at),
        "ok": all(device.ok for device in devices),
        "devices_by_verdict": {str(verdict): counts[verdict] for verdict in Verdict if counts[verdict]},
        "devices": [about(device, written) for device in devices],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def number_of(devices: Sequence[Device]) -> str:
    """How many there are, in words."""
    return f"{len(devices):,} device{'s' if len(devices) != 1 else ''}"


def summary(devices: Sequence[Device]) -> str:
    """How many devices are how, in one line."""
    counts = Counter(device.verdict for device in devices)
    return f"{number_of(devices)}: " + ", ".join(f"{counts[v]:,} {v}" for v in Verdict if counts[v])


def cells(device: Device) -> tuple[str, ...]:
    """A device's line, see `HEADS`."""
    settled = device.settled
    lower = "+" if device.counted_since is not None else ""
    return (
        device.node,
        str(device.verdict),
        ago(device, device.committed),
        "none" if device.beat is None else ago(device, device.beat["at"]),
        _number(device.rows("rows", _HOUR)),
        _number(device.rows("rows", _DAY), lower),
        _number(device.rows("rejected", _DAY), lower),
        _number(device.generation),
        " ".join(f"{number:,}" if len(settled) == 1 else f"{name}:{number:,}" for name, number in settled.items()),
        device.version or "?",
        device.reason(),
    )


def _number(number: int | None, behind: str = "") -> str:
    """A number; one with a plus sign is a lower bound, and a question mark stands where nothing says it."""
    return "?" if number is None else f"{number:,}" + (behind if number else "")


def as_table(devices: Sequence[Device], most: int | None = None) -> str:
    """A table with a line for each, and one that sums up.

    Args:
        devices: who needs somebody most first.
        most: how many lines to show; None for all.
    """
    rows = [cells(device) for device in devices[:most]]
    shown = [tuple(cell if len(cell) <= _WIDEST else cell[: _WIDEST - 1] + "…" for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(HEADS, *shown, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if head in NUMBERS else cell.ljust(width)
            for head, cell, width in zip(HEADS, row, widths, strict=True)
        ).rstrip()
        for row in (HEADS, *shown)
    ]
    left = len(devices) - len(rows)
    more = [f"and {left:,} more"] if left else []
    return "\n".join([*lines, *more, summary(devices)]) + "\n"
