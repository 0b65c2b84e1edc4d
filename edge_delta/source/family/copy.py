"""The copy of what is known of a family's files that is kept in the state directory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from edge_delta.source.family.stretches import Stretch, Stretches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

COPY = "files.jsonl"
"""Its name."""


def keep(copy: Path, stretches: Iterable[Stretch], *, more: bool = False) -> None:
    """Keep it, or add to it; nothing depends on it."""
    encoder = msgspec.json.Encoder()
    with contextlib.suppress(OSError), copy.open("ab" if more else "wb") as file:
        file.write(b"".join(encoder.encode(one) + b"\n" for one in stretches))


def records(copy: Path) -> list[Stretch]:
    """What it says, each state of a stretch behind the one before; nothing if it is not whole."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        decoder = msgspec.json.Decoder(Stretch)
        return [decoder.decode(line) for line in copy.read_bytes().splitlines()]
    return []


class Unwritten:
    """A record that nobody keeps: of a family that is only looked at."""

    def read(self) -> Sequence[Stretch]:
        """Nothing."""
        return ()

    def write(self, stretches: Sequence[Stretch]) -> None:
        """Nothing."""

    def reached(self) -> int:
        """Not known here."""
        return 0


class Copied:
    """A record for those who only look, and ask no table.

    Args:
        copy: the file.
    """

    def __init__(self, copy: Path) -> None:
        self._copy = copy

    def read(self) -> Sequence[Stretch]:
        """See `edge_delta.source.family.numbering.Record.read`."""
        with contextlib.suppress(ValueError):  # it is written just now
            return list(Stretches(records(self._copy)))
        return ()

    def write(self, stretches: Sequence[Stretch]) -> None:
        """Nothing."""

    def reached(self) -> int:
        """Not known here."""
        return 0
