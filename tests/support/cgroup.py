"""A group of processes that the kernel ends when they take more memory than they may, swap included (cgroups(7)).

It works where this process may make such groups: as root, with either version of them mounted below /sys/fs/cgroup.
What the processes read and write of files counts too; the kernel lets go of that first.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ROOT = Path("/sys/fs/cgroup")
_ONE, _TWO = _ROOT / "memory", _ROOT
_DISK_ONE = _ROOT / "blkio"


class NoGroups(Exception):
    """Such groups cannot be made here."""


class Group:
    """Processes that are held to a limit.

    Args:
        folders: the group, in each hierarchy that it is in.
        files: by what is asked, the file that answers.
    """

    def __init__(self, folders: tuple[Path, ...], files: Mapping[str, Path]) -> None:
        self._folders = folders
        self._files = files

    def enter(self) -> None:
        """Put this process into it; for ``preexec_fn``."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    @property
    def entering(self) -> Callable[[], None]:
        """`enter`, as an argument of ``subprocess``."""
        return self.enter

    def peak(self) -> int:
        """The most bytes that they took, with what the kernel kept of files for them."""
        return int(self._files["peak"].read_text(encoding="ascii"))

    def killed(self) -> int:
        """How many of them the kernel ended."""
        fields = dict(line.split() for line in self._files["events"].read_text(encoding="ascii").splitlines())
        return int(fields["oom_kill"])

    def slow_disk(self, device: str, bytes_per_second: int) -> bool:
        """Hold them to so many bytes a second, read and written, of a block device; False where that is not possible.

        Args:
            device: its numbers, such as ``7:0``.
            bytes_per_second: in either direction.
        """
        with contextlib.suppress(OSError):
            if _DISK_ONE.is_dir():
                for way in ("read", "write"):
                    file = self._folders[-1] / f"blkio.throttle.{way}_bps_device"
                    file.write_text(f"{device} {bytes_per_second}", encoding="ascii")
            else:
                limits = f"{device} rbps={bytes_per_second} wbps={bytes_per_second}"
                (self._folders[0] / "io.max").write_text(limits, encoding="ascii")
            return True
        return False


@contextlib.contextmanager
def limited(memory: int) -> Iterator[Group]:
    """A group whose processes may take so many bytes together.

    Raises:
        NoGroups: if there can be none here.
    """
    name = f"edge-delta-{os.getpid()}-{time.monotonic_ns()}"
    folders: tuple[Path, ...] = (_ONE / name, _DISK_ONE / name) if _ONE.is_dir() else (_TWO / name,)
    folders = tuple(folder for folder in folders if folder.parent.is_dir())
    made: list[Path] = []
    try:
        yield _made(folders, made, memory)
    finally:
        for folder in made:
            _removed(folder)


def _made(folders: tuple[Path, ...], made: list[Path], memory: int) -> Group:
    try:
        for folder in folders:
            folder.mkdir()
            made.append(folder)
        return Group(folders, _held(folders[0], memory))
    except OSError as error:
        raise NoGroups(str(error)) from error


def _held(folder: Path, memory: int) -> dict[str, Path]:
    if folder.parent == _ONE:
        (folder / "memory.limit_in_bytes").write_text(str(memory), encoding="ascii")
        with contextlib.suppress(OSError):  # a kernel without swap has no such file
            (folder / "memory.memsw.limit_in_bytes").write_text(str(memory), encoding="ascii")
        return {"peak": folder / "memory.max_usage_in_bytes", "events": folder / "memory.oom_control"}
    (_TWO / "cgroup.subtree_control").write_text("+memory +io", encoding="ascii")
    (folder / "memory.max").write_text(str(memory), encoding="ascii")
    with contextlib.suppress(OSError):
        (folder / "memory.swap.max").write_text("0", encoding="ascii")
    return {"peak": folder / "memory.peak", "events": folder / "memory.events"}


def _removed(folder: Path) -> None:
    for _ in range(50):  # the kernel takes a moment after the last process
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.1)
