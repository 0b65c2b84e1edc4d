"""edge-delta with its imports done before the cycle, as in a process that runs all day: the work by itself."""

from __future__ import annotations

import gc
import importlib

from benchmarks.contenders.edge_delta import main

if __name__ == "__main__":
    gc.disable()
    # The command line first: it says how memory is to be given back, before the others are there.
    for name in (
        "edge_delta.cli.process",
        "edge_delta.sinks.delta.sink",
        "edge_delta.modes.schematized",
        "edge_delta.delivery.fitting",
    ):
        importlib.import_module(name)
    main()
