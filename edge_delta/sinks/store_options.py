"""What the S3 and ADLS clients inside delta-rs are told, out of the settings and the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError
from edge_delta.settings.network import endpoint_of
from edge_delta.sinks.address import is_folder, refuse_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.settings.sections import StorageSettings


def store_options(uri: str, environment: Mapping[str, str], place: StorageSettings) -> dict[str, str]:
    """Options for delta-rs. It reads credentials from the environment itself; none are copied into the options.

    Args:
        uri: the table's address.
        environment: the environment variables.
        place: where the object store is.

    Raises:
        ConfigurationError: if the environment turns the conditional put off, or has no address of a store.
    """
    if is_folder(uri):
        return {}
    refuse_catalog(uri, "this takes an address in a store", "Name the tables' own address in the store instead")
    found = {"timeout": f"{place.request_timeout:g}s", "connect_timeout": f"{place.connect_timeout:g}s"}
    if not uri.startswith("s3://"):
        return found | ({"azure_storage_endpoint": place.endpoint_url} if place.endpoint_url else {})
    if environment.get("AWS_S3_ALLOW_UNSAFE_RENAME"):
        raise ConfigurationError(
            "AWS_S3_ALLOW_UNSAFE_RENAME is set, which lets two writers overwrite each other's commits", "Unset it"
        )
    endpoint = endpoint_of(place, environment)
    if endpoint:
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"the store's address {endpoint!r} does not begin with http:// or https://", "Correct AWS_ENDPOINT_URL"
            )
        found["aws_endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            found["aws_allow_http"] = "true"
        # Without this, delta-rs leaves the SDK's credential chain aside as soon as there is an endpoint.
        found["aws_force_credential_load"] = "true"
    chosen = place.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if chosen or endpoint:
        found["aws_region"] = chosen or "us-east-1"
    if place.virtual_hosted_style:
        found["aws_virtual_hosted_style_request"] = "true"
    return found
