"""One table of the catalog: the credentials that it vends, kept until shortly before they end."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import AccessRefused, ConfigurationError, NotRegistered, StorageUnavailable
from edge_delta.sinks import address as storage
from edge_delta.sinks.access import Reached
from edge_delta.sinks.store_options import store_options
from edge_delta.sinks.unity.catalog import Catalog
from edge_delta.sinks.unity.http import unreachable
from edge_delta.sinks.unity.token import early

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.settings.sections import Settings, StorageSettings
    from edge_delta.sinks.unity.http import Answer

_TRY_AGAIN = 30.0
"""Seconds to the next try where nothing new can be had and the old is still good."""
_S3 = ("s3://", "s3a://")
_AZURE = ("abfss://", "abfs://", "az://")
_AWS_KEYS = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}


class CatalogTable:
    """How a table of the catalog is reached; see `edge_delta.sinks.access.Access`. Several threads may ask.

    Args:
        uri: its address, ``uc://catalog.schema.table``.
        catalog: vends the credentials.
        environment: the environment variables.
        place: where the object store is, as far as the catalog does not say it.
    """

    def __init__(self, uri: str, catalog: Catalog, environment: Mapping[str, str], place: StorageSettings) -> None:
        self.uri = uri
        self.catalog = catalog
        self._environment = environment
        self._place = place
        self._lock = Lock()
        self._about: tuple[str, str] | None = None
        self._reached: Reached | None = None
        self._until = self._again = 0.0

    def now(self) -> Reached:
        """See `edge_delta.sinks.access.Access.now`.

        Raises:
            EdgeDeltaError: see `Catalog`; if it does not answer, only once what it vended before has ended.
        """
        with self._lock:
            if self._reached is not None and time.monotonic() < self._again:
                return self._reached
            try:
                self._renew()
            except (AccessRefused, NotRegistered):
                self._drop()
                raise
            except StorageUnavailable:
                if self._reached is None or time.monotonic() >= self._until:
                    raise
                self._again = min(self._until, time.monotonic() + _TRY_AGAIN)
            assert self._reached is not None  # noqa: S101 - for mypy
            return self._reached

    def refused(self) -> bool:
        """See `edge_delta.sinks.access.Access.refused`."""
        with self._lock:
            had = self._reached is not None
            self._drop()
        return had

    def _drop(self) -> None:
        """What the catalog said is not believed any more: the table may be another one by now."""
        self._reached = self._about = None

    def _renew(self) -> None:
        with storage.errors(self.uri, "vend"):
            if self._about is None:
                self._about = self.catalog.table(self.uri)
            table_id, location = self._about
            answer = self.catalog.vended(self.uri, table_id)
            lifetime = self._lifetime(answer)
            self._reached = Reached(*self._options(location.rstrip("/"), answer.content))
        self._until = time.monotonic() + lifetime
        self._again = self._until - early(lifetime)

    def _lifetime(self, answer: Answer) -> float:
        """Seconds for which credentials are good, by the catalog's clock."""
        until = answer.content.get("expiration_time")
        if not isinstance(until, int | float):
            raise unreachable(self.catalog.host, f"what it vends for {self.uri} has no expiration_time")
        return max(0.0, until / 1000 - answer.at)

    def _options(self, location: str, vended: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """Where the files are, and with what they are reached."""
        keys = vended.get("aws_temp_credentials")
        if location.startswith(_S3) and isinstance(keys, dict) and _AWS_KEYS.keys() <= keys.keys():
            location = location.replace("s3a://", "s3://", 1)
            options = store_options(location, self._environment, self._place)
            options.pop("aws_force_credential_load", None)  # the SDK's chain is not what was vended
            if "aws_region" not in options:
                raise ConfigurationError(
                    f"nothing says in which region the bucket of {self.uri} is", "Set region in [storage] or AWS_REGION"
                )
            return location, options | {ours: str(keys[theirs]) for theirs, ours in _AWS_KEYS.items()}
        sas = vended.get("azure_user_delegation_sas")
        if location.startswith(_AZURE) and isinstance(sas, dict) and sas.get("sas_token"):
            options = store_options(location, self._environment, self._place)
            return location, options | {"azure_storage_sas_token": str(sas["sas_token"])}
        kinds = ", ".join(name for name, value in vended.items() if isinstance(value, dict)) or "no credentials"
        raise ConfigurationError(
            f"table {self.uri} is at {location}, for which Unity Catalog vends {kinds}, and only S3 and ADLS can be "
            "written",
            "Make an external table there",
        )


_tables: dict[tuple[str, Any, Any], CatalogTable] = {}
_catalogs: dict[tuple[Any, float], Catalog] = {}
_one_at_a_time = Lock()


def table_of(uri: str, environment: Mapping[str, str], settings: Settings) -> CatalogTable:
    """A table of the settings' catalog; in one process the same for all who ask, so that credentials are vended once.

    Raises:
        ConfigurationError: if the settings do not say enough.
    """
    own, place = settings.unity_catalog, settings.storage
    with _one_at_a_time:
        key = (own, place.request_timeout)
        if key not in _catalogs:
            _catalogs[key] = Catalog(own, environment, place.request_timeout)
        which = (uri, own, place)
        if which not in _tables:
            _tables[which] = CatalogTable(uri, _catalogs[key], environment, place)
        return _tables[which]
