"""`edge-delta` as a process that is forked from one which has imported everything already.

Most of what a short command costs is the import of Polars and delta-rs; the tests start two thousand of them. What is
forked is a process of its own all the same, with the environment, folder and descriptors it is given: it can be killed,
holds its own locks and ends with its own code. What a start costs, holds in memory or imports is asked of a real one
(``fresh=True``), and a variable that is read while Python or a library starts brings a real one too.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import edge_delta
from edge_delta.cli.main import JEMALLOC, entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_READ_AT_A_START = ("PYTHON", "LD_", "RUST", "POLARS", "COV", "MALLOC", "_RJEM", "OPENBLAS", "GLIBC")
_BESIDE_OURS = ("polars", "deltalake", "adbc_driver_manager", "adbc_driver_sqlite", "arro3.core", "boto3", "structlog")
_NOT_IMPORTED = ("__main__", "store_listing", "gathering", "libcolumns", "libplaces", "liblast_words")
_NOR_OF = "edge_delta.gather."
"""The command's start, what imports pyarrow (which starts threads), and what is no module of Python."""
_MESSAGE = 1 << 17
_PID, _STATUS = struct.Struct("i"), struct.Struct("i")


class Forked:
    """A process, with what of `subprocess.Popen` the tests use."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._channel = channel
        self._poll = select.poll()  # `select.select` knows no descriptor above 1,023
        self._poll.register(channel, select.POLLIN)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as soon as it ended."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("edge-delta", timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing if it ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        self._channel.close()

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._poll.poll(None if timeout is None else 1_000 * timeout):
            told = self._channel.recv(_STATUS.size)
            assert told, "the process that forks has ended"
            self.returncode = _STATUS.unpack(told)[0]
            self._channel.close()
        return self.returncode


class Forking:
    """The process that has imported everything, and forks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.preloaded", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )
        self._control = ours
        atexit.register(self.end)

    def start(self, words: Iterable[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> Forked:
        """Start the command; ``stdout`` and ``stderr`` are descriptors."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()
        assert len(said) < _MESSAGE
        with theirs:
            socket.send_fds(self._control, [said], [stdout, stderr, theirs.fileno()])
        told = ours.recv(_PID.size)
        assert told, "the process that forks has ended"
        return Forked(_PID.unpack(told)[0], ours)

    def end(self) -> None:
        """Let it end."""
        self._control.close()
        self._process.wait(10)


_forking: Forking | None = None


def can(env: Mapping[str, str]) -> bool:
    """Whether nothing in it that differs from ours is read while Python or a library starts."""
    read = {k: v for k, v in env.items() if k.startswith(_READ_AT_A_START)}
    return sys.platform == "linux" and read == {k: v for k, v in os.environ.items() if k.startswith(_READ_AT_A_START)}


def start(words: Iterable[str], *, cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> Forked:
    """Start the command, forked from the one process that each process of the tests has for it."""
    global _forking  # noqa: PLW0603 - one for all tests of this process
    _forking = _forking or Forking()
    return _forking.start(words, cwd=cwd, env=env, stdout=stdout, stderr=stderr)


# -- what follows runs in the process that forks


class _Children:
    """Those that were forked and have not ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: dict[int, tuple[int, socket.socket]] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Fork for each message, and tell on its channel how the process ended; until nobody asks any more."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._running:
                    self._tell(descriptor)
                elif not self._fork():
                    return

    def _tell(self, ended: int) -> None:
        self._poll.unregister(ended)
        pid, channel = self._running.pop(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError), channel:  # nobody may have waited for it
            channel.send(_STATUS.pack(code))
        os.close(ended)

    def _fork(self) -> bool:
        said, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE, 3)
        if not said:
            for pid, _ in self._running.values():
                os.kill(pid, signal.SIGKILL)
            return False
        pid = os.fork()
        if pid == 0:
            _become(json.loads(said), *descriptors[:2])
        os.close(descriptors[0])
        os.close(descriptors[1])
        channel = socket.socket(fileno=descriptors[2])
        channel.send(_PID.pack(pid))
        ended = os.pidfd_open(pid)
        self._running[ended] = pid, channel
        self._poll.register(ended, select.POLLIN)
        return True


def _become(said: dict[str, Any], stdout: int, stderr: int) -> NoReturn:
    """The command, in the child."""
    code = 1
    try:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.closerange(3, 1 << 16)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(said["cwd"])
        os.environ.clear()
        os.environ.update(said["env"])
        time.tzset()
        sys.argv = ["edge-delta", *said["words"]]
        entry()
    except SystemExit as wanted:
        sys.stdout.flush()
        code = wanted.code if isinstance(wanted.code, int) else 0 if wanted.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end of a program
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _import_everything() -> None:
    """What the command imports, and what it imports when it is needed; nothing that starts a thread which is missed."""
    os.environ["_RJEM_MALLOC_CONF"] = JEMALLOC["_RJEM_MALLOC_CONF"] + ",background_thread:false"
    os.environ["RUST_LOG_STYLE"] = "never"  # as the command sets it, before delta-rs is imported
    for package in _BESIDE_OURS:
        importlib.import_module(package)
    for module in pkgutil.walk_packages(edge_delta.__path__, "edge_delta."):
        left = module.name.startswith(_NOR_OF) or module.name.rpartition(".")[2] in _NOT_IMPORTED
        if not module.ispkg and not left:
            importlib.import_module(module.name)
    threads = {(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()}
    assert threads <= {"python\n", "python3\n", "polars-ooc-clea\n"}, threads


if __name__ == "__main__":
    _import_everything()
    gc.collect()
    gc.freeze()
    _Children(socket.socket(fileno=int(sys.argv[1]))).serve()
