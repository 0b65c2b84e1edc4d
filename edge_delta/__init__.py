"""edge-delta: rows from a local SQLite file to Delta Lake, exactly once."""

from __future__ import annotations

try:
    from edge_delta._version import VERSION as _BUILT  # written by hatch_build.py, from the tags of the repository
except ImportError:  # a folder of sources that nobody installed
    _BUILT = "0+unknown"

__version__: str = _BUILT
