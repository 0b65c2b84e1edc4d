"""Names and small objects in an S3 store, over connections that stay open: a thousand logs take some requests each.

delta-rs's own client lists whole folders; this one lists what comes behind a name (``start-after``), and a request of
it costs a third of one by boto3.
"""

from __future__ import annotations

import os
import re
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from edge_delta.sinks import address as storage
from edge_delta.sinks.credentials import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OK, _NOT_FOUND = 200, 404
_NO_BUCKET = b"NoSuchBucket"
_TRIES = urllib3.Retry(3, backoff_factor=0.3, status_forcelist=(500, 503), raise_on_status=False)
_MOST_CONNECTIONS = 64


class S3Objects:
    """See `edge_delta.sinks.objects.Objects`.

    Args:
        uri: ``s3://bucket/path``.
        options: storage options for delta-rs.
    """

    def __init__(self, uri: str, options: Mapping[str, str]) -> None:
        self._uri = uri
        self._bucket, _, path = uri.removeprefix("s3://").partition("/")
        self._prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        session = session_of(uri, options)
        self._credentials = session.get_credentials()
        self._region = options.get("aws_region") or session.get_config_variable("region") or "us-east-1"
        self._address = self._address_of(options)
        seconds = float(options.get("timeout", "30s").removesuffix("s"))
        self._pool = _pool(self._address, seconds)

    def _address_of(self, options: Mapping[str, str]) -> str:
        """Where the bucket is. With the bucket in the host name, the endpoint has it already, as for delta-rs."""
        endpoint = options.get("aws_endpoint_url")
        if endpoint is not None:
            virtual = "aws_virtual_hosted_style_request" in options
            return endpoint.rstrip("/") + ("" if virtual else f"/{self._bucket}")
        if "." in self._bucket:  # the certificate of Amazon's names has one level
            return f"https://s3.{self._region}.amazonaws.com/{self._bucket}"
        return f"https://{self._bucket}.s3.{self._region}.amazonaws.com"

    def folders(self, path: str) -> list[str]:
        """The next parts of the names that begin so."""
        prefix = f"{self._prefix}{path.strip('/')}/" if path.strip("/") else self._prefix
        found = [
            name.removeprefix(prefix).rstrip("/")
            for page in self._pages({"prefix": prefix, "delimiter": "/"})
            for name in re.findall(r"<CommonPrefixes><Prefix>([^<]*)</Prefix>", page)
        ]
        return [unquote(name).removeprefix(prefix).rstrip("/") for name in found]

    def after(self, path: str, name: str) -> list[str]:
        """The names right under a path that sort behind one."""
        prefix = f"{self._prefix}{path.strip('/')}/"
        asked = {"prefix": prefix, "delimiter": "/"} | ({"start-after": prefix + name} if name else {})
        return [
            unquote(key).removeprefix(prefix)
            for page in self._pages(asked)
            for key in re.findall(r"<Key>([^<]*)</Key>", page)
        ]

    def read(self, path: str) -> bytes | None:
        """What an object holds; None if there is none."""
        with storage.errors(self._uri, "read"):
            status, body = self._get(f"/{quote(self._prefix + path, safe='/~')}")
            if status == _NOT_FOUND and _NO_BUCKET not in body:
                return None
            return self._checked(status, body)

    def _pages(self, asked: Mapping[str, str]) -> Iterator[str]:
        """A listing, a page of at most a thousand names after the other."""
        token = ""
        while True:
            words = {"list-type": "2", "encoding-type": "url", **asked}
            if token:
                words["continuation-token"] = token
            with storage.errors(self._uri, "list"):
                page = self._checked(*self._get("/?" + urlencode(sorted(words.items()), quote_via=quote))).decode()
            yield page
            more = re.search(r"<NextContinuationToken>([^<]*)</NextContinuationToken>", page)
            if more is None or "<IsTruncated>true</IsTruncated>" not in page:
                return
            token = more[1].replace("&amp;", "&")

    def _checked(self, status: int, body: bytes) -> bytes:
        if status != _OK:
            raise storage.unavailable(self._uri, OSError(f"{status}: {body[:2_000].decode(errors='replace')}"))
        return body

    def _get(self, path: str) -> tuple[int, bytes]:
        request = AWSRequest("GET", self._address + path)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        try:
            answer = self._pool.request("GET", request.url, headers=dict(request.headers.items()))
        except urllib3.exceptions.HTTPError as error:
            raise OSError(str(error)) from error
        return answer.status, answer.data


def _pool(address: str, seconds: float) -> urllib3.PoolManager:
    """Connections to a store, through the proxy that the environment names, if one stands before it."""
    how: Any = {"maxsize": _MOST_CONNECTIONS, "timeout": seconds, "retries": _TRIES, "block": True}
    how |= {"ca_certs": os.environ.get("SSL_CERT_FILE")}
    split = urlsplit(address)
    proxy = urllib.request.getproxies().get(split.scheme)
    if proxy and not urllib.request.proxy_bypass(split.hostname or ""):
        return urllib3.ProxyManager(proxy, **how)
    return urllib3.PoolManager(**how)
