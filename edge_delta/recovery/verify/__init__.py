"""Proof that what was read equals what was delivered: the source put through its modes again, beside the tables.

Nothing is held but one range of rows at a time. The table's version and its cursor are taken first, so a process that
goes on delivering does not disturb, and no lock is needed.
"""

from edge_delta.recovery.verify.base import Parts
from edge_delta.recovery.verify.report import Checked, Report
from edge_delta.recovery.verify.rows import RowsCheck
from edge_delta.recovery.verify.windows import WindowsCheck

__all__ = ["Checked", "Parts", "Report", "RowsCheck", "WindowsCheck"]
