"""Looks after a table each time that it is told to, at a given moment; for races between processes."""

from __future__ import annotations

import io
import json
import sys
import time
from datetime import UTC, datetime

from edge_delta.core import events as telemetry
from edge_delta.core.errors import CompactorAtWork, EdgeDeltaError
from edge_delta.sinks.delta.upkeep import Keeper, Plan


def main() -> None:
    """One line in: the moment. One line out: what came of it."""
    uri, options = sys.argv[1], json.loads(sys.argv[2])
    log = telemetry.configure(stream=io.StringIO())
    keeper = Keeper(uri, options, Plan(), now=lambda: datetime.now(UTC), log=log)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        time.sleep(max(0.0, float(line) - time.time()))
        try:
            outcome = "ran" if keeper.run() is not None else "no table"
        except CompactorAtWork:
            outcome = "held"
        except EdgeDeltaError as error:
            outcome = type(error).__name__
        print(outcome, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
