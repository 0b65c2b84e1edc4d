"""Who we are to a workspace: a service principal that signs in by OAuth, or a token that somebody made.

A service principal's token comes by the client credentials grant (RFC 6749, section 4.4) from ``/oidc/v1/token``, with
id and secret in the Authorization header (section 2.3.1); it is good for an hour.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from edge_delta.core.errors import AccessRefused, ConfigurationError
from edge_delta.sinks.unity.http import ask, unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_delta.settings.catalog import UnityCatalogSettings

CLIENT, SECRET, TOKEN = "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_TOKEN"
_EARLY = 300.0
_SHARE = 4


def early(lifetime: float) -> float:
    """How long before its end something is renewed, seconds: time for what was begun with it."""
    return min(_EARLY, lifetime / _SHARE)


class Token:
    """A token that is renewed before it ends.

    Args:
        workspace: its address.
        settings: who signs in, and where.
        environment: has the secret, or a token.
        seconds: how long a request may take.

    Raises:
        ConfigurationError: if there is nothing to sign in with.
    """

    def __init__(
        self, workspace: str, settings: UnityCatalogSettings, environment: Mapping[str, str], seconds: float
    ) -> None:
        self._url = settings.oauth_url or f"{workspace}/oidc/v1/token"
        self._scope = settings.scope
        self._seconds = seconds
        self._client = settings.client_id or environment.get(CLIENT) or ""
        self._secret = environment.get(SECRET) or ""
        self._given = environment.get(TOKEN) or ""
        if self.signs_in is False and not self._given:
            raise ConfigurationError(
                "there is nothing to sign in to Unity Catalog with"
                + (f": {SECRET} is not set" if self._client else f": {CLIENT} is not set" if self._secret else ""),
                f"Set {CLIENT} and {SECRET}, those of a service principal, or {TOKEN}, in the environment",
            )
        self._text, self._until = "", 0.0

    @property
    def signs_in(self) -> bool:
        """Whether new ones can be had."""
        return bool(self._client and self._secret)

    @property
    def principal(self) -> str:
        """Whom rights have to be granted to."""
        return self._client if self.signs_in else f"the principal of {TOKEN}"

    def text(self) -> str:
        """A token that is good now.

        Raises:
            AccessRefused: if the secret is not, or no longer, good.
            StorageUnavailable: if there is no answer.
        """
        if not self.signs_in:
            return self._given
        if time.monotonic() >= self._until:
            self._sign_in()
        return self._text

    def refused(self) -> bool:
        """It was refused: drop it; returns whether a new one can be had."""
        self._until = 0.0
        return self.signs_in

    def _sign_in(self) -> None:
        pair = f"{quote(self._client, safe='')}:{quote(self._secret, safe='')}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode({"grant_type": "client_credentials", "scope": self._scope}).encode()
        answer = ask(self._url, headers, body, self._seconds)
        text, lifetime = answer.content.get("access_token"), answer.content.get("expires_in")
        if not answer.good:
            raise AccessRefused(
                f"{self._url} does not let service principal {self._client} in: {answer.code}, {answer.message}",
                f"Check {CLIENT} and {SECRET}: the secret may have ended or been deleted, then make a new one",
            )
        if not isinstance(text, str) or not isinstance(lifetime, int | float):
            raise unreachable(self._url, "its answer has no token")
        self._text, self._until = text, time.monotonic() + lifetime - early(lifetime)
