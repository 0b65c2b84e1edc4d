-- 05  Maintenance
--
-- Normally edge-delta does this itself (edge-delta maintain, or upkeep in the running process), and nothing here is needed.
-- On S3, Spark's and Databricks' commit is no conditional put: an OPTIMIZE beside a live edge writer can overwrite the
-- writer's commit. So, if Databricks is to do it:
--   1. stop every edge-delta that writes to the table (their rows wait in SQLite);
--   2. let the credential and the external location write for as long as it takes;
--   3. run this file; 4. make both read-only again; 5. start the devices.
-- Never switch on liquid clustering (CLUSTER BY), row tracking, in-commit timestamps, type widening, column defaults,
-- identity columns or catalog commits, and never ALTER TABLE ... SET MANAGED: edge-delta then stops with exit code 3 and
-- says which feature has to go.
-- VACUUM removes files that no version of the last seven days needs. No less: files of a slow upload are in no version yet.
-- Who: MODIFY on the tables.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

OPTIMIZE readings_0_raw;

OPTIMIZE readings_1_schematized ZORDER BY (sensor_id, `timestamp`);

OPTIMIZE readings_2_sanitized ZORDER BY (sensor_id, `timestamp`);

OPTIMIZE readings_3_aggregated;

OPTIMIZE readings_4_emergency;

OPTIMIZE readings_rejected;

VACUUM readings_0_raw RETAIN 168 HOURS;

VACUUM readings_1_schematized RETAIN 168 HOURS;

VACUUM readings_2_sanitized RETAIN 168 HOURS;

VACUUM readings_3_aggregated RETAIN 168 HOURS;

VACUUM readings_4_emergency RETAIN 168 HOURS;

VACUUM readings_rejected RETAIN 168 HOURS;
