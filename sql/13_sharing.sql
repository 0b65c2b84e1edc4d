-- 13  Delta Sharing
--
-- Readings of chosen devices for somebody outside of the account, read where they are, without a copy and without a key of
-- the bucket. A recipient sees the devices that fleet_access (12) gives to its property edge_group. ALTER SHARE ... ADD runs
-- once: to share more, add the statement. To end it: REVOKE SELECT ON SHARE edge_delta FROM RECIPIENT edge_partner.
-- CREATE RECIPIENT answers with a link for a credential file; for somebody with a Unity Catalog of their own, write USING ID
-- and the identifier of their metastore behind the name. Sharing has to be switched on in the metastore.
-- Only printed when it is asked for: edge-delta sql 13.
-- Who: CREATE SHARE and CREATE RECIPIENT on the metastore, USE SCHEMA and SELECT on what is shared.
-- Databricks Runtime 14.2 or a SQL warehouse, with Unity Catalog. Not tried on a workspace.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE TABLE IF NOT EXISTS fleet_access (node_id STRING, group_name STRING)
  USING DELTA COMMENT 'Which group sees which device; edit it by hand';

CREATE OR REPLACE VIEW shared_readings
  COMMENT 'Each reading once, of the devices of who it is shared with; answers recipients only' AS
SELECT r.* FROM current_readings AS r
WHERE EXISTS (
  SELECT 1 FROM fleet_access AS a WHERE a.node_id = r.node_id AND a.group_name = current_recipient('edge_group')
);

CREATE SHARE IF NOT EXISTS edge_delta COMMENT 'Readings of chosen devices';

ALTER SHARE edge_delta ADD VIEW shared_readings;

CREATE RECIPIENT IF NOT EXISTS edge_partner COMMENT 'Sees the devices of the group partner' PROPERTIES ('edge_group' = 'partner');

GRANT SELECT ON SHARE edge_delta TO RECIPIENT edge_partner;
