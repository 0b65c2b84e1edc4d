"""What a process may take of memory, shared out among what takes it: the setting ``max_memory``.

The libraries take some 90 MiB by themselves. What is left goes to batches: delta-rs needs some four times a batch's
bytes to write it, several are read ahead, and what does not fit of large windows is laid down on the disk.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

MIB = 2**20
DEFAULT = 256 * MIB
LEAST = 128 * MIB
_OF_LIBRARIES = 96 * MIB
_MOST_TIMES = 4
"""By how much a batch may grow: a larger one would make commits rarer, and nothing faster."""
_FOR_TWO_AHEAD, _FOR_ONE_AHEAD = 224 * MIB, 160 * MIB


class Budget(Struct, frozen=True):
    """How large what takes memory may be.

    Attributes:
        batch_bytes: the bytes of a batch, as far as one row does not exceed them.
        ahead: batches that are read ahead; with the one being written they bound the memory.
        row_bytes: a row of that size is held, which takes some twelve times as much until it is written.
        held_values: values of windows that are sorted in memory; some 100 bytes each, with their keys.
        group_rows: rows that readers can leave out together, and that a compaction has to hold.
    """

    batch_bytes: int = 10_500_000
    ahead: int = 2
    row_bytes: int = 8 * MIB
    held_values: int = 250_000
    group_rows: int = 262_144

    @classmethod
    def of(cls, max_memory: int) -> Budget:
        """What so many bytes allow; at `DEFAULT` what this class has by default."""
        share = min(_MOST_TIMES, (max_memory - _OF_LIBRARIES) / (DEFAULT - _OF_LIBRARIES))
        usual = PLAIN
        return cls(
            batch_bytes=round(usual.batch_bytes * share),
            ahead=usual.ahead if max_memory >= _FOR_TWO_AHEAD else int(max_memory >= _FOR_ONE_AHEAD),
            row_bytes=round(usual.row_bytes * share),
            held_values=round(usual.held_values * share),
            group_rows=round(usual.group_rows * min(1.0, share)),
        )

    def on(self, cores: int) -> Budget:
        """The same where there are so many cores: on a single one nothing is read ahead, and batches have the room.

        Each commit costs the same, so half as many of them spare processor time.
        """
        if cores > 1 or not self.ahead:
            return self
        return replace(self, batch_bytes=2 * self.batch_bytes, ahead=0)


PLAIN = Budget()
"""That of the default."""
