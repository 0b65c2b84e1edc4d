"""The command `edge-delta`, as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import preloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.support.preloaded import Forked

_OURS = (
    "AWS_",
    "AZURE_",
    "EDGE_DELTA_",
    "SQLITE_",
    "NODE_ID",
    "STATE_DIR",
    "ONCE",
    "UPLOAD_",
    "SSL_CERT_",
    "OTEL_",
    "MAX_MEMORY",
)
_TICKS = os.sysconf("SC_CLK_TCK")


def clean_environment() -> dict[str, str]:
    """The environment without anything that would be a setting, and with no store but the one named by a test."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(_OURS)}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost"}


@dataclass
class Finished:
    """What a run came to."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return parse_events(self.stderr)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        errors = [e["error"] for e in self.named("failed")]
        errors += [line for line in self.stderr.splitlines() if line.startswith("edge-delta: ")]
        assert len(errors) == 1, self.stderr
        assert "Traceback" not in self.stderr
        error = str(errors[0])
        assert "\n" not in error
        return error

    def succeeded(self) -> Finished:
        assert self.code == 0, self.stderr
        return self


def parse_events(text: str) -> list[dict[str, Any]]:
    events = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(line)
            if isinstance(found, dict) and "event" in found:
                events.append(found)
    return events


def started(
    words: Iterable[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: int | None = None,
    stderr: int,
    fresh: bool = False,
) -> subprocess.Popen[bytes] | Forked:
    """Start the command with these descriptors, without a line of input."""
    with Path(os.devnull).open("rb") as nothing, Path(os.devnull).open("wb") as nowhere:
        out = nowhere.fileno() if stdout is None else stdout
        if not fresh and preloaded.can(env):
            return preloaded.start(words, cwd=cwd, env=env, stdout=out, stderr=stderr)
        command = [sys.executable, "-m", "edge_delta", *words]
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=nothing, stdout=out, stderr=stderr)


def finished(words: Iterable[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> Finished:
    """Run the command to its end."""
    with os.fdopen(os.memfd_create("stdout"), "w+b") as out, os.fdopen(os.memfd_create("stderr"), "w+b") as err:
        process = started(words, cwd=cwd, env=env, stdout=out.fileno(), stderr=err.fileno())
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return Finished(code, out.read().decode(), err.read().decode())


@dataclass
class Running:
    """A process of `edge-delta run`."""

    process: subprocess.Popen[bytes] | Forked
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def named(self, event: str) -> list[dict[str, Any]]:
        return [e for e in parse_events(self.text()) if e["event"] == event]

    def wait_for(self, event: str, *, count: int = 1, timeout: float = 20) -> dict[str, Any]:
        """The ``count``-th event of that name."""
        self.wait_until(lambda: len(self.named(event)) >= count, what=f"event {event!r}", timeout=timeout)
        return self.named(event)[count - 1]

    def wait_until(self, probe: Callable[[], Any], *, what: str, timeout: float = 20) -> Any:
        """The probe's first result that is true; the process must not end before."""

        def alive() -> Any:
            ended = self.process.poll()
            found = probe()
            assert found or ended is None, f"ended with {ended} before {what}:\n{self.text()}"
            return found

        return eventually(alive, timeout=timeout, what=what, tell=self.text)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """The exit code."""
        return self.process.wait(timeout)

    def finished(self, timeout: float = 30) -> Finished:
        code = self.wait(timeout)
        return Finished(code, "", self.text())

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(15)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_megabytes(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        raise AssertionError


@dataclass
class EdgeDelta:
    """The command with the settings of one test.

    Args:
        directory: where it runs; logs and state go below it.
        flags: by name, underscores for dashes; True for those without a value, None leaves one out.
        environment: added to a clean one.
    """

    directory: Path
    flags: dict[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)

    def arguments(self, changed: Mapping[str, Any], command: str = "run") -> list[str]:
        words = [command]
        for name, value in (self.flags | dict(changed)).items():
            if value is None or value is False:
                continue
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(str(value))
        return words

    def once(self, *, timeout: float = 90, env: Mapping[str, str] | None = None, **changed: Any) -> Finished:
        """Run with ``--once`` to its end."""
        return self.run("run", timeout=timeout, env=env, once=True, **changed)

    def run(
        self, command: str, *, timeout: float = 90, env: Mapping[str, str] | None = None, **changed: Any
    ) -> Finished:
        """Run a command to its end."""
        return finished(
            self.arguments(changed, command),
            cwd=self.directory,
            env=clean_environment() | dict(self.environment) | dict(env or {}),
            timeout=timeout,
        )

    def start(self, *, env: Mapping[str, str] | None = None, fresh: bool = False, **changed: Any) -> Running:
        """Start it, in continuous mode unless told otherwise; ``fresh`` where a start itself is looked at."""
        log = self.directory / f"edge-delta-{len(self.running)}-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            process = started(
                self.arguments(changed),
                cwd=self.directory,
                env=clean_environment() | dict(self.environment) | dict(env or {}),
                stderr=file.fileno(),
                fresh=fresh,
            )
        running = Running(process, log)
        self.running.append(running)
        return running

    def end(self) -> None:
        for running in self.running:
            running.kill()


def eventually(
    probe: Any, *, timeout: float = 30, what: str = "what was waited for", tell: Any = str, pause: float = 0.03
) -> Any:
    """The probe's first result that is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"{what} did not come within {timeout} s\n{tell()}")
