"""What is used of the connector to SQL warehouses, an extra that need not be installed."""

from databricks.sql import connect
from databricks.sql.exc import Error
from urllib3.exceptions import HTTPError

__all__ = ["Error", "HTTPError", "connect"]
