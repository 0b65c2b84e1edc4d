"""A plugin of pytest that puts another build of what is C in the place of the installed ones: see `make sanitize`."""

from __future__ import annotations

import os
from pathlib import Path

from edge_delta.modes.privacy import places
from edge_delta.source import columns

columns.LIBRARY = places.LIBRARY = Path(os.environ["COLUMNS_LIBRARY"]).absolute()
assert columns.LIBRARY.exists(), columns.LIBRARY
