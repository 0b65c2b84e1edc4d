"""A plugin of pytest that puts another build of columns.c in the place of the installed one: see `make sanitize`."""

from __future__ import annotations

import os
from pathlib import Path

from edge_delta.source import columns

columns.LIBRARY = Path(os.environ["COLUMNS_LIBRARY"]).absolute()
assert columns.LIBRARY.exists(), columns.LIBRARY
