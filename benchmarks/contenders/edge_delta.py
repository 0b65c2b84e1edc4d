"""edge-delta itself: schematized, once. The work is the cycle as the log times it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path


def main() -> None:
    """Run the command in this process and take the figures from its log."""
    database, target = sys.argv[1:3]
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        from edge_delta.cli import main as edge_delta

        # The others have imported what they need before their work begins; here the cycle would pay for it.
        for name in ("edge_delta.sink", "edge_delta.modes.schematized", "edge_delta.fitting"):
            importlib.import_module(name)

        state = str(Path(target).with_name("state"))
        places = ["--sqlite", database, "--table-path", f"{target}/readings", "--state-dir", state]
        code = edge_delta([*places, "--node-id", "bench", "--processing-mode", "schematized", "--once"])
    events = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    cycles = [event for event in events if event["event"] == "cycle finished"]
    if code or not cycles:
        sys.stderr.write(log.getvalue())
        sys.exit(code or 1)
    figures = {"rows": sum(c["rows_written"] for c in cycles), "seconds": sum(c.get("seconds", 0) for c in cycles)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
