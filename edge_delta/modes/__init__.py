"""The processing modes: each a pure function of a lazy frame, in a module of its own.

A mode's module is imported when its first batch is processed, because Polars costs more to import than an idle run
may take.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from edge_delta.modes.traits import TRAITS

if TYPE_CHECKING:
    from edge_delta.core.ports import Mode
    from edge_delta.settings.sections import Settings

SUFFIXES = {name: traits.suffix for name, traits in TRAITS.items()}
"""Each mode's table stands beside the others under ``table_path`` plus this."""

REJECTED_SUFFIX = "_rejected"
SUPERSEDED_SUFFIX = "_superseded"
FILES_SUFFIX = "_files"
"""What is known of the files of a family, see `edge_delta.source.family`."""


def load(name: str, settings: Settings) -> Mode:
    """The mode of that name, built from its part of the settings."""
    module = import_module(f"{__name__}.{name}")
    return module.build(settings)  # type: ignore[no-any-return]
