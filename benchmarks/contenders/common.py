"""What the contenders share: their arguments and their answer."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def contend(work: Callable[[str, str], int]) -> None:
    """Time the work and report it.

    Args:
        work: takes the database and the target folder, returns the number of rows. Its module has imported by then
            whatever it needs.
    """
    database, target = sys.argv[1:3]
    started = time.perf_counter()
    rows = work(database, target)
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - started}))
