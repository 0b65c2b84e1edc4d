"""What a tool does step by step: it says each, and ends at the first that fails, with its last lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAST = 15


class Failed(Exception):
    """A step did not come out as it has to."""


def say(text: str) -> None:
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


def run(*words: object, folder: Path = ROOT, **settings: str) -> str:
    """What a command prints to stdout; `Failed` with the end of what it said, if it fails."""
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-LAST:]
        raise Failed("\n".join([f"{' '.join(command)} ended with {done.returncode}", *said]))
    return done.stdout
