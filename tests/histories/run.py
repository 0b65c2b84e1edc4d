"""Many histories: ``python -m tests.histories.run --first 0 --count 10000 --jobs 2 --seconds 600``.

Prints a line for each that fails, made as short as it gets, and at last how many were tried, which seeds failed, and
what that cost. What was tried is noted in a file, so that a run which was stopped goes on behind it: after a change of
the code begin with ``--anew``.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.histories.world import story
from tests.support.sqlite import Sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

_PORTION = 10
_ROOT = Path(__file__).parents[2]


def _portion(seeds: Sequence[int], *, shorten: bool) -> dict[int, str]:
    """What is wrong with some histories, by seed."""
    with tempfile.TemporaryDirectory() as folder, Sensor(Path(folder) / "aside.db") as sensor:
        found = {seed: story(sensor, seed, shorten=shorten) for seed in seeds}
    return {seed: wrong for seed, wrong in found.items() if wrong is not None}


class Noted:
    """What was tried, one portion a line.

    Args:
        path: the file.
        anew: whether to forget it.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        self._path = path
        self.tried: set[int] = set()
        self.failed: dict[int, str] = {}
        if anew:
            path.unlink(missing_ok=True)
        for line in path.read_text().splitlines() if path.exists() else ():
            seeds, failed = json.loads(line)
            self._know(seeds, {int(seed): wrong for seed, wrong in failed.items()})

    def _know(self, seeds: Sequence[int], failed: dict[int, str]) -> None:
        self.tried |= set(seeds)
        self.failed |= failed

    def add(self, seeds: Sequence[int], failed: dict[int, str]) -> None:
        """A portion was tried."""
        self._know(seeds, failed)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as out:
            out.write(json.dumps([list(seeds), failed]) + "\n")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after the portions of that time")
    parser.add_argument("--note", type=Path, default=_ROOT / "build" / "histories.jsonl", help="what was tried")
    parser.add_argument("--as-they-are", action="store_true", help="do not look for shorter ones")
    parser.add_argument("--anew", action="store_true", help="forget what was tried")
    return parser.parse_args()


def main() -> int:
    """Try them."""
    asked = _asked()
    noted = Noted(asked.note, anew=asked.anew)
    seeds = [seed for seed in range(asked.first, asked.first + asked.count) if seed not in noted.tried]
    portions = [seeds[i : i + _PORTION] for i in range(0, len(seeds), _PORTION)]
    began = time.monotonic()
    # A process that has threads of Polars and delta-rs must not be forked.
    with multiprocessing.get_context("spawn").Pool(asked.jobs, maxtasksperchild=20) as pool:
        tried = functools.partial(_portion, shorten=not asked.as_they_are)
        for portion, found in zip(portions, pool.imap(tried, portions), strict=True):
            noted.add(portion, found)
            for one in found.values():
                sys.stdout.write(one + "\n")
                sys.stdout.flush()
            if time.monotonic() - began > asked.seconds:
                pool.terminate()
                break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    wanted = range(asked.first, asked.first + asked.count)
    failed = sorted(seed for seed in noted.failed if seed in wanted)
    sys.stdout.write(
        f"{len(noted.tried & set(wanted))} of {asked.count} histories from seed {asked.first} on, "
        f"{len(failed)} failed {failed}; this run {time.monotonic() - began:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
