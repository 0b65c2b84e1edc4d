"""The process of a command: finds it, runs it, and turns errors into exit codes.

stdout is for results, stderr for the log.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from edge_delta.cli.parser import chosen, command, parser_of
from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.machine import tune_malloc
from edge_delta.core.reach import not_permitted
from edge_delta.device import library_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_and_leave(jemalloc: Mapping[str, str]) -> NoReturn:
    """Run, and leave without tearing the interpreter down.

    Nothing is left to be done by then, and taking every module apart would be a tenth of what an idle run costs.
    """
    one_arena_each(jemalloc)
    library_output.capture()
    try:
        code = main()
    finally:
        library_output.end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def one_arena_each(jemalloc: Mapping[str, str]) -> None:
    """Give each allocator one arena.

    Allocators have an arena a thread, which keeps what was freed: with one arena each, a device needs some 70 MB less.
    Those of Polars and delta-rs (jemalloc both) are told by the environment, before they are imported, unless whoever
    starts this has set it; what was freed stays for a second, because faulting it in again costs more than it saves.
    The C library's is told before there is a second thread.
    """
    for name, value in jemalloc.items():
        os.environ.setdefault(name, value)
    tune_malloc()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    name, words = chosen(sys.argv[1:] if argv is None else argv)
    options = parser_of(name).parsed(words)
    if name != "run":
        gc.enable()
    try:
        return command(name).main(options)
    except EdgeDeltaError as error:
        print(f"edge-delta: {error}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        refused = not_permitted(error)
        print(f"edge-delta: {refused}", file=sys.stderr)
        return refused.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
