"""What a verification found."""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct, field, to_builtins

FIRST = 20
"""Differences of single rows that are shown; all are counted."""
MANY = "(several)"
"""Stands for the row where a difference is about many."""


class Difference(Struct, frozen=True):
    """One thing that is not as it should be.

    Attributes:
        kind: ``missing``, ``extra``, ``twice``, ``rejected too``, ``cell`` or ``lost``; ``repeated``, ``no cursor``,
            ``commit gone``, ``another source``, ``another node`` or ``all rejected`` for many rows at once.
        id: the source row's key; a window's start for windows.
        detail: in words.
    """

    kind: str
    id: int | str
    detail: str


class Checked(Struct, frozen=True):
    """One id range of one generation: read = delivered + rejected + not selected, and equal checksums.

    Attributes:
        generation: the source's generation.
        first: the first id.
        last: the last id.
        read: rows in the source.
        delivered: rows (or alerts, or windows) in the table.
        rejected: rows in the rejected table.
        not_selected: rows that the mode passes over.
        source_checksum: over what the mode makes of the source's rows, whatever their order.
        table_checksum: over the same columns of the table's rows.
    """

    generation: int
    first: int
    last: int
    read: int
    delivered: int
    rejected: int
    not_selected: int
    source_checksum: str
    table_checksum: str


class Verification(Struct):
    """What became of one mode's table.

    Attributes:
        mode: the mode.
        table: the table's address.
        version: the version that was looked at; None if there is no table.
        ranges: what was compared with the source.
        counts: differences by kind.
        differences: the first of them.
        notes: what could be checked in part only, and why.
        missing: the ids of the rows that are missing, where they are known.
    """

    mode: str
    table: str
    version: int | None = None
    ranges: list[Checked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.counts

    def differs(self, kind: str, row: int | str, detail: str) -> None:
        """Count a difference, and keep it if it is one of the first."""
        self.counts[kind] += 1
        if kind == "missing" and isinstance(row, int):
            self.missing.append(row)
        if len(self.differences) < FIRST:
            self.differences.append(Difference(kind, row, detail))

    def lost(self, rows: int, detail: str) -> None:
        """Count rows that are told as lost."""
        self.found("lost", rows, detail)

    def found(self, kind: str, rows: int, detail: str) -> None:
        """Count many rows that have one cause in common."""
        self.counts[kind] += rows
        self.differences.append(Difference(kind, MANY, detail))

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        plain = {name: value for name, value in to_builtins(self).items() if name != "missing"}
        return {"equal": self.equal, **plain, "counts": dict(self.counts)}

    def lines(self) -> list[str]:
        """For people."""
        found = [f"{self.mode}: {self.table}" + (f", version {self.version}" if self.version is not None else "")]
        found += ["  " + self._summary(generation) for generation in dict.fromkeys(r.generation for r in self.ranges)]
        found += [f"  {note}" for note in self.notes]
        if self.equal:
            return [*found, "  equal"]
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        return [*found, f"  DIFFERENT: {kinds}", *map(_line, self.differences)]

    def _summary(self, generation: int) -> str:
        ranges = [r for r in self.ranges if r.generation == generation]
        read, delivered, rejected, passed = (
            sum(getattr(r, name) for r in ranges) for name in ("read", "delivered", "rejected", "not_selected")
        )
        ids = f"ids {min(r.first for r in ranges)} to {max(r.last for r in ranges)}"
        alike = sum(r.source_checksum == r.table_checksum for r in ranges)
        return (
            f"generation {generation}, {ids}: {read} rows read, {delivered} delivered, {rejected} rejected, "
            f"{passed} not selected; checksums equal in {alike} of {len(ranges)} ranges"
        )


def _line(one: Difference) -> str:
    return f"    {one.kind}: {one.detail}" if one.id == MANY else f"    {one.kind}: row {one.id}: {one.detail}"
