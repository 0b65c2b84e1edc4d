"""Looks which tables a source has, where the settings do not name each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.retry import Outage
from edge_delta.topology.sources import schema_of, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event as Flag

    from edge_delta.core.errors import TransientError
    from edge_delta.core.events import Log
    from edge_delta.core.observing import Observer
    from edge_delta.settings.sections import Settings
    from edge_delta.topology.one_table import OneTable
    from edge_delta.topology.sources import LeftOut


class Finding:
    """Takes turns as an engine does, to find tables instead of rows.

    Args:
        entry: the entry of the settings.
        found: is told of its tables, those that are known included.
        left_out: is told once of each that cannot be read.
        resolved: whether its tables were found a moment ago.
        log: where it is said that they cannot be told.
        observer: hears of that.
    """

    urgent = None
    behind = False

    def __init__(  # noqa: PLR0913 - what it looks for, and who is told of what
        self,
        entry: Settings,
        found: Callable[[list[OneTable]], None],
        left_out: Callable[[LeftOut], None],
        *,
        resolved: bool,
        log: Log,
        observer: Observer,
    ) -> None:
        self._entry = entry
        self._found = found
        self._left_out = left_out
        self._outage = Outage(log, observer)
        self._schema = schema_of(entry) if resolved else None

    def turns(self, _stop: Flag) -> Iterator[None]:
        """Look once, if the schema is another one than at the last look."""
        schema = schema_of(self._entry)
        if schema is None or schema != self._schema:
            self._found(tables_of(self._entry, left_out=self._left_out))
            self._schema = schema
        yield from ()

    def hurry(self, _stop: Flag) -> Iterator[None]:
        """Nothing is urgent."""
        yield from ()

    def one_run(self, stop: Flag, *, flush: bool = False) -> Iterator[None]:  # noqa: ARG002 - as of an engine
        """The same, once."""
        yield from self.turns(stop)

    def take_over_settings(self) -> bool:
        """There are none of its own."""
        return False

    def pause(self) -> float:
        """Seconds until the next look."""
        return self._entry.interval

    def failed(self, error: TransientError) -> float:
        """Seconds before the next try."""
        pause = self._outage.pause()
        self._outage.failed(error, pause)
        return pause

    def in_order(self) -> None:
        """It looked."""
        self._outage.over()

    def end(self, _stop: Flag) -> None:
        """Nothing is left to be done."""
