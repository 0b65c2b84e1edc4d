"""A progress bar on stderr while a backlog is drained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.observing import SilentObserver

if TYPE_CHECKING:
    from tqdm import tqdm

    from edge_delta.core.model import Step, Waiting


class Bar(SilentObserver):
    """One bar a backlog; nothing is shown where one batch was all there was."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def settled(self, step: Step, waiting: Waiting) -> None:
        """One batch was settled."""
        if self._bar is None and not waiting.rows:
            return
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - only for a terminal with a backlog

            self._bar = tqdm(total=step.read + waiting.rows, unit=" rows", desc=step.mode, unit_scale=True)
        self._bar.update(step.read)
        if not waiting.rows:
            self._bar.close()
            self._bar = None
