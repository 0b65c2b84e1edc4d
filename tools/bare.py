"""``python -m tools.bare``: README.md's way with Python alone, typed in a root that has nothing but Python.

The root is Debian 12 with python3 and its venv, without a compiler, without git. What is in README.md under "With
Python alone" is typed word for word, at the speed of somebody who sees it for the first time; of the text only the
database's path is another. All of it, the installation of the packages included, must be over in two minutes. As root,
with apt-get; says so and ends with 0 where such a root cannot be made.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.blocks import blocks
from tests.support.sqlite import Sensor

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TYPED_HERE = "no-run: `make bare` types it"
CHARACTERS_PER_SECOND = 5
ROWS = 12_345
MOST_SECONDS = 120
_MIRROR = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]


def main() -> None:
    """Type it, and say how long it took."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    mirror = _mirror()
    if mirror is None:
        say("bare: NOT TRIED: it takes root, debootstrap and apt with a mirror of Debian 12")
        return
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        root = Path(name) / "root"
        _made(root, mirror)
        typing, working, found = typed(root)
    total = typing + working
    say(f"{working:.0f} s of commands and {typing:.0f} s of typing are {total:.0f} s; the query found {found} rows")
    sys.exit(0 if found == ROWS and total <= MOST_SECONDS else 1)


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


def _mirror() -> str | None:
    if os.geteuid() != 0 or not shutil.which("debootstrap") or not shutil.which("apt-get"):
        return None
    listed = subprocess.run(_MIRROR, capture_output=True, text=True, check=True).stdout.splitlines()
    return next((line.split()[0] for line in listed if line.endswith(" bookworm")), None)


def _made(root: Path, mirror: str) -> None:
    """The root, with the wheel and a database in the newcomer's folder."""
    with (root.parent / "log").open("wb") as log:
        words = ["--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", str(root), mirror]
        subprocess.run(["debootstrap", *words], check=True, stdout=log, stderr=log)
    for own in ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if Path(own).exists():
            shutil.copyfile(own, root / own.lstrip("/"))
    home = root / "home"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with Sensor(home / "sensor.db") as sensor:
        sensor.create("sensor_readings")
        sensor.add(ROWS, "sensor_readings")


def typed(root: Path) -> tuple[float, float, int]:
    """Type README.md's block in the root; seconds of typing, of commands, and how many rows the query found."""
    [block] = [one for one in blocks(README) if one.remark.strip() == TYPED_HERE]
    script = block.text.replace("/path/to/your.db", "/home/sensor.db")
    say(f"-- {block}\n{script}")
    kept = {k: v for k, v in os.environ.items() if k.upper().startswith(("PIP_", "HTTP", "NO_PROXY"))}
    kept |= {"PATH": "/usr/bin:/bin", "HOME": "/home", "LANG": "C.UTF-8"}
    if (root / "etc/ssl/certs/ca-certificates.crt").exists():
        kept.setdefault("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt")
    started = time.monotonic()
    with _devices(root):
        done = subprocess.run(
            [str(shutil.which("chroot")), str(root), "bash", "-euo", "pipefail", "-c", f"cd /home\n{script}"],
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1_800,
        )
    working = time.monotonic() - started
    say(done.stdout)
    numbers = re.findall(r"^ *(\d+)$", done.stdout, re.MULTILINE)
    found = int(numbers[-1]) if done.returncode == 0 and numbers else 0
    return len(block.text) / CHARACTERS_PER_SECOND, working, found


class _devices:  # noqa: N801 - a context
    """/proc and /dev of this machine in the root."""

    def __init__(self, root: Path) -> None:
        self._mounts = [root / "proc", root / "dev"]

    def __enter__(self) -> None:
        for mount in self._mounts:
            subprocess.run(["mount", "--bind", f"/{mount.name}", str(mount)], check=True)

    def __exit__(self, *_: object) -> None:
        for mount in self._mounts:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)


if __name__ == "__main__":
    main()
