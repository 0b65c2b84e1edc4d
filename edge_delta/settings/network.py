"""One way to name region, certificate authorities and proxy for everything in this process that talks to the store.

delta-rs, the AWS SDK inside it, boto3 and Python's own HTTP client have an option of their own for each, or none; what
all of them read is the environment. So what the settings say is put there, before any of them is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from edge_delta.settings.sections import Settings, StorageSettings

_METADATA = "169.254.169.254,169.254.170.2"
"""Where a machine or a container in AWS asks for its role: no proxy may stand in between."""


def put_in_place(settings: Settings, environment: MutableMapping[str, str] | None = None) -> None:
    """Say in the environment what the settings say of the way to the store; it has the last word elsewhere.

    Args:
        settings: the settings.
        environment: the environment variables, by default the process's own.

    Raises:
        ConfigurationError: if the file with the authorities is not there.
    """
    environment = os.environ if environment is None else environment
    if "://" in settings.table_path and not settings.table_path.startswith("file://"):
        if settings.table_path.startswith("uc:"):
            # Keys are vended, so that nobody has to ask the machine for a role, as the SDK in delta-rs would.
            environment.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        environment.update(_region(settings.storage, environment))
        environment.update(_authorities(settings.storage, environment))
        environment.update(_proxy(settings.storage, environment))


def endpoint_of(place: StorageSettings, environment: Mapping[str, str]) -> str | None:
    """The S3-compatible server's address, None for Amazon's own."""
    return place.endpoint_url or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")


def _region(place: StorageSettings, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Without a region there, the SDK in delta-rs asks the machine's metadata service, whatever its options say.

    boto3 reads the second name alone.
    """
    chosen = place.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if chosen is None and endpoint_of(place, environment) is not None:
        chosen = "us-east-1"
    if chosen:
        yield from ((name, chosen) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))


def _authorities(place: StorageSettings, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Rustls and OpenSSL read the first name, boto3 the second alone."""
    names = ("SSL_CERT_FILE", "AWS_CA_BUNDLE")
    named = {name: environment[name] for name in names if environment.get(name)}
    if place.ca_bundle is not None:
        named = {"storage.ca_bundle": str(place.ca_bundle)}
    for source, path in named.items():
        if not os.access(path, os.R_OK):
            raise ConfigurationError(
                f"the certificate authorities cannot be read: {source} is {path}",
                "Name a PEM file that this user can read",
            )
    for path in list(named.values())[:1]:
        yield from ((name, named.get(name, path)) for name in names)


def _proxy(place: StorageSettings, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if place.proxy_url is not None:
        direct = environment.get("NO_PROXY") or environment.get("no_proxy")
        direct = f"{direct},{_METADATA}" if direct else _METADATA
        for name, value in {"HTTP_PROXY": place.proxy_url, "HTTPS_PROXY": place.proxy_url, "NO_PROXY": direct}.items():
            yield from ((name, value), (name.lower(), value))
