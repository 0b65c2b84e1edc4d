"""The fleet job as a process, so that it can be killed: ``python -m tests.spark.job FOLDER MODES DEVICES INTO``.

It says ``ready`` when Spark is up, and ``done`` when the round is over.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.spark.conftest import session
from tests.spark.test_fleet_job import fleet_job


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """One round."""
    folder, modes, devices, into = sys.argv[1:]
    with session(Path(folder)) as spark:
        _say("ready")
        fleet_job.gather(spark, devices, into, modes.split(","))
        _say("done")


if __name__ == "__main__":
    main()
