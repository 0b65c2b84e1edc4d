"""Many histories, over all cores: ``python -m tests.histories.run --first 0 --count 10000 --seconds 600``.

Prints a line for each that fails, made as short as it gets, and at last how many were tried and what that cost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
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


def _portion(seeds: Sequence[int]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, Sensor(Path(folder) / "aside.db") as sensor:
        return [found for seed in seeds if (found := story(sensor, seed)) is not None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.count)
    portions = [seeds[i : i + _PORTION] for i in range(0, len(seeds), _PORTION)]
    began, tried, failed = time.monotonic(), 0, 0
    # A process that has threads of Polars and delta-rs must not be forked.
    with multiprocessing.get_context("spawn").Pool(asked.jobs, maxtasksperchild=20) as pool:
        for portion, found in zip(portions, pool.imap(_portion, portions), strict=True):
            tried += len(portion)
            failed += len(found)
            for one in found:
                sys.stdout.write(one + "\n")
                sys.stdout.flush()
            if time.monotonic() - began > asked.seconds:
                pool.terminate()
                break
    wall = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    sys.stdout.write(
        f"{tried} histories from seed {asked.first} on, {failed} failed, {wall:.0f} s, {cpu:.0f} s of CPU\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
