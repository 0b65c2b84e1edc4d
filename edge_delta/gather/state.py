"""What was taken of each device, and where that stands: in the commit that brought the rows (``userMetadata``).

Each commit of ours says all of it, so that the newest one is enough, whichever runner wrote it. A ``txn`` of one name
goes with each, so that of two runs at once one is refused (delta-rs) or does nothing (Spark).
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.gather.logs import Commit, Log

APP = "edge-delta/gather"
"""The ``txn`` of each of our commits; its version is the round."""
_FORMAT = 1


@dataclass(frozen=True)
class Taken:
    """Up to where a device's table was taken.

    Attributes:
        version: the device's table's version.
        mark: of that commit, see `Commit.mark`; empty where its file was not there any more.
    """

    version: int
    mark: str


@dataclass(frozen=True)
class State:
    """What a fleet's table holds.

    Attributes:
        round: counts our commits.
        taken: by device.
        strangers: whether rows of devices that are not in ``taken`` may be in the table nevertheless.
        time: when it was written, milliseconds.
    """

    round: int = 0
    taken: Mapping[str, Taken] = field(default_factory=dict)
    strangers: bool = False
    time: int = 0

    def after(self, taken: Mapping[str, Taken]) -> State:
        """The state that the next commit writes."""
        return replace(self, round=self.round + 1, taken={**self.taken, **taken})

    def noted(self, runner: str) -> str:
        """As it stands in a commit; some 20 bytes for each device."""
        devices = {device: [one.version, one.mark] for device, one in sorted(self.taken.items())}
        packed = base64.b64encode(zlib.compress(json.dumps(devices, separators=(",", ":")).encode(), 9)).decode()
        return json.dumps(
            {"edge-delta gather": _FORMAT, "by": runner, "round": self.round, "strangers": self.strangers}
            | {"taken": packed}
        )


def read(noted: str | None, time: int = 0) -> State | None:
    """The state that a commit notes; None if it is none of ours.

    Raises:
        ValueError: if it is of a version that is not known here.
    """
    try:
        said = json.loads(noted or "")
    except ValueError:
        return None
    if not isinstance(said, dict) or "edge-delta gather" not in said:
        return None
    if said["edge-delta gather"] != _FORMAT:
        raise ValueError("a newer version of edge-delta gathered this table")
    devices = json.loads(zlib.decompress(base64.b64decode(said["taken"])))
    taken = {device: Taken(version, mark) for device, (version, mark) in devices.items()}
    return State(int(said["round"]), taken, bool(said["strangers"]), time)


def newest(log: Log, version: int) -> State:
    """The state of a fleet's table at a version.

    Who restores the table goes back in time, and so does the state. Where the log does not say it any more, or others
    put rows into the table before we did, devices are taken by what the table already holds.

    Raises:
        ValueError: see `read` and `parsed`.
    """
    foreign = False
    while version >= 0:
        commit = log.commit(version)
        if commit is None:
            return State(strangers=True)
        found = read(commit.metadata, commit.time)
        if found is not None:
            return found
        if commit.operation == "RESTORE":
            restored = _restored_to(commit)
            if restored is None:
                return State(strangers=True)
            version = restored
            continue
        foreign = foreign or bool(commit.added)
        version -= 1
    return State(strangers=foreign)


def _restored_to(commit: Commit) -> int | None:
    """The version that a commit went back to; None if it does not say."""
    said = str(commit.parameters.get("version", "")) if isinstance(commit.parameters, dict) else ""
    return int(said) if said.isdigit() and int(said) < commit.version else None
