"""Looks at the rows for places that nobody decided over: at a start, and again as rows come.

A table that is empty when a process starts, as a new device's is, has no cells to look at; and an application may begin
to write positions at any time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from edge_delta.settings.sections import Settings
    from edge_delta.source import SQLiteSource

SAMPLED = 100
"""Rows at either end of a table that are searched for places."""
CURE = "Correct the settings"
_AGAIN_SECONDS = 3600.0


class Audit:
    """Looks at what a source holds where its places are displaced; nothing where they are not.

    Args:
        settings: the settings.
        source: the source.
    """

    def __init__(self, settings: Settings, source: SQLiteSource) -> None:
        self._settings = settings
        self._source = source
        self._commits = 0
        self._looked = 0.0
        self._seen: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """Why places could leave as they are, one text a kind; see `edge_delta.modes.privacy.audit`."""
        if not self._settings.gps_fuzzing.enabled:
            return []
        from edge_delta.modes.privacy import audit  # noqa: PLC0415 - many patterns, and only where places are displaced

        self._looked, self._seen = time.monotonic(), self._source.layout.names
        return audit.problems(self._settings, self._source.layout, self._source.sample(SAMPLED))

    def before_commit(self) -> None:
        """Look again where columns came, before the first, second, fourth, eighth … commit, and after each hour.

        That is some ms a time.

        Raises:
            ConfigurationError: if rows that came since may tell a place. None of them was committed.
        """
        self._commits += 1
        doubled = self._commits & (self._commits - 1) == 0
        known = self._seen == self._source.layout.names
        if known and not doubled and time.monotonic() - self._looked < _AGAIN_SECONDS:
            return
        if found := self.problems():
            raise ConfigurationError("; ".join(found), CURE)
