"""Tables that are named in Unity Catalog (``uc://catalog.schema.table``), which vends the credentials for their store.

Written after Databricks' REST reference (``/api/2.1/unity-catalog``) and the OpenAPI document of the open-source Unity
Catalog, ``api/all.yaml``.
"""
