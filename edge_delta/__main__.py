"""``python -m edge_delta``."""

from __future__ import annotations

from edge_delta.cli.main import entry

if __name__ == "__main__":
    entry()
