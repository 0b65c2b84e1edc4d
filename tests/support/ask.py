"""Commands that answer a question about a process that may be running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.command import clean_environment, finished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.tables import Place


def ask(
    *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    environment = clean_environment() | dict(env or {})
    done = finished(list(map(str, words)), cwd=cwd or Path.cwd(), env=environment, timeout=timeout)
    return subprocess.CompletedProcess(list(map(str, words)), done.code, done.stdout, done.stderr)


def ask_unprivileged(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as one who may not read what its mode forbids: root does, unless without the capabilities to."""
    caps = "-dac_override,-dac_read_search"
    plain = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*plain, sys.executable, "-m", "edge_delta", *map(str, words)],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def status(state_dir: Path) -> dict[str, Any]:
    """What `edge-delta status --json` says."""
    done = ask("status", "--state-dir", state_dir, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def health(state_dir: Path, *words: object) -> tuple[int, str]:
    """The exit code and the line of `edge-delta health`."""
    done = ask("health", "--state-dir", state_dir, *words)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.strip()


def verified(
    sqlite: Path, place: Place, tmp_path: Path, *words: str, mode: str = "schematized", **flags: object
) -> dict[str, Any]:
    """The answer of `edge-delta verify --json`."""
    values = {"sqlite": sqlite, "table_path": place.base, "state_dir": tmp_path / "state", "processing_mode": mode}
    settings = [f"--{k.replace('_', '-')}={v}" for k, v in (values | flags).items()]
    done = ask("verify", "--json", *settings, *words, env=place.environment, cwd=tmp_path, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["equal"] is (done.returncode == 0)
    return found
