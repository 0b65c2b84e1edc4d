"""Errors of delta-rs that do not pass by themselves: what each means, and what cures it."""

from __future__ import annotations

import re

from edge_delta.core.errors import DecisionNeeded, DiskFailed, ProtocolUnsupported, SchemaMismatch, TableDamaged

_CATALOG = r"catalog-managed table|Max catalog version"
_VERSION = r"Unsupported minimum (?:reader|writer) version \d+"
_FEATURE = r"[Ff]eature '[^']+' is not supported|Unsupported (?:table |reader |writer )?features?[^.]*"
_CONSTRAINT = r"(\d+) rows? failed validation check"
_PLANNING = r"Error during planning: [^.\n]*|No field named [^.\n]*"
_TORN = (
    r"Kernel error: (?:Json error|Invalid Checkpoint|Arrow error: (?:Json|Parquet) error)|"
    r"No table metadata or protocol found|Corrupt footer|Invalid Parquet file"
)
_TORN_DATA = (
    r"Failed to fetch metadata for file \S*?(?P<name>[^/\s]+): "
    r"(?:Parquet error|.*(?:Requested range was invalid|InvalidRange))|"
    r"External error: Arrow error: Parquet argument error"
)
_READ_ONLY = r"Read-only file system|ReadOnlyFilesystem|os error 30\b"


def permanent(uri: str, message: str) -> DecisionNeeded | None:
    """What a person has to decide; None for what may pass by itself.

    Args:
        uri: the table's address.
        message: delta-rs's message, on one line. A refused row stands in it, so it is not passed on there.
    """
    if re.search(_CATALOG, message):
        return ProtocolUnsupported(
            f"table {uri} is managed by its catalog, which alone may commit to it",
            "Make an external table and set its address as table_path; rows wait in SQLite until then",
        )
    if found := re.search(_VERSION, message) or re.search(_FEATURE, message):
        return ProtocolUnsupported(
            f"table {uri} cannot be read: {found[0]}",
            "Drop that feature in Databricks with ALTER TABLE … DROP FEATURE, update edge-delta, or set another "
            "table_path; rows wait in SQLite until then",
        )
    if refused := _refused_by_a_condition(uri, message):
        return refused
    if re.search(_READ_ONLY, message):
        return DiskFailed(
            f"the file system of {uri} is read-only",
            "Look at dmesg, a disk with errors becomes read-only; mount it writable, then start again",
        )
    return _torn(uri, message)


def _torn(uri: str, message: str) -> TableDamaged | None:
    if torn := re.search(_TORN_DATA, message):
        return TableDamaged(
            f"a data file of table {uri} is torn: {torn['name'] or torn[0]}",
            "Restore the file or an earlier version of the table, or set another table_path",
        )
    if re.search(_TORN, message):
        return TableDamaged(
            f"a file in the log of table {uri} is torn or missing",
            "In a folder run edge-delta run, which heals what a power cut left; in a store restore the object's "
            "last version, or set another table_path",
        )
    return None


def _refused_by_a_condition(uri: str, message: str) -> SchemaMismatch | None:
    if found := re.search(_CONSTRAINT, message):
        return SchemaMismatch(
            f"{found[1]} rows break a CHECK, an invariant or NOT NULL of table {uri}",
            "Drop it with ALTER TABLE … DROP CONSTRAINT or ALTER COLUMN … DROP NOT NULL, or set another table_path",
        )
    if found := re.search(_PLANNING, message):
        return SchemaMismatch(
            f"a condition of table {uri} cannot be evaluated here: {found[0]}",
            "Drop it with ALTER TABLE … DROP CONSTRAINT, or set another table_path",
        )
    return None
