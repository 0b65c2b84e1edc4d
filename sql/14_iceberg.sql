-- 14  Iceberg readers
--
-- Lets clients of Apache Iceberg (Snowflake, Trino, PyIceberg) read the fleet's tables through the catalog's endpoint for
-- Iceberg, without a copy: after each commit Databricks also writes Iceberg's metadata. For tables that Databricks alone
-- writes (docs/fleets.md) and for nothing else: column mapping and icebergCompatV2 lock every device and edge-delta gather
-- out, and cannot be taken back from the table. So the first statement fails where a table of this schema is an external
-- one, as devices' tables are. Deletion vectors are taken out and stay off.
-- Readers need EXTERNAL USE SCHEMA besides. Only printed when it is asked for: edge-delta sql 14.
-- Who: owner of the tables, or MODIFY on them.
-- Databricks Runtime 14.3 or a SQL warehouse, with Unity Catalog. Not tried on a workspace.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

SELECT assert_true(count(*) = 0, 'external tables: devices write them, and would be locked out') AS no_external
FROM information_schema.tables
WHERE table_schema = current_schema() AND table_type LIKE 'EXTERNAL%';

REORG TABLE readings_1_schematized APPLY (UPGRADE UNIFORM(ICEBERG_COMPAT_VERSION=2));

REORG TABLE readings_3_aggregated APPLY (UPGRADE UNIFORM(ICEBERG_COMPAT_VERSION=2));

REORG TABLE readings_4_emergency APPLY (UPGRADE UNIFORM(ICEBERG_COMPAT_VERSION=2));

REORG TABLE rollup_hourly APPLY (UPGRADE UNIFORM(ICEBERG_COMPAT_VERSION=2));

REORG TABLE rollup_daily APPLY (UPGRADE UNIFORM(ICEBERG_COMPAT_VERSION=2));
