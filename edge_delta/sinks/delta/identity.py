"""Rows go on into the table that they were delivered to, and into no other one that has its place."""

from __future__ import annotations

from edge_delta.core.errors import TableReplaced


class Identity:
    """A table's id, kept for as long as the process runs (Delta protocol, "Change Metadata").

    Args:
        uri: the table's address.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._known: str | None = None

    def forget(self) -> None:
        """The table is made anew."""
        self._known = None

    def check(self, table_id: str) -> None:
        """See that it is the same table as before.

        Raises:
            TableReplaced: if it is another one.
        """
        if self._known not in (None, table_id):
            raise TableReplaced(
                f"table {self._uri} was replaced by another one while rows were delivered to it",
                "Put the old table back; or start again to deliver to this one from where its own log says, and "
                "compare with edge-delta verify",
            )
        self._known = table_id
