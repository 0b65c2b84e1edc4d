"""Every metric, declared once: what it counts, and by which labels it is told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_SOURCE = ("node_id", "source", "table")
"""The labels that come first with whatever is counted of one source, also where it is the only one."""
_OF_PROCESS = ("node_id",)


class Declared(NamedTuple):
    """One metric: what it counts, for people.

    Attributes:
        own: the labels that it has besides those of what it is about.
        about: the labels of what it is about: a source, or the process.
    """

    kind: str
    help: str
    own: tuple[str, ...] = ()
    about: tuple[str, ...] = OF_SOURCE

    @property
    def labels(self) -> tuple[str, ...]:
        """All of them, in their order."""
        return (*self.about, *self.own)


METRICS: Mapping[str, Declared] = {
    "edge_delta_rows_total": Declared(
        "counter",
        "Rows read, by outcome: written, rejected, or not selected by the mode",
        ("mode", "outcome"),
    ),
    "edge_delta_bytes_total": Declared(
        "counter",
        "Bytes of the rows written or rejected, in memory; delta-rs does not tell their size in Parquet",
        ("mode", "outcome"),
    ),
    "edge_delta_rejected_rows_total": Declared("counter", "Rows in the rejected table, by rule", ("mode", "rule")),
    "edge_delta_commits_total": Declared("counter", "Commits that carry rows", ("mode",)),
    "edge_delta_commit_seconds": Declared("histogram", "How long a commit took, upload included", ("mode",)),
    "edge_delta_last_commit_timestamp_seconds": Declared("gauge", "When the last batch was finished", ("mode",)),
    "edge_delta_rows_lost": Declared(
        "gauge", "Rows that were read, by this mode or another, and went before they came to its table", ("mode",)
    ),
    "edge_delta_rows_gone_total": Declared(
        "counter", "Rows that were deleted from the source before they were delivered", ("mode",)
    ),
    "edge_delta_rows_late_total": Declared(
        "counter", "Rows that came below the cursor, and were delivered by a sweep", ("mode",)
    ),
    "edge_delta_rows_not_swept_total": Declared(
        "counter", "Rows that came below the cursor, as far as they are known, and cannot be delivered", ("mode",)
    ),
    "edge_delta_sweeps_overrun_total": Declared(
        "counter", "Sweeps before which all rows had been overwritten, so that others may have gone unread", ("mode",)
    ),
    "edge_delta_rows_held": Declared(
        "gauge", "Rows that waited at the end of a round because they had not been there for long enough", ("mode",)
    ),
    "edge_delta_rows_updated_total": Declared(
        "counter",
        "Delivered rows that were seen to be updated: new states delivered, or ignored; see on_update",
        ("mode", "outcome"),
    ),
    "edge_delta_sweep_seconds": Declared("gauge", "How long the last look for rows below the cursors took"),
    "edge_delta_cycles_total": Declared("counter", "Cycles that finished"),
    "edge_delta_failures_total": Declared("counter", "Attempts that failed and are retried, by error", ("kind",)),
    "edge_delta_store_operations_total": Declared(
        "counter",
        "Operations on tables, by outcome; each takes several requests to the store, which delta-rs does not count",
        ("operation", "outcome"),
        _OF_PROCESS,
    ),
    "edge_delta_settings_changes_total": Declared("counter", "Settings that were changed while running"),
    "edge_delta_rows_waiting": Declared(
        "gauge", "Rows that are waiting, at most: the width of the id range after the cursor", ("mode",)
    ),
    "edge_delta_settled_id": Declared("gauge", "Rows of the source table up to this id may be deleted"),
    "edge_delta_lag_seconds": Declared("gauge", "Age of the oldest waiting row in seconds; 0 if no row waits"),
    "edge_delta_healthy": Declared(
        "gauge", "1 unless rows wait and nothing was delivered for longer than allowed, or every row is rejected"
    ),
    "edge_delta_rejected_in_a_row": Declared("gauge", "Rows that were rejected since the last one was kept", ("mode",)),
    "edge_delta_doubtful_times": Declared("gauge", "1 if times came from before 2000 or ahead of the clock", ("mode",)),
    "edge_delta_table_files": Declared(
        "gauge",
        "Files of a table at its last maintenance: live, kept for the retention, dead, log",
        ("mode", "state"),
    ),
    "edge_delta_table_bytes": Declared(
        "gauge", "Their bytes; in a store only those of live files are known", ("mode", "state")
    ),
    "edge_delta_heartbeat_timestamp_seconds": Declared(
        "gauge",
        "When the process said all this, by its clock; does not change any more once it is dead, whatever a file says",
        about=_OF_PROCESS,
    ),
    "edge_delta_progress_timestamp_seconds": Declared(
        "gauge",
        "When the engine last finished a batch, a cycle or a failed attempt, or waited for the next cycle",
        about=_OF_PROCESS,
    ),
    "edge_delta_looked_timestamp_seconds": Declared(
        "gauge",
        "When the state directory and the databases were last looked at: what waits, lag and health are of then",
        about=_OF_PROCESS,
    ),
    "edge_delta_done": Declared(
        "gauge", "1 in the last metrics of a process that was told to stop, or of a single run", about=_OF_PROCESS
    ),
    "edge_delta_resident_memory_bytes": Declared("gauge", "Memory of the process that is in RAM", about=_OF_PROCESS),
    "edge_delta_build_info": Declared("gauge", "1; the version is a label", ("version",), _OF_PROCESS),
}
