"""Pulls the plug: images of an ext4 file system, taken at random moments of a device under load, and started again.

``python -m tools.powercut --images 200`` writes tables and state onto a loop device, whose image holds at every moment
what a disk would hold if the power went; what the kernel still has in memory is not in it. Each image is mounted, which
replays the journal, and the device is started on it: the cursor must be at least what was reported before, and
`edge-delta verify` must find source and tables equal. Needs root and loop devices.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.cli.main import main as run_command
from edge_delta.core import events
from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.model import Cursor
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.durable import Disk
from edge_delta.sinks.delta.sink import DeltaSink
from tests.support.command import EdgeDelta, Finished, eventually
from tests.support.sqlite import LiveWriter, Sensor

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 64_000_000
_IMAGES_PER_DISK = 20
_LONGEST_PAUSE = 0.8
_TARGET = "t/n1/x_1_schematized"
_SETTINGS = 'interval = 0.05\nfuzz_factor = 0\n[maintenance]\nevery_commits = 15\n[storage]\ndurability = "%s"\n'


@dataclass
class Outcome:
    """What the images came to.

    Attributes:
        images: how many were started from.
        healed: what was found torn, and in how many images.
        lost: reported rows that an image's table does not have, a line each.
        unequal: images after which `verify` found a difference, or the start failed, a line each.
    """

    images: int = 0
    healed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)


def possible() -> bool:
    """Whether a file system can be mounted from a file here."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        _make(image, 8_000_000)
        try:
            with mounted(image, Path(folder) / "mount"):
                return True
        except subprocess.CalledProcessError:
            return False


def _make(image: Path, size: int = _SIZE) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """An image's file system."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True)
    try:
        yield place
    finally:
        eventually(lambda: _unmounted(place), timeout=20, what=f"{place} is unmounted")


def _unmounted(place: Path) -> bool:
    return subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode == 0


@dataclass
class Plug:
    """Pulls it.

    Args:
        directory: for the source and for mounts.
        durability: the setting that is tried.
        seed: of the moments.
        in_process: whether the commands that start from an image run in this process, for their imports take longest.
        longest_pause: seconds between two images, at most.
    """

    directory: Path
    durability: str = "full"
    seed: int | None = None
    in_process: bool = False
    longest_pause: float = _LONGEST_PAUSE
    outcome: Outcome = field(default_factory=Outcome)

    def pull(self, images: int) -> Outcome:
        """Take so many images of a device under load, and start from each."""
        chance = random.Random(self.seed)
        self._settings.write_text(_SETTINGS % self.durability, encoding="ascii")
        while self.outcome.images < images:
            self._one_disk(min(_IMAGES_PER_DISK, images - self.outcome.images), chance)
            bad = len(self.outcome.lost) + len(self.outcome.unequal)
            sys.stderr.write(f"{self.outcome.images} images, {bad} of them bad\n")
        return self.outcome

    @property
    def _settings(self) -> Path:
        return self.directory / "settings.toml"

    def _one_disk(self, images: int, chance: random.Random) -> None:
        database = self.directory / f"sensor-{self.outcome.images}.db"
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, Sensor(database) as sensor:
            live, cut = Path(memory) / "live.img", Path(memory) / "cut.img"
            _make(live)
            sensor.create()
            with mounted(live, self.directory / "live") as disk, LiveWriter(database, rate=200, seconds=3600):
                edge = self._device(database, disk)
                running = edge.start()
                try:
                    running.wait_for("batch committed", timeout=60)
                    for _ in range(images):
                        time.sleep(chance.uniform(0, self.longest_pause))
                        reported = running.named("batch committed")[-1]["cursor"]
                        running.signal(signal.SIGSTOP)  # what the kernel holds stays with it
                        _copy(live, cut)
                        self._start_from(cut, sensor, reported)
                        running.signal(signal.SIGCONT)
                finally:
                    running.signal(signal.SIGCONT)
                    edge.end()

    def _device(self, database: Path, disk: Path) -> EdgeDelta:
        where = {"table_path": disk / "t" / "{node_id}" / "x", "state_dir": disk / "state"}
        return EdgeDelta(self.directory, where | {"sqlite": database, "node_id": "n1", "config": self._settings})

    def _start_from(self, image: Path, sensor: Sensor, reported: int) -> None:
        """Start the device on an image, with the source as it is now."""
        self.outcome.images += 1
        name = f"image {self.outcome.images}"
        database = self.directory / "cut.db"
        sensor.run(f"VACUUM INTO '{database}'")
        with mounted(image, self.directory / "cut") as disk:
            edge = self._device(database, disk)
            stands = self._stands(disk / _TARGET)
            once, verified = self._run(edge, "run", once=True), self._run(edge, "verify")
        database.unlink()
        if stands < reported:
            self.outcome.lost.append(f"{name}: {reported} was reported, {stands} stands")
        if once.code or verified.code:
            said = once.stderr if once.code else verified.stdout + verified.stderr
            self.outcome.unequal.append(f"{name}: run ended with {once.code}, verify with {verified.code}: {said}")

    def _run(self, edge: EdgeDelta, command: str, **flags: Any) -> Finished:
        if not self.in_process:
            return edge.run(command, **flags)
        out, log = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(log):
            code = run_command(edge.arguments(flags, command))
        return Finished(code, out.getvalue(), log.getvalue())

    def _stands(self, table: Path) -> int:
        """The last id that the table holds, healed as a start heals it."""
        said = io.StringIO()
        disk = Disk(table, log=events.configure(stream=said))
        try:
            cursor = DeltaSink(str(table), {}, application_id("n1", "readings"), disk=disk).committed() or Cursor()
        except EdgeDeltaError as error:
            self.outcome.unequal.append(str(error))
            return -1
        self.outcome.healed.update(
            re.sub(r"\d+", "N", json.loads(line)["found"]) for line in said.getvalue().splitlines()
        )
        return cursor.rowid


def _copy(live: Path, image: Path) -> None:
    """Copy an image as of one moment: read it until two readings in a row are equal."""
    before, after = b"", live.read_bytes()
    while before != after:
        before, after = after, live.read_bytes()
    image.write_bytes(after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--durability", choices=["full", "off"], default="full")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    if not possible():
        sys.exit("NOT TESTED: no file system can be mounted from a file here; run as root, with loop devices")
    with tempfile.TemporaryDirectory() as folder:
        outcome = Plug(Path(folder), options.durability, options.seed).pull(options.images)
    for line in outcome.lost + outcome.unequal:
        sys.stdout.write(line + "\n")
    sys.stdout.write(
        f"{outcome.images} power cuts: after {len(outcome.unequal)} a start failed or source and tables differ, "
        f"after {len(outcome.lost)} reported rows are missing; healed: {dict(outcome.healed)}\n"
    )
    if outcome.unequal or outcome.lost:
        sys.exit(1)


if __name__ == "__main__":
    main()
