"""Who this device is to an S3 store, where Python has to sign a request itself; imported there, because botocore is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.exceptions import BotoCoreError, ProfileNotFound

from edge_delta.core.errors import ConfigurationError
from edge_delta.sinks import address as storage

if TYPE_CHECKING:
    from collections.abc import Mapping


def session_of(uri: str, options: Mapping[str, str] | None = None) -> Any:
    """A session of botocore that has credentials.

    Args:
        uri: the address that they are for.
        options: a table's storage options, which may name a key.

    Raises:
        ConfigurationError: if the environment names a profile that is not there.
        StorageUnavailable: if there are none, or none can be had now.
    """
    try:
        session = botocore.session.get_session()
        if options is not None and "aws_access_key_id" in options:
            keys = (options["aws_access_key_id"], options["aws_secret_access_key"])
            session.set_credentials(*keys, token=options.get("aws_session_token"))
        found = session.get_credentials()
    except ProfileNotFound as error:
        raise ConfigurationError(
            f"{error}, which AWS_PROFILE names".replace("()", ""),
            "Add it to ~/.aws/config of the user that this runs as, or unset AWS_PROFILE",
        ) from error
    except BotoCoreError as error:
        raise storage.no_credentials(uri, storage.plain(error)) from error
    if found is None:
        raise storage.no_credentials(uri)
    return session
