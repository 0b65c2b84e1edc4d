"""The command line's parser: flags come from the settings' own fields, and a slip is answered in one line."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from edge_delta import __version__
from edge_delta.core.errors import nearest
from edge_delta.settings.declaration import Field, fields
from edge_delta.settings.sections import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_CODES = (
    "exit codes: 0 done, 1 failed or rows left undelivered, 2 wrong settings or usage, 3 a person has to decide"
)
COMMANDS = (
    *("run", "maintain", "replay", "verify", "reset", "purge", "query", "check", "status", "health", "sql", "demo"),
    *("fleet", "gather", "init", "completion"),
)
"""Each is a module of its name in `edge_delta.cli.commands`."""

_DEVICE = ("sqlite", "sqlite_table_name", "table_path", "state_dir", "node_id")
"""The settings that say which device and tables a command is about."""
_USUAL_COLUMNS = 80
_OWN = ("once",)  # settings that are flags of one command only
_OF_THE_UPLOADER = (
    "--databricks-",
    "--enable-",
    "--sanitize-config",
    "--filter-config",
    "--aggregate-config",
    "--debug",
)


class Command(Protocol):
    """What a command's module has."""

    HELP: str

    @staticmethod
    def arguments(parser: Parser) -> None:
        """Add the command's flags."""

    @staticmethod
    def main(options: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


class _Help(argparse.HelpFormatter):
    """Help as wide as the terminal.

    A parser makes one for the first flag already, and by itself it would ask `shutil`, which loads three compressors.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(1).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with the next step."""

    def __init__(self, **said: Any) -> None:
        super().__init__(**said, formatter_class=_Help)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with exit code 2."""
        end = "" if message.endswith("?") else "."
        print(f"{self.prog}: {message}{end} Usage: {self.prog} [flags]; {self.prog} --help lists them", file=sys.stderr)
        raise SystemExit(2)

    def parsed(self, words: Sequence[str]) -> argparse.Namespace:
        """The words as options; one that is no flag is answered with the nearest that is."""
        options, left = self.parse_known_args(words)
        if left:
            self.error(self._unknown(left[0].partition("=")[0]))
        return options

    def _unknown(self, word: str) -> str:
        if word in COMMANDS:
            return f"the command goes first, as in edge-delta {word} --config FILE"
        if not word.startswith("-"):
            return f"unexpected argument {word!r}"
        if word.startswith(_OF_THE_UPLOADER):
            return f"{word} is a flag of the original uploader; docs/from-the-uploader.md says what replaces it"
        return f"there is no flag {word}" + _nearest(word, self._option_string_actions)

    def add_device(self) -> None:
        """Add the flags that say which device and tables it is about."""
        add = self.add_argument_group("device and tables").add_argument
        add("--config", "-c", metavar="FILE", help="the TOML file (default: config.toml if it exists)")
        for field in fields(Settings):
            if field.name in _DEVICE:
                _add(add, field)
        add("--all-tables", action="store_true", help="every table of the file that can be read in order")
        add("--source", action="append", metavar="NAME", help="of several sources only this one; also again and again")

    def add_settings(self) -> None:
        """Add the flags of all settings that have one."""
        self.add_device()
        add = self.add_argument_group("settings").add_argument
        for field in fields(Settings):
            if field.flags and field.name not in (*_DEVICE, *_OWN):
                _add(add, field)
        add("--verbose", "-v", action="store_true", help="log debug events: statements, batches, retries, sizes")

    def add_json(self, what: str) -> None:
        """Add the flag for programs that want the answer."""
        self.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def _add(add: object, field: Field) -> None:
    text = field.description
    if "default:" not in text and field.default is not None:
        value = field.default
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        text += f" (default: {shown.removesuffix('.0')})"
    text = text.replace("; default:", " (default:", 1) + (")" if "; default:" in text else "")
    more = {"action": "append"} if field.name == "sqlite_table_name" else {}
    if more:
        text += "; again and again for several"
    add(*field.flags, dest=field.name, metavar=field.metavar, help=text, **more)  # type: ignore[operator]


def _nearest(word: str, words: Iterable[str]) -> str:
    close = nearest(word, words)
    return f", did you mean {close}?" if close else ""


def command(name: str) -> Command:
    """The module of a command."""
    return import_module(f"edge_delta.cli.commands.{name}")  # type: ignore[return-value]


def sentence(text: str) -> str:
    """A command's help as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def parser_of(name: str) -> Parser:
    """The parser of one command: a start need not import the others."""
    parser = Parser(prog=f"edge-delta {name}", description=sentence(command(name).HELP), epilog=EXIT_CODES)
    command(name).arguments(parser)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """The parser of all commands, for the help, the documents and shell completion."""
    parser = Parser(
        prog="edge-delta",
        description="SQLite on the edge to Delta Lake, exactly once. Without a command: run.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"edge-delta {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name in COMMANDS:
        module = command(name)
        module.arguments(
            commands.add_parser(name, help=module.HELP, description=sentence(module.HELP), epilog=EXIT_CODES)
        )
    return parser


def chosen(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that is meant, and its words. Without one it is ``run``, or ``query`` where there is SQL to run."""
    first = words[0] if words else ""
    if first in COMMANDS:
        return first, list(words[1:])
    if first in ("-h", "--help", "--version"):
        whole_parser().parse_args(list(words))
    if first and not first.startswith("-"):
        Parser(prog="edge-delta").error(f"there is no command {first!r}" + _nearest(first, COMMANDS))
    asks = any(word.partition("=")[0] == "--run-query" for word in words)
    return ("query" if asks else "run"), list(words)
