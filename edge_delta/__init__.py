"""edge-delta: rows from a local SQLite file to Delta Lake, exactly once."""

from __future__ import annotations

__version__ = "0.1.0"
