"""What rows looked like whenever they were delivered, and which of these states a table has to have."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl

State = tuple[object, ...]
"""The cells that are updated: humidity, note."""


class States:
    """The states of all rows, by their tags, in their order."""

    def __init__(self) -> None:
        self._seen: dict[str, list[State]] = {}
        self._sure: dict[str, list[State]] = {}

    def delivered(self, rows: Mapping[str, State], *, sure: bool) -> None:
        """Rows were there when a delivery began.

        Args:
            rows: their states.
            sure: whether the delivery came to its end, and looked at all of them.
        """
        for tag, state in rows.items():
            for noted in (self._seen, self._sure) if sure else (self._seen,):
                states = noted.setdefault(tag, [])
                if states[-1:] != [state]:
                    states.append(state)

    def changed(self, rows: Mapping[str, State]) -> list[bool]:
        """Of the rows that were delivered, whether each is another than it was then."""
        return [self._sure[tag][-1] != state for tag, state in rows.items() if tag in self._sure]

    def wrong_in(self, rows: pl.DataFrame, *, appends: bool, twice: bool) -> str | None:
        """What is wrong with the states and versions of the rows of a table, in words; see `wrong`."""
        versions = ["source_generation", *(["row_version"] if appends else [])]
        key = ["node_id", "source_rowid" if "source_rowid" in rows.columns else "reading_id", *versions]
        again = rows.filter(rows.select(key).is_duplicated())
        if appends and again.height:
            return f"versions stand there twice: {again.select(key).unique().rows()}"
        found: dict[str, list[State]] = {}
        for tag, *state in rows.sort(versions).select("sensor_id", "humidity", "note").iter_rows():
            found.setdefault(tag, []).append(tuple(state))
        each = (self.wrong(tag, states, appends=appends, twice=twice) for tag, states in found.items())
        return next((wrong for wrong in each if wrong is not None), None)

    def wrong(self, tag: str, found: Sequence[State], *, appends: bool, twice: bool) -> str | None:
        """What is wrong with the states of one row in a table, in words.

        Args:
            tag: the row's.
            found: its states in the order of their versions.
            appends: whether each new state is delivered, else the first one alone.
            twice: whether a state may stand there again, because columns that are not compared here came and went.
        """
        seen = self._seen.get(tag, [])
        if not appends:
            return None if all(state in seen for state in found) else f"{tag} is {found}, it was {seen} at deliveries"
        there = [state for state, _ in groupby(found)] if twice else list(found)
        sure = self._sure.get(tag, [])
        if not _among(sure, there):
            return f"{tag} has the states {there}, it was {sure} at deliveries"
        if not _among(there, seen):
            return f"{tag} has the states {there}, it was no more than {seen} at deliveries"
        return None


CALM = (
    *("insert", "insert many", "fill in", "update newest", "update old", "update all", "add column", "rename column"),
    *("drop column", "back up", "journal", "checkpoint", "deliver", "restart"),
)
"""What leaves ids and the file as they are, so that rows go on waiting."""


class Held:
    """The rows that are held back until they are settled.

    Args:
        settle: for how many seconds; 0 for not at all.
    """

    def __init__(self, settle: int) -> None:
        self._settle = settle
        self._looked: dict[str, float] = {}
        self._born: dict[str, float] = {}
        self._known: set[str] = set()
        self._calm = True

    def forget(self) -> None:
        """What is known of rows may be lost, and they wait once more."""
        self._looked, self._born, self._calm = {}, {}, False

    def happened(self, name: str, tags: Iterable[str], clock: float) -> None:
        """A step, with the rows that it inserted."""
        if name not in CALM:
            self.forget()
        elif name == "deliver":
            self._calm = True
        elif self._calm and name in ("insert", "insert many"):
            self._born |= dict.fromkeys(tags, clock)

    def settled(self, there: Iterable[str], clock: float) -> set[str]:
        """Those of the rows that have to be delivered by now."""
        self._looked = {tag: self._looked.get(tag, clock) for tag in there}
        enough = self._settle * (1 + 2 / 64)  # looks are kept apart by so much
        return {tag for tag, since in self._looked.items() if clock - since >= enough}

    def early(self, tags: Iterable[str], clock: float) -> list[str]:
        """Those of the delivered rows that were delivered too early."""
        new = set(tags) - self._known
        self._known |= new
        return sorted(tag for tag in new if clock - self._born.get(tag, clock - self._settle) < self._settle)


def _among(some: Iterable[State], states: Iterable[State]) -> bool:
    """Whether some states are among others, in the same order."""
    left = iter(states)
    return all(one in left for one in some)
