"""Rows go on into the table that they were delivered to, and into no other one that has its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import TableReplaced

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MOST_LOOKED_AT = 200
"""Commits of others that are looked at for a RESTORE; each is a file to read."""


class Identity:
    """A table's id (Delta protocol, "Change Metadata"), and up to which version we know what was done to it.

    Args:
        uri: the table's address.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._known: str | None = None
        self._seen: int | None = None

    def forget(self) -> None:
        """The table is made anew."""
        self._known = self._seen = None

    def check(self, table: DeltaTable) -> None:
        """See that it is the same table as before, and that no rows were taken back since.

        Raises:
            TableReplaced: if not.
        """
        table_id = str(table.metadata().id)
        if self._known not in (None, table_id) and not _made_twice(table, self._known, table_id):
            raise TableReplaced(
                f"table {self._uri} was replaced by another one while rows were delivered to it",
                "Put the old table back; or start again to deliver to this one from where its own log says, and "
                "compare with edge-delta verify",
            )
        self._known = table_id
        if self._seen is not None and (version := restored(table, self._seen)) is not None:
            raise taken_back(self._uri, version)
        self._seen = table.version()

    def overtaken(self) -> None:
        """Others came first at a commit. Each of theirs would be a request, in the crowd that is there already.

        A RESTORE among them is noticed at the next start.
        """
        self._seen = None

    def committed(self, version: int) -> None:
        """After a commit of ours; delta-rs refuses one where somebody took rows back since the handle's snapshot."""
        self._seen = version


def _made_twice(table: DeltaTable, *ids: str | None) -> bool:
    """Whether two devices made the table at once.

    delta-rs commits the second one's CREATE TABLE as version 1, with an id of its own; it takes no row away.
    """
    made = [str(one.get("operationParameters")) for one in table.history() if one.get("operation") == "CREATE TABLE"]
    return all(any(str(table_id) in parameters for parameters in made) for table_id in ids)


def restored(table: DeltaTable, since: int, most: int = _MOST_LOOKED_AT) -> int | None:
    """The version by which somebody restored an earlier one, after a version; None if nobody did.

    RESTORE takes rows back, but not the cursors that say up to where they were delivered: ``txn`` actions stay.

    Args:
        table: the table.
        since: the version that is known.
        most: how many commits are looked at, the newest first; each is a request to a store.
    """
    count = min(table.version() - since, most)
    if count <= 0:
        return None
    done = [one["version"] for one in table.history(count) if one.get("operation") == "RESTORE"]
    return max((version for version in done if version > since), default=None)


def taken_back(uri: str, version: int) -> TableReplaced:
    """The error where rows were taken back."""
    return TableReplaced(
        f"an earlier version of table {uri} was restored (version {version}), which takes rows back that were "
        "delivered, and not the cursor that says so",
        "Run edge-delta verify to see which rows are missing, then edge-delta reset --to-id with the first of them; or "
        "restore the version before",
    )
