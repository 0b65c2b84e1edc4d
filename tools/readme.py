"""``python -m tools.readme`` follows README.md word for word, as somebody does who has only just cloned it.

Its code blocks are typed in their order, in a clone of what is committed, in an empty folder, with the local S3 server
that it names (on that server's usual ports). The examples' paths and keys are the only words that are replaced. It ends
with 1 when a block fails or when a query does not find the rows.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.support.blocks import Block, Shell, blocks
from tests.support.command import clean_environment
from tests.support.sqlite import Sensor

ROOT = Path(__file__).parent.parent
ROWS = 12_345
SERVER, LISTENS = "weed mini", "running and ready"
GOES_ON, DELIVERED = "--interval", "cycle finished"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="readme-") as name, ExitStack() as stack:
        place = Path(name)
        clone = place / "edge-delta"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        sensor = stack.enter_context(Sensor(place / "your.db"))
        sensor.create("sensor_readings")
        sensor.add(ROWS, "sensor_readings")
        shell = the_reader(place, clone)
        found = [count for block in blocks(clone / "README.md") if (count := follow(block, shell, stack)) is not None]
    say(f"README.md holds: its queries found {found} of {ROWS} rows, in a folder and on S3")
    sys.exit(0 if found == [ROWS, ROWS] else 1)


def say(text: str) -> None:
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


def the_reader(place: Path, clone: Path) -> Shell:
    """A shell in the clone, and what its reader has in the place of the examples."""
    (place / "notes").mkdir()
    environment = clean_environment()
    environment["PATH"] = f"{clone}/.venv/bin:{environment['PATH']}"
    placeholders = {
        "/path/to/your.db": f"{place}/your.db",
        "/data/sensor.db": f"{place}/your.db",
        "/path/to/lake": f"{place}/lake",
        "/var/lib/edge-delta": f"{clone}/state",
        "/tmp/s3": f"{place}/s3",
        "AWS_ACCESS_KEY_ID=…": "AWS_ACCESS_KEY_ID=me",
        "AWS_SECRET_ACCESS_KEY=…": "AWS_SECRET_ACCESS_KEY=secret",
    }
    return Shell(clone, place / "notes", environment, placeholders)


def follow(block: Block, shell: Shell, stack: ExitStack) -> int | None:
    """Do what the block says; the number of rows that its query found, if it has one."""
    if block.language == "mermaid" or not block.runs:
        return None
    say(f"-- {block}\n{block.text}")
    if SERVER in block.text:
        stack.enter_context(shell.type(block)).wait_for(LISTENS)
        return None
    with shell.type(block) as typed:
        if GOES_ON in block.text:
            typed.wait_for(DELIVERED)
            typed.interrupt()
        printed = typed.finish()
    if "count(*)" not in block.text:
        return None
    say(printed)
    return int(re.findall(r"^ *(\d+)$", printed, re.MULTILINE)[-1])


if __name__ == "__main__":
    main()
