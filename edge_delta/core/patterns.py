"""Paths that stand for several files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_delta.core.reach import is_there

if TYPE_CHECKING:
    from pathlib import Path

JOKERS = re.compile(r"[*?\[]")
"""What a name has that stands for several."""


def is_pattern(path: Path) -> bool:
    """Whether a path stands for files that rotate, and not for one that is called so."""
    return JOKERS.search(path.name) is not None and not is_there(path)
