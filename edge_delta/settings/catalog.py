"""What can be set about Unity Catalog where table_path is a name in it."""

from typing import Annotated

from edge_delta.settings.declaration import Section, about


class UnityCatalogSettings(Section, frozen=True, kw_only=True):
    """Unity Catalog, where table_path is uc://catalog.schema.table. The secret is DATABRICKS_CLIENT_SECRET."""

    workspace: Annotated[
        str | None,
        about(
            "address of the workspace whose catalog vends credentials; default: DATABRICKS_HOST",
            example='"https://dbc-a1b2c3d4-e5f6.cloud.databricks.com"',
        ),
    ] = None
    client_id: Annotated[
        str | None,
        about(
            "application id of the service principal that signs in; default: DATABRICKS_CLIENT_ID",
            example='"01234567-89ab-cdef-0123-456789abcdef"',
        ),
    ] = None
    scope: Annotated[str, about("what its OAuth token is for", min_length=1)] = "all-apis"
    oauth_url: Annotated[
        str | None,
        about(
            "where it signs in; default: the workspace's /oidc/v1/token",
            example='"https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/oauth2/v2.0/token"',
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.oauth_url is not None and not self.oauth_url.startswith(
            ("https://", "http://127.0.0.1", "http://localhost")
        ):
            msg = f"oauth_url {self.oauth_url!r} does not begin with https://"
            raise ValueError(msg)
