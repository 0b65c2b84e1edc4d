"""Asks the files of a family, past those that are gone or damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edge_delta.core.errors import ConfigurationError, SourceDamaged, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_delta.source.family.files import Known, Opened
    from edge_delta.source.family.folder import Folder
    from edge_delta.source.family.put_off import PutOff
    from edge_delta.source.family.stretches import Stretch
    from edge_delta.source.reader import SQLiteSource

T = TypeVar("T")


class Asking:
    """Asks files.

    Args:
        folder: where they lie.
        opened: opens them.
        put_off: those that cannot be read now.
        used: is told of each that is asked.
    """

    def __init__(self, folder: Folder, opened: Opened, put_off: PutOff, used: Callable[[SQLiteSource], None]) -> None:
        self._folder = folder
        self._opened = opened
        self._put_off = put_off
        self._used = used

    def of(self, stretch: Stretch, known: Known, question: Callable[[SQLiteSource], T]) -> T | None:
        """What the file of a stretch answers.

        What may grow is behind all others: if it is locked, nothing has to wait for it.

        Args:
            stretch: the stretch.
            known: its file.
            question: what it is asked.

        Returns:
            The answer; None if the file is gone, or damaged, which is told, or if it is locked and may grow.

        Raises:
            SourceUnavailable: if it is locked, and others are behind it.
        """
        return self.known(known, question, waits=stretch.upto is not None)

    def known(self, known: Known, question: Callable[[SQLiteSource], T], *, waits: bool = True) -> T | None:
        """What a file answers, see `of`; ``waits`` says whether a locked one is an error."""
        if self._put_off.skips(known.name, waits=waits):
            return None
        try:
            source = self._opened.of(known)
            if source is None:
                return None
            self._used(source)
            return question(source)
        except (SourceUnavailable, ConfigurationError) as error:
            damaged = self._is_damage(known, error)
            if waits and not damaged:
                raise
            if known.name is not None:
                self._put_off.add(known.name, error, self._folder.stat(known.name) if damaged else None)
            self._opened.close(known.number)
        return None

    def _is_damage(self, known: Known, error: Exception) -> bool:
        if isinstance(error, SourceDamaged):
            return True
        wrong = isinstance(error, ConfigurationError) and known.name is not None
        return wrong and self._folder.is_database(known.name or "") is False
