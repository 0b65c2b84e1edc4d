"""Who hears of what a process does, as the engine knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.core.errors import TransientError
    from edge_delta.core.model import Cursor, Inventory, Step, Waiting
    from edge_delta.core.ports import Source
    from edge_delta.core.swept import Swept


class Observer(Protocol):
    """Hears what the engine does. None of its methods may raise or take long."""

    def opened(self, source: Source, node_id: str) -> None:
        """The source is open, and it is known which device this is."""

    def settled(self, step: Step, waiting: Waiting) -> None:
        """One batch is in its tables; ``waiting`` is what was there when the round began and is still to come."""

    def looked_after(self, mode: str, found: Inventory) -> None:
        """A mode's table was looked after."""

    def swept(self, swept: Swept) -> None:
        """A look for rows below the cursors is over."""

    def updated(self, mode: str, cursor: Cursor) -> None:
        """The row at a cursor was updated since it was delivered, and that is not delivered; with its new witness."""

    def held(self, mode: str, rows: int) -> None:
        """So many rows wait at most because they have not been there for long enough, or came since."""

    def cycled(self, pause: float | None) -> None:
        """All that was there is delivered; the next cycle begins in ``pause`` seconds, None if there is none."""

    def alive(self) -> None:
        """The engine waits for the next cycle; said every few seconds."""

    def failed(self, error: TransientError, failures: int, pause: float) -> None:
        """Something is unavailable; it is tried again in ``pause`` seconds."""

    def recovered(self) -> None:
        """It works again."""

    def settings_changed(self, keys: Sequence[str]) -> None:
        """Other settings are in force since now."""


class SilentObserver:
    """An `Observer` that does nothing; the base of those that care for some of it."""

    def opened(self, source: Source, node_id: str) -> None:
        """Nothing."""

    def settled(self, step: Step, waiting: Waiting) -> None:
        """Nothing."""

    def looked_after(self, mode: str, found: Inventory) -> None:
        """Nothing."""

    def swept(self, swept: Swept) -> None:
        """Nothing."""

    def updated(self, mode: str, cursor: Cursor) -> None:
        """Nothing."""

    def held(self, mode: str, rows: int) -> None:
        """Nothing."""

    def cycled(self, pause: float | None) -> None:
        """Nothing."""

    def alive(self) -> None:
        """Nothing."""

    def failed(self, error: TransientError, failures: int, pause: float) -> None:
        """Nothing."""

    def recovered(self) -> None:
        """Nothing."""

    def settings_changed(self, keys: Sequence[str]) -> None:
        """Nothing."""
