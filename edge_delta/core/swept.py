"""What a look for rows that are not behind the cursor came to."""

from __future__ import annotations

from msgspec import Struct, field


class Swept(Struct):
    """What a look for rows below the cursors came to.

    Attributes:
        rows: how many rows were delivered, by mode.
        left: how many could not be, by mode, at least.
        unsure: the first and last keys between which it could not be told which rows are new, by mode.
        overrun: how many rows are there, by mode, where each of the look before was overwritten since.
        seconds: how long it took.
    """

    rows: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    overrun: dict[str, int] = field(default_factory=dict)
    unsure: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0.0


def overrun_by(sweeps: int) -> str:
    """What it means that some sweeps came too late for a table whose ids are used again."""
    return (
        f"{sweeps:,} sweep{'' if sweeps == 1 else 's'} found all rows overwritten since the one before: others may "
        "have come and gone unread, and nothing shows them any more; set sweep shorter than one turn of the table"
    )


class Passed(Struct, frozen=True):
    """What a table that is read in the order of time has besides the rows that wait.

    Attributes:
        late: rows that came with a time that was passed, or with none; they are not delivered.
        ahead: rows whose time is still to come, or so new that others of the same time may follow; they wait for it.
    """

    late: int
    ahead: int
