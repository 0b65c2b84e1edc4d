"""edge-delta itself: schematized, once. What the log times is the cycle, with what it imports on the way."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command in this process, as the console script does, and take the figures from its log."""
    gc.disable()
    database, target = sys.argv[1:3]
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        from edge_delta.cli.main import JEMALLOC
        from edge_delta.cli.main import main as edge_delta
        from edge_delta.cli.process import one_arena_each

        one_arena_each(JEMALLOC)
        state = str(Path(target).with_name("state"))
        places = ["--sqlite", database, "--table-path", f"{target}/readings", "--state-dir", state]
        code = edge_delta([*places, "--node-id", "bench", "--processing-mode", "schematized", "--once"])
    events = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    cycles = [event for event in events if event["event"] == "cycle finished"]
    if code or not cycles:
        sys.stderr.write(log.getvalue())
        sys.exit(code or 1)
    figures = {"rows": sum(c["rows_written"] for c in cycles), "seconds": sum(c.get("seconds", 0) for c in cycles)}
    print(json.dumps(figures), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
