"""``python -m edge_delta``."""

from __future__ import annotations

import sys

from edge_delta.cli import main

if __name__ == "__main__":
    sys.exit(main())
