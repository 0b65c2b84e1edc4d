"""The fleet job as a process, so that it can be killed: ``python -m tests.spark.job FOLDER MODES DEVICES INTO [S3]``.

It says ``ready`` when Spark is up, before each step ``step`` and what it is, and ``done`` when the round is over, with
the rows that it wrote.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.spark.conftest import reach_s3, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.gather.state import State
    from edge_delta.gather.takings import Taking

JOB = Path(__file__).parents[2] / "deploy" / "databricks" / "fleet_job.py"
_spec = importlib.util.spec_from_file_location("fleet_job", JOB)
assert _spec is not None
assert _spec.loader is not None
fleet_job: Any = importlib.util.module_from_spec(_spec)
sys.modules["fleet_job"] = fleet_job  # dataclasses ask for it
_spec.loader.exec_module(fleet_job)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class Telling(fleet_job.SparkFleet):  # type: ignore[misc]
    """Says what it is about to do, so that it can be told what a kill came into."""

    def _step(self, what: str) -> None:
        _say(f"step {what} ({self._shape.suffix.lstrip('_0123456789')})")

    def state(self) -> State:
        self._step("asks what is taken")
        found: State = super().state()
        self._step("asks the devices")
        return found

    def commit(self, prepared: list[Taking], state: State) -> int:
        self._step("writes rows")
        rows: int = super().commit(prepared, state)
        self._step("asks the devices")
        return rows

    def _create(self) -> None:
        self._step("makes the table")
        super()._create()
        self._step("writes rows")

    def _written(self, noted: str) -> int:
        self._step("has committed")
        rows: int = super()._written(noted)
        return rows


def main(words: Sequence[str]) -> None:
    """One round."""
    folder, modes, devices, into, *url = words
    fleet_job.SparkFleet = Telling
    lag = fleet_job.lag

    def telling(*arguments: Any) -> None:
        _say("step writes how far each device is")
        lag(*arguments)

    fleet_job.lag = telling
    with session(Path(folder)) as spark:
        if url:
            reach_s3(spark, url[0], devices.split("/")[2])
        _say("ready")
        found = fleet_job.gather(spark, devices, into, modes.split(","))
        for outcome in found:
            for about in outcome.devices.values():
                if about.state in ("quarantined", "unreachable"):
                    _say(f"told {outcome.mode} of {about.device}: {about.state}, {'; '.join(about.told)}")
        _say(f"done {sum(outcome.rows for outcome in found)}")


if __name__ == "__main__":
    main(sys.argv[1:])
