"""What the operating system says of this machine and this process: the one module with calls that Linux alone has.

Where there is no /proc (macOS, on which demonstrations are given), each has the nearest answer that is there; what that
is stands with the function. `tests/project/test_house.py` holds that no other module asks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import time
from pathlib import Path

_PROC = Path("/proc")
_A_LOOK = 0.1
"""Seconds after which `is_locked` of another process, where it has to try, is over."""
_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)


def cores() -> int:
    """The cores that this process may use; on macOS, where a process has no such mask, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int:
    """Memory of this process that is in RAM; on macOS the most that it ever was (getrusage(2), bytes there)."""
    try:
        pages = (_PROC / "self" / "statm").read_text(encoding="utf-8").split()[1]
    except OSError:
        import resource  # noqa: PLC0415 - not on Linux

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return int(pages) * os.sysconf("SC_PAGESIZE")


def boot() -> str | None:
    """What tells this start of the machine from any other; None where that is not known, as on macOS."""
    try:
        return (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def since_boot() -> float:
    """Seconds since the machine started, those asleep included; on macOS without them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def opened(descriptor: int) -> Path | None:
    """A path to what a descriptor has open, whatever its name is by now; on macOS there is none."""
    path = _PROC / "self" / "fd" / str(descriptor)
    return path if path.parent.is_dir() else None


def mount_points() -> list[str]:
    """What is mounted where this process looks (proc(5), mountinfo); nothing is known of it on macOS."""
    try:
        lines = (_PROC / "self" / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [_unescaped(line.split(" ")[4]) for line in lines]


def _unescaped(mount: str) -> str:
    """Mount points with their octal escapes undone (proc(5): space, tab, newline and backslash)."""
    return mount.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in mount else mount


def is_locked(file: Path) -> bool:
    """Whether a process holds a lock on a file (flock(2)), without touching it.

    Trying to take it would make a process that starts at that moment fail. The kernel lists the locks of the processes
    that are visible from here (proc(5), /proc/locks); seen from another container, nobody holds it. Where there is no
    such list, as on macOS, it is tried for a moment as a shared lock, which `take_lock` lets pass.
    """
    try:
        inode = file.stat().st_ino
        lines = (_PROC / "locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return _cannot_be_shared(file)
    # 1: FLOCK  ADVISORY  WRITE 708 08:01:131105 0 EOF
    fields = (line.split() for line in lines)
    return any(f[1] == "FLOCK" and f[5].rpartition(":")[2] == str(inode) for f in fields if len(f) > 5)  # noqa: PLR2004


def _cannot_be_shared(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def take_lock(descriptor: int) -> None:
    """Lock a file for this process alone.

    Raises:
        BlockingIOError: if another process holds it.
    """
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    time.sleep(_A_LOOK)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(descriptor: int) -> None:
    """Put a file or a directory on the disk; macOS leaves it in the disk's cache unless it is asked (fsync(2) there).

    Raises:
        OSError: if the disk did not take it.
    """
    if _FULL_SYNC is not None:
        with contextlib.suppress(OSError):  # some file systems have no such thing; then the plain one has to do
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
    os.fsync(descriptor)


def sync_file_system(descriptor: int) -> bool:
    """Put all that was written to a file system on its disk (syncfs(2)); False where that is not possible, as on macOS.

    Linux reports errors of writing since 5.8; before, it reports none.
    """
    import ctypes  # noqa: PLC0415 - for commits of very many files only

    try:
        return bool(ctypes.CDLL(None).syncfs(descriptor) == 0)
    except AttributeError:
        return False


_ARENAS, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3
"""Parameters of mallopt(3), as malloc.h numbers them."""
_KEPT, _LARGEST_KEPT = 64 << 20, 32 << 20
"""Bytes that stay with the process once they are freed, and the largest array that they are of."""


def tune_malloc() -> None:
    """Tell the C library to allocate from one arena, and on a single core to keep what a batch frees for the next one.

    By itself it maps new pages for large arrays, and the kernel clears them: a tenth of the CPU of a backlog. What it
    keeps is some 15 MiB, which two cores need for what is read ahead. musl and macOS have no such parameters.
    """
    import ctypes  # noqa: PLC0415 - beside what it is for

    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    library.mallopt(_ARENAS, 1)
    if cores() == 1:
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)


_DONT_NEED = 4
"""MADV_DONTNEED of madvise(2)."""


def give_back() -> None:
    """Give the memory back that the work is over for, before a wait; a few milliseconds, and nothing outside of Linux.

    The C library keeps what was freed (malloc_trim(3)). And the pages of libraries that were read and never changed are
    let go: whoever needs one again finds it in the page cache, or reads it. Pages that are ours alone stay, such as
    those with addresses that the loader filled in.
    """
    import ctypes  # noqa: PLC0415 - only after work

    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        return
    library.malloc_trim(0)
    for begin, end in _unchanged():
        library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONT_NEED)


def _unchanged() -> list[tuple[int, int]]:
    """Where libraries are mapped whose pages are all as in their files (proc(5), smaps)."""
    try:
        lines = (_PROC / "self" / "smaps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    mapped, found, place = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)"), [], None
    for line in lines:
        if (begins := mapped.match(line)) is not None:
            library = ".so" in begins[4] and "w" not in begins[3] and begins[3].endswith("p")
            place = (int(begins[1], 16), int(begins[2], 16)) if library else None
        elif place is not None and line.startswith("Anonymous:") and line.split()[1] == "0":
            found.append(place)
    return found
