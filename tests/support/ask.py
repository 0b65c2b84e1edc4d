"""Commands that answer a question about a process that may be running."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.support.command import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def ask(
    *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge_delta", *map(str, words)],
        cwd=cwd,
        env=clean_environment() | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def status(state_dir: Path) -> dict[str, Any]:
    """What `edge-delta status --json` says."""
    done = ask("status", "--state-dir", state_dir, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def health(state_dir: Path, *words: object) -> tuple[int, str]:
    """The exit code and the line of `edge-delta health`."""
    done = ask("health", "--state-dir", state_dir, *words)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.strip()
