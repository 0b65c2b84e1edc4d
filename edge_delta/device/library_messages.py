"""What libraries printed, cut into messages, and each as an event; imported with the first one.

In the forms of the Rust crate env_logger, which delta-rs has, and of Rust's panics.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 500
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LOGGED = re.compile(r"\[\S+ +(?P<level>ERROR|WARN|INFO|DEBUG|TRACE) +(?P<source>[^\]]*)\] ?(?P<said>.*)", re.DOTALL)
_PANIC = re.compile(r"thread '.*' (\(\d+\) )?panicked at |fatal runtime error|memory allocation of \d+ bytes failed")
_BEGINS = re.compile(rf"{_PANIC.pattern}|\[\S+ +(ERROR|WARN|INFO|DEBUG|TRACE) |<jemalloc>")
_BACKTRACE = re.compile(r"note: run with `RUST_BACKTRACE=1`.*")
_SIGNED = re.compile(r"(X-Amz-(?:Credential|Signature|Security-Token)=|sig=|AccountKey=)[^&\s\"]+", re.IGNORECASE)
_EXACT = re.compile(r"-?\d+\.\d{3,}")
_LEVELS = {"ERROR": "error", "WARN": "warning"}


def messages(text: str) -> Iterator[str]:
    """What was printed, cut into messages: a line each, a panic with the lines that follow it."""
    lines: list[str] = []
    for line in filter(str.strip, _ANSI.sub("", text).splitlines()):
        if lines and not (_PANIC.match(lines[0]) and not _BEGINS.match(line)):
            yield "\n".join(lines)
            lines = []
        lines.append(line)
    if lines:
        yield "\n".join(lines)


def event_of(message: str) -> tuple[str, dict[str, Any]]:
    """A message's level and keys: one short line, without what signs a request and without exact places."""
    logged = _LOGGED.match(message)
    level = "error" if _PANIC.match(message) else "warning"
    if logged is not None:
        level = _LEVELS.get(logged["level"], "debug")
    text = _BACKTRACE.sub("", logged["said"] if logged is not None else message)
    text = " ".join(_EXACT.sub("…", _SIGNED.sub(r"\1…", text)).split())
    said = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return level, {"said": said} | ({"source": logged["source"]} if logged is not None else {})


def kind(said: str) -> str:
    """What is alike in messages that differ in numbers only."""
    return re.sub(r"\d+", "0", said)[:200]
