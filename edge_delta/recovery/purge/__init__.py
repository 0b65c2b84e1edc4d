"""Deleting rows of the device's database that its tables have: only where somebody asks for it, and never on a guess.

A row goes only if all of this holds:

- it lies up to the settled position of every mode, as the tables' logs say at that moment, in a source that still is
  the one that they were delivered from;
- it is older than what is to be kept;
- a table has that very row, or the rejected one has. A row that came below the cursor and that no sweep has delivered
  yet is in none, and stays. Where no table has rows, but windows or alerts alone, the rows of its range are just as
  many, with the same ids, as those that went by (see `edge_delta.recovery.purge.proof`);
- it still is the row that was looked at when it is deleted (see `edge_delta.source.deletion`).
"""

from __future__ import annotations

from edge_delta.recovery.purge.purge import Purge, Wanted
from edge_delta.recovery.purge.report import Purged

__all__ = ["Purge", "Purged", "Wanted"]
