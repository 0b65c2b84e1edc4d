"""The code blocks of a document, and a shell that runs them one after the other, as a reader does."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+) *(?P<remark>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.MULTILINE
)
_NOT_RUN = "no-run"


@dataclass(frozen=True)
class Block:
    """One block. What stands behind the language is a remark that no reader sees, such as ``no-run: why``."""

    document: str
    line: int
    language: str
    remark: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def runs(self) -> bool:
        return not self.remark.startswith(_NOT_RUN)


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            document.name,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["remark"].strip(),
            textwrap.dedent(found["text"]),
        )
        for found in _BLOCK.finditer(text)
    ]


class Typed:
    """A block that was typed: a running process, and what it prints."""

    def __init__(self, block: Block, script: str, output: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._block, self._script, self._output = block, script, output
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_for(self, word: str, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while word not in self.printed:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self._block} did not print {word!r}:\n{self._script}\n{self.printed}")
            time.sleep(0.1)

    def interrupt(self) -> None:
        """As Ctrl-C does: all that the terminal runs is told."""
        os.killpg(self._process.pid, signal.SIGINT)

    def finish(self, seconds: float = 300) -> str:
        """Wait until it ends; what it printed."""
        code = self._process.wait(timeout=seconds)
        assert code == 0, f"{self._block} ended with {code}:\n{self._script}\n{self.printed}"
        return self.printed

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Shell:
    """Where blocks are typed; what one exports holds for the next ones.

    Args:
        folder: where it stands.
        notes: a folder of its own, for what it has to remember.
        environment: its variables at the beginning.
        placeholders: what a reader puts in the place of the document's examples.
    """

    def __init__(
        self, folder: Path, notes: Path, environment: Mapping[str, str], placeholders: Mapping[str, str]
    ) -> None:
        self._folder, self._notes, self._environment, self._placeholders = folder, notes, environment, placeholders
        self._exported = notes / "exported"
        self._exported.touch()

    def filled_in(self, text: str) -> str:
        for example, value in self._placeholders.items():
            text = text.replace(example, value)
        return text

    @contextlib.contextmanager
    def type(self, block: Block) -> Iterator[Typed]:
        """Type it and go on; what it started ends with the context."""
        text = self.filled_in(block.text)
        if block.language == "sql":
            text = f"edge-delta query {shlex.quote(text)}"
        script = f". {self._exported}\n{text}\nexport -p > {self._exported}"
        typed = Typed(block, script, self._notes / f"{block}.out", self._folder, self._environment)
        try:
            yield typed
        finally:
            typed.close()

    def run(self, block: Block) -> str:
        """Type it and wait until it ends; what it printed."""
        with self.type(block) as typed:
            return typed.finish()
