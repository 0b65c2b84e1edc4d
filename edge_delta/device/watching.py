"""What `edge-delta status --watch` shows: the status again and again, with how the backlog shrinks or grows."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from edge_delta.device.health import duration
from edge_delta.device.status import DOUBTFUL, GOOD, INDENT, NARROWEST, count, left, report, text, wrapped

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

_GREEN, _YELLOW, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1m", "\x1b[0m"
_HIDE_CURSOR, _SHOW_CURSOR, _HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[H", "\x1b[K", "\x1b[J"
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_BAR = 50
_LOOKS = 15
"""How many of them tell how fast the backlog changes."""


def watch(state_dir: Path, out: TextIO = sys.stdout, *, every: float = 1.0) -> None:
    """Show it again and again, until interrupted, with the backlog's progress.

    It draws on the terminal's other screen, so that what was there before is there again afterwards.
    """
    progress = Progress()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    out.write(_OTHER_SCREEN + _HIDE_CURSOR)
    try:
        while True:
            out.write(_HOME + screen(report(state_dir), progress, shutil.get_terminal_size()) + _CLEAR_BELOW)
            out.flush()
            time.sleep(every)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        out.write(_FIRST_SCREEN + _SHOW_CURSOR)
        out.flush()


def screen(about: Mapping[str, Any], progress: Progress, size: os.terminal_size) -> str:
    """One picture that fits the terminal, however small."""
    bar = max(NARROWEST, min(_BAR, size.columns - INDENT - 7))
    lines = text(about, width=size.columns).splitlines()
    below = ["", *progress.lines(about, bar=bar, width=size.columns), "", "Ctrl-C ends this view only."]
    if len(lines) + len(below) >= size.lines:  # the bar is what is looked at; the end of the text can wait
        below = [line for line in below[:-1] if line]
        lines = lines[: max(1, size.lines - 1 - len(below))]
    lines = [line[: size.columns] + _CLEAR_LINE for line in [*lines, *below][: max(1, size.lines - 1)]]
    verdict = about["verdict"]
    colour = _GREEN if verdict in GOOD else _YELLOW if verdict in DOUBTFUL else _RED
    lines[0] = lines[0].replace(verdict, f"{_BOLD}{colour}{verdict}{_PLAIN}", 1)
    return "\n".join(lines)


class Progress:
    """How a backlog shrinks, or grows, from one look to the next."""

    def __init__(self) -> None:
        self._most = 0
        self._seen: list[tuple[float, int]] = []

    def lines(
        self, about: Mapping[str, Any], *, bar: int = _BAR, width: int = 10_000, at: float | None = None
    ) -> list[str]:
        """A bar, and in words how fast the backlog changes, and when it will be gone."""
        done, words = self.look(about, at=at)
        if not about["rows_waiting"]:
            return [f"{'backlog':<{INDENT}}" + (words if done is None else f"[{'#' * bar}] {words}")]
        drawn = f"{'backlog':<{INDENT}}[{'#' * round((done or 0) * bar):.<{bar}}]"
        return [drawn, *wrapped("", words, width).splitlines()]

    def look(self, about: Mapping[str, Any], *, at: float | None = None) -> tuple[float | None, str]:
        """How much of the backlog is done, from 0 to 1 (None if nobody knows), and the rest of it in words."""
        rows = about["rows_waiting"]
        at_work = about["running"] and not left(about["next_cycle"])
        if not rows or not at_work:
            self._most = 0  # the next round begins with an empty bar
        if not rows:
            self._seen = []
            return (None, "unknown") if rows is None else (1.0, "none")
        self._most = max(self._most, rows)
        self._seen = [*self._seen[-_LOOKS:], (time.monotonic() if at is None else at, rows)]
        done = 1 - rows / self._most
        words = f"{done:.0%} of {count(self._most, 'row')}" if at_work else self._idle(about, rows)
        return done, words + self._trend()

    def _idle(self, about: Mapping[str, Any], rows: int) -> str:
        when = f", in {duration(left(about['next_cycle']))}" if about["running"] else "; no process runs now"
        return f"{count(rows, 'row')} for the next round{when}"

    def _trend(self) -> str:
        (begin, before), (end, rows) = self._seen[0], self._seen[-1]
        if end <= begin:
            return ""
        change = (rows - before) / (end - begin)
        if change >= 0:
            return f"; growing by {change:,.0f} rows/s" if change else "; standing still"
        return f"; shrinking by {-change:,.0f} rows/s, {duration(-rows / change)} to go"
