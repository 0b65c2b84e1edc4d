-- 12  Rows by device: who sees which
--
-- fleet_access says which group of the account sees which device; edge_engineers see all. The filter stands in the catalog
-- and not in the table's log, so it changes nothing for devices, and it keeps nobody out who reads the bucket itself. Views
-- ask for the groups of who asks, not of who made them.
-- The fleet job, and who runs 04 and 09, must be in edge_engineers: a job that does not see rows takes them for missing and
-- writes them once more. Tables with a filter have no time travel and cannot be shared (13 shares a view instead).
-- To undo it: ALTER TABLE ... DROP ROW FILTER. Only printed when it is asked for: edge-delta sql 12.
-- Who: CREATE TABLE and CREATE FUNCTION on the schema; owner of the tables, or MANAGE on them.
-- Databricks Runtime 12.2 or a SQL warehouse, with Unity Catalog. Not tried on a workspace.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE TABLE IF NOT EXISTS fleet_access (node_id STRING, group_name STRING)
  USING DELTA COMMENT 'Which group sees which device; edit it by hand';

CREATE OR REPLACE FUNCTION sees_node(node STRING) RETURNS BOOLEAN
  COMMENT 'Whether who asks may see the rows of a device'
RETURN is_account_group_member('edge_engineers') OR EXISTS (
  SELECT 1 FROM fleet_access AS a WHERE a.node_id = node AND is_account_group_member(a.group_name)
);

ALTER TABLE readings_0_raw SET ROW FILTER sees_node ON (node_id);

ALTER TABLE readings_1_schematized SET ROW FILTER sees_node ON (node_id);

ALTER TABLE readings_2_sanitized SET ROW FILTER sees_node ON (node_id);

ALTER TABLE readings_3_aggregated SET ROW FILTER sees_node ON (node_id);

ALTER TABLE readings_4_emergency SET ROW FILTER sees_node ON (node_id);

ALTER TABLE readings_rejected SET ROW FILTER sees_node ON (node_id);

ALTER TABLE rollup_hourly SET ROW FILTER sees_node ON (node_id);

ALTER TABLE rollup_daily SET ROW FILTER sees_node ON (node_id);

GRANT MODIFY ON TABLE fleet_access TO `edge_engineers`;
