"""With what a table's store is reached: options that stay as they are, or credentials that a catalog vends for a time.

Where a table is opened, its access is asked for a location and options that are good now. As long as the very same
object comes back, what was opened with it may be used on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from edge_delta.core.errors import AccessRefused
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.settings.sections import Settings


class Reached(Struct, frozen=True):
    """How a table is reached now.

    Attributes:
        location: its address in the store, for delta-rs.
        options: storage options for delta-rs.
    """

    location: str
    options: dict[str, str]

    def __repr__(self) -> str:
        """Without the options, which may hold keys."""
        return f"Reached({self.location!r})"


class Access(Protocol):
    """Says how a table is reached."""

    def now(self) -> Reached:
        """What is good now.

        Raises:
            EdgeDeltaError: if nothing can be had.
        """

    def refused(self) -> bool:
        """The store refused what was given: drop it; returns whether another one can be had."""


class Fixed:
    """Options that stay: credentials come out of the environment, and delta-rs renews what can be renewed.

    Args:
        location: the table's address.
        options: storage options for delta-rs.
    """

    def __init__(self, location: str, options: Mapping[str, str]) -> None:
        self._reached = Reached(location, dict(options))

    def now(self) -> Reached:
        """See `Access.now`."""
        return self._reached

    def refused(self) -> bool:
        """See `Access.refused`."""
        return False


def access_of(uri: str, options: Mapping[str, str] | Access) -> Access:
    """An access, out of options or as it is."""
    return Fixed(uri, options) if isinstance(options, Mapping) else options


def access_to(uri: str, environment: Mapping[str, str], settings: Settings) -> Access:
    """How the settings say that a table is reached.

    Args:
        uri: the table's address.
        environment: the environment variables.
        settings: the settings.

    Raises:
        ConfigurationError: if they do not say enough.
    """
    if storage.in_catalog(uri):
        from edge_delta.sinks.unity.table import table_of  # noqa: PLC0415 - HTTP and TLS, for uc:// alone

        return table_of(uri, environment, settings)
    from edge_delta.sinks.store_options import store_options  # noqa: PLC0415 - it knows the settings, as few here do

    return Fixed(uri, store_options(uri, environment, settings.storage))


@contextlib.contextmanager
def errors(uri: str, access: Access, operation: str) -> Iterator[None]:
    """As `edge_delta.sinks.address.errors`; what the store refused is not used again.

    Args:
        uri: the table's address.
        access: how it is reached.
        operation: what is done, for the metrics.
    """
    try:
        with storage.errors(uri, operation):
            yield
    except AccessRefused as error:
        error.renewable = access.refused()
        raise
