"""``make screens``: takes the pictures of docs/screens/ anew, from the running program in a terminal (tmux) or browser.

A terminal's picture is an SVG of its cells as they stood. Two things are others: the name of the temporary folder, and
the version, which is the one that comes next.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from edge_delta import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import hatch_version  # noqa: E402 - it is no module of the package

SCREENS = ROOT / "docs" / "screens"
EDGE_DELTA = f"{Path(sys.executable).parent.relative_to(ROOT)}/edge-delta"
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class Terminal:
    """A window of tmux, in a server of its own."""

    def __init__(self, command: str, *, width: int, height: int) -> None:
        self._socket = f"screens-{os.getpid()}"
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), f"{command}; sleep 600")

    def _tmux(self, *words: str) -> str:
        tmux = ("tmux", "-f", os.devnull, "-L", self._socket, *words)
        return subprocess.run(tmux, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def screen(self) -> str:
        """What stands there, with its colours."""
        return self._tmux("capture-pane", "-e", "-p").rstrip()

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """The first screen on which this is found.

        Raises:
            TimeoutError: if it does not come.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if re.search(pattern, screen := self.screen()):
                return screen
            time.sleep(0.1)
        raise TimeoutError(f"{pattern!r} is not on the screen:\n{self.screen()}")

    def close(self) -> None:
        """End it and what runs in it."""
        self._tmux("kill-server")


def picture(name: str, command: str, screen: str, width: int) -> None:
    """Write the screen as an SVG below the command that was typed."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {command}\n"), Text.from_ansi(screen), sep="", soft_wrap=True)
    drawn = console.export_svg(title=command, theme=DIMMED_MONOKAI, unique_id=name)
    SCREENS.mkdir(exist_ok=True)
    # The fonts that it names would be fetched from outside; the reader's own monospaced one does.
    (SCREENS / f"{name}.svg").write_text(_FONTS.sub("", drawn), encoding="utf-8")


@contextlib.contextmanager
def shown(command: str, *, width: int, height: int) -> Iterator[Terminal]:
    """The command in a terminal."""
    terminal = Terminal(command, width=width, height=height)
    try:
        yield terminal
    finally:
        terminal.close()


def demo(place: Path) -> None:
    """`edge-delta demo --s3`, to its end."""
    width = 150
    command = f"{EDGE_DELTA} demo --s3 --folder {place}/demo"
    with shown(command, width=width, height=80) as terminal:
        screen = terminal.wait_for("each reading once", 120)
    whole = screen.partition("each reading once.")
    picture("demo", "edge-delta demo --s3", (whole[0] + whole[1]).replace(f"{place}/", "/tmp/"), width)  # noqa: S108


def watch(place: Path) -> None:
    """`edge-delta status --watch`, with a backlog half delivered while a sensor writes."""
    width = 120
    database, state = place / "sensor.db", place / "state"
    with running("-m", "edge_delta.demo.sample", str(database), "--rows=1000000", "--rate=200") as sensor:
        _ = sensor.stdout and sensor.stdout.readline()
        job = ("run", "--sqlite", str(database), "--table-path", f"{place}/lake/readings", "--state-dir", str(state))
        with (
            running("-m", "edge_delta", *job, "--interval=2", "--max-batch-size=5000", "--node-id=device-0001"),
            shown(f"{EDGE_DELTA} status --watch --state-dir {state}", width=width, height=24) as terminal,
        ):
            screen = terminal.wait_for(r"\b[4-7]\d ?%")
    picture("status", "edge-delta status --watch", screen.replace(f"{place}/", "/var/lib/"), width)


def page(place: Path) -> None:
    """The status page in a browser, in the same situation."""
    database, port = place / "sensor.db", "19110"
    with running("-m", "edge_delta.demo.sample", str(database), "--rows=200000", "--rate=200") as sensor:
        _ = sensor.stdout and sensor.stdout.readline()
        job = ("run", "--sqlite", str(database), "--table-path", f"{place}/readings", "--state-dir", f"{place}/state")
        more = ("--interval=2", "--max-batch-size=2000", "--node-id=device-0001", f"--metrics-port={port}")
        with running("-m", "edge_delta", *job, *more):
            for _ in range(8):  # the page knows a backlog from the first time that somebody looks
                time.sleep(1)
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    shown_there = answer.read().decode()
    file = place / "page.html"
    coming = hatch_version.version().partition(".dev")[0]
    file.write_text(
        shown_there.replace(f"{place}/", "/var/lib/").replace(f"version {__version__}<", f"version {coming}<")
    )
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    how = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,440"]
    subprocess.run(
        [browser, *how, f"--screenshot={SCREENS / 'page.png'}", file.as_uri()], check=True, capture_output=True
    )


@contextlib.contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process of ours, until the context ends."""
    with subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def main() -> None:
    """Take the pictures that are named, or all."""
    pictures = {"demo": demo, "status": watch, "page": page}
    for name in sys.argv[1:] or pictures:
        with tempfile.TemporaryDirectory(prefix="edge-delta-") as place:
            pictures[name](Path(place))


if __name__ == "__main__":
    main()
