"""The console script.

Importing makes many objects and no garbage, and looking for some is a thirtieth of an idle run. So nothing is
imported here that is not there anyway, before collections are off; a running engine turns them on again.
"""

from __future__ import annotations

import gc

JEMALLOC = {"_RJEM_MALLOC_CONF": "narenas:1,muzzy_decay_ms:0,dirty_decay_ms:1000"}
"""How the allocators of Polars and delta-rs are told to keep little; in the environment, before they are imported."""


def entry() -> None:
    """The console script: run, and leave without tearing the interpreter down."""
    gc.disable()
    from edge_delta.cli import process  # noqa: PLC0415 - not before collections are off

    process.run_and_leave(JEMALLOC)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    from edge_delta.cli import process  # noqa: PLC0415 - as above

    return process.main(argv)
