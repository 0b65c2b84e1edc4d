-- 01  Storage credential and external location
--
-- Lets Databricks read the bucket. The credential is read-only: devices write, Databricks reads (docs/databricks.md).
-- Who: a metastore admin, or who has CREATE STORAGE CREDENTIAL and CREATE EXTERNAL LOCATION. Once per bucket.
-- A storage credential cannot be made in SQL. Make it in Catalog Explorer, with the role of docs/databricks.md, under the
-- name edge_delta_readonly, with "Limit to read-only use" in its advanced options; then run this file.
-- As it stands it takes Databricks Runtime 17.3 (EXECUTE IMMEDIATE of a joined text); what edge-delta sql prints does not.
-- Parameters: :catalog, :schema, :base_path (what --table-path is, for example s3://my-bucket/readings)

-- The location is the folder that holds the tables.
EXECUTE IMMEDIATE 'CREATE EXTERNAL LOCATION IF NOT EXISTS edge_delta URL ''' || regexp_replace(:base_path, '/[^/]*$', '') || ''' WITH (STORAGE CREDENTIAL edge_delta_readonly) COMMENT ''Tables that edge-delta writes; read-only here''';

USE CATALOG IDENTIFIER(:catalog);

EXECUTE IMMEDIATE 'CREATE SCHEMA IF NOT EXISTS ' || :schema || ' COMMENT ''What edge devices deliver''';
