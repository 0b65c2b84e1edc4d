"""What several commands begin with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_delta.core import events
from edge_delta.device import library_output
from edge_delta.settings import network
from edge_delta.settings.load import load

if TYPE_CHECKING:
    import argparse

    from edge_delta.core.events import Log
    from edge_delta.settings.sections import Settings


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings with this command line, in place for whatever talks to the store."""
    settings = load(vars(options))
    network.put_in_place(settings)
    return settings


def settings_of_reader(options: argparse.Namespace) -> Settings:
    """The settings of who looks at the tables and need not have the database."""
    settings = load({**vars(options), "sqlite": options.sqlite or os.devnull})
    network.put_in_place(settings)
    return settings


def log_of(options: argparse.Namespace) -> Log:
    """The log on stderr, of what libraries print, too."""
    log = events.configure(verbose=options.verbose)
    library_output.goes_to(log)
    return log


def listed(text: str | None) -> list[str]:
    """Names with commas between them."""
    return [name for name in (text or "").split(",") if name]
