"""What libraries print goes through the log.

delta-rs, the AWS SDK inside it, Polars and the allocators write to descriptor 2 by themselves: warnings in a form of
their own, panics, the last words of an abort. Between JSON lines they break whatever reads the log. So descriptor 2
leads into a socket, and a thread makes events of what comes out; the log itself, and whatever Python writes to
``sys.stderr``, has a descriptor of its own.

Nothing is taken out of the socket before it is in the log (``MSG_PEEK``): should the process abort in between,
``last_words.c`` says what is left. With ``RUST_LOG`` set, somebody looks for a fault and wants the lines as they are.
"""

from __future__ import annotations

import _socket  # what `socket` adds costs as much as all the rest here
import contextlib
import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_delta.core.events import Event, configure

if TYPE_CHECKING:
    from edge_delta.core.events import Log

LIBRARY = Path(__file__).with_name("liblast_words.so")
_AT_ONCE = 65_536
_TOGETHER = 0.02
"""Seconds in which the rest of a message of several lines comes."""
_ENOUGH = 1.0
_SAY_EVERY = 300.0
_DIFFERENT = 200


class LibraryOutput:
    """Descriptor 2, while it leads into the log."""

    def __init__(self) -> None:
        self._log: Log | None = None
        self._stderr = os.dup(2)
        self._reader, writer = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        if ctypes.CDLL(str(LIBRARY)).last_words(self._reader.fileno(), self._stderr) != 0:
            raise OSError
        # Whatever Python writes is ours.
        sys.stderr = os.fdopen(self._stderr, "w", buffering=1, errors="backslashreplace", closefd=False)
        os.dup2(writer.fileno(), 2)
        writer.close()
        self._said: dict[str, float] = {}
        self._thread = threading.Thread(target=self._read, name="library output", daemon=True)
        self._thread.start()

    def goes_to(self, log: Log) -> None:
        """The log that a command made."""
        self._log = log

    def end(self) -> None:
        """Let descriptor 2 lead where it did; what was printed before is in the log then."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            os.dup2(self._stderr, 2)
            self._thread.join(_ENOUGH)  # a child may have the other end still

    def _read(self) -> None:
        try:
            while data := self._reader.recv(_AT_ONCE, _socket.MSG_PEEK):
                if len(data) < _AT_ONCE // 4:
                    time.sleep(_TOGETHER)
                    data = self._reader.recv(_AT_ONCE, _socket.MSG_PEEK)
                self._say(data.decode(errors="replace"))
                self._reader.recv(len(data))
        finally:
            os.dup2(self._stderr, 2)  # what nobody reads any more would hold up whoever prints

    def _say(self, text: str) -> None:
        from edge_delta.device import library_messages  # noqa: PLC0415 - most runs have none

        log = self._log or configure(stream=sys.stderr)
        tell = {"error": log.error, "warning": log.warning, "debug": log.debug}
        for message in library_messages.messages(text):
            level, keys = library_messages.event_of(message)
            if self._is_new(library_messages.kind(keys["said"])):
                with contextlib.suppress(OSError):  # nobody reads the log any more
                    tell[level](Event.LIBRARY, **keys)

    def _is_new(self, kind: str) -> bool:
        """Whether nothing like it was said lately: what fails is tried again and again."""
        now = time.monotonic()
        if now - self._said.get(kind, -_SAY_EVERY) < _SAY_EVERY:
            return False
        if len(self._said) >= _DIFFERENT:
            self._said.clear()
        self._said[kind] = now
        return True


_captured: LibraryOutput | None = None


def capture() -> None:
    """Let what libraries print go through the log from now on; before any of them is imported."""
    global _captured  # noqa: PLW0603 - a process has one descriptor 2
    if os.environ.get("RUST_LOG") or not LIBRARY.exists():
        return
    os.environ["RUST_LOG_STYLE"] = "never"
    try:
        _captured = LibraryOutput()
    except OSError:  # no descriptor 2
        _captured = None


def goes_to(log: Log) -> None:
    """Name the log, as soon as there is one."""
    if _captured is not None:
        _captured.goes_to(log)


def end() -> None:
    """Before the process ends: what was printed is in the log."""
    if _captured is not None:
        _captured.end()
