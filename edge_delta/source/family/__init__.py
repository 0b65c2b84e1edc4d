"""Files that rotate, read as one table: rows are numbered through all files, in the order in which they were found.

Each file lies in the numbering as one or more *stretches*: a range of its own ids beside a range of the family's. A
stretch ends when another one begins; rows that come later into an older file are a stretch of their own at the end. So
ids only grow, whatever becomes of the files, and one cursor says for all of them what was delivered. Which stretches
there are is told by a table at the target (`edge_delta.topology.families`), never by the names of files alone.
"""

from __future__ import annotations

from edge_delta.source.family.folder import Folder, newest
from edge_delta.source.family.source import FamilySource
from edge_delta.source.family.stretches import Stretch, Stretches

__all__ = ["FamilySource", "Folder", "Stretch", "Stretches", "newest"]
