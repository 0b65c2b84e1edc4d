"""Tables that Databricks and Spark can write and delta-rs cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import ProtocolUnsupported

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LATER = "and a day later ALTER TABLE … DROP FEATURE checkpointProtection TRUNCATE HISTORY"
_FOR_EVER = "that feature cannot be dropped: keep the table for reading, and set another table_path"
_GENERATED = "delta.generationExpression"
_NOT_WRITABLE = {
    "clustering": _FOR_EVER,
    "allowColumnDefaults": _FOR_EVER,
    "identityColumns": _FOR_EVER,
    "rowTracking": "ALTER TABLE … DROP FEATURE rowTracking, then ALTER TABLE … DROP FEATURE domainMetadata",
    "domainMetadata": "ALTER TABLE … DROP FEATURE domainMetadata",
    "inCommitTimestamp": "ALTER TABLE … DROP FEATURE inCommitTimestamp",
    "typeWidening": f"ALTER TABLE … DROP FEATURE typeWidening, {_LATER}",
    "typeWidening-preview": f"ALTER TABLE … DROP FEATURE `typeWidening-preview`, {_LATER}",
    "columnMapping": f"ALTER TABLE … DROP FEATURE columnMapping, {_LATER}",
    "checkpointProtection": "ALTER TABLE … DROP FEATURE checkpointProtection TRUNCATE HISTORY, a day after the "
    "DROP FEATURE that brought it",
}
"""What cures each feature, tried with Spark (tests/spark/test_upkeep.py); the first that a table has is told."""


def refuse_what_cannot_be_written(handle: DeltaTable, uri: str) -> None:
    """Look at a table's features.

    Args:
        handle: the table.
        uri: its address.

    Raises:
        ProtocolUnsupported: if it has one that only others can write, with the cure.
    """
    features = handle.protocol().writer_features or []
    stuck = [name for name in _NOT_WRITABLE if name in features]
    if stuck:
        cure = _NOT_WRITABLE[stuck[0]]
        raise ProtocolUnsupported(
            f"table {uri} was given the feature {', '.join(stuck)}, which only Databricks and Spark can write",
            (cure[0].upper() + cure[1:] if cure is _FOR_EVER else f"In Databricks run: {cure}")
            + "; rows wait in SQLite until then",
        )
    # delta-rs 1.6 neither computes nor checks them, and would leave them NULL in silence.
    generated = [field.name for field in handle.schema().fields if _GENERATED in field.metadata]
    if generated:
        raise ProtocolUnsupported(
            f"table {uri} computes {', '.join(generated)} from other columns, which only Databricks and Spark can do",
            f"In Databricks run: ALTER TABLE … DROP COLUMN {generated[0]}, and compute it in a view; or set another "
            "table_path; rows wait in SQLite until then",
        )
