"""What several commands begin with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from edge_delta.core import events
from edge_delta.core.errors import ConfigurationError, EdgeDeltaError
from edge_delta.device import library_output
from edge_delta.device.addressed import refuse_unreadable
from edge_delta.settings import network
from edge_delta.settings.load import load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from edge_delta.core.events import Log
    from edge_delta.settings.sections import Settings
    from edge_delta.topology.one_table import OneTable

T = TypeVar("T")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings with this command line, in place for whatever talks to the store."""
    settings = load(vars(options))
    network.put_in_place(settings)
    return settings


def each_of(options: argparse.Namespace, *, here: bool = True) -> list[OneTable]:
    """The tables that this command line is about, each with settings of its own; a single source has no label.

    Args:
        options: the command line.
        here: whether the databases have to be there.
    """
    from edge_delta.topology.sources import each  # noqa: PLC0415 - delta-rs, not before the settings are right

    settings = settings_of(options) if here else settings_of_reader(options)
    refuse_unreadable(settings.state_dir)
    return each(settings, vars(options), here=here)


def headed(one: OneTable, lines: Iterable[str]) -> Iterator[str]:
    """Lines about one of several sources, under its name; those of a single one as they are."""
    if one.label:
        yield f"{one.key}:"
    yield from (f"  {line}" if one.label else line for line in lines)


class Each:
    """Does something for each source, whatever becomes of the others.

    Attributes:
        code: the worst exit code.
    """

    def __init__(self) -> None:
        self.code = 0

    def __call__(self, ones: Iterable[OneTable], work: Callable[[OneTable], T]) -> Iterator[tuple[OneTable, T]]:
        """What came of it, for those with which it could be done.

        Raises:
            EdgeDeltaError: if it could not be done with the only one.
        """
        for one in ones:
            try:
                one.refuse_trouble()
                yield one, work(one)
            except EdgeDeltaError as error:
                if not one.label:
                    raise
                print(f"edge-delta: {one.key}: {error}", file=sys.stderr)
                self.code = max(self.code, error.exit_code)


def settings_of_reader(options: argparse.Namespace) -> Settings:
    """The settings of who looks at the tables and need not have the database."""
    settings = load({**vars(options), "database_not_needed": True})
    network.put_in_place(settings)
    return settings


def none_is_meant() -> ConfigurationError:
    """What a choice comes to where it takes no source that is known."""
    return ConfigurationError(
        "no source is meant by --sqlite, --table, --table-path and --source", "See edge-delta status"
    )


def log_of(options: argparse.Namespace) -> Log:
    """The log on stderr, of what libraries print, too."""
    log = events.configure(verbose=options.verbose)
    library_output.goes_to(log)
    return log


def listed(text: str | None) -> list[str]:
    """Names with commas between them."""
    return [name for name in (text or "").split(",") if name]
