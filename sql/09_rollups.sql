-- 09  Roll-ups kept as tables
--
-- The views fleet_hourly and fleet_daily, kept for dashboards that ask often (gold). The first run makes them of all
-- history. Each later one reads and makes anew the last 31 days, in one commit a table, so that windows which late readings
-- or a reset changed are right too, and then the older hours of which windows arrived within 31 days, of a device that
-- was offline for long: those are taken out in one commit and put in by the next one. So run it once in 31 days at least.
-- A column that the views gained: drop the table, and run the file again.
-- No streaming table does this: it adds each row once and cannot take back a window that was replaced.
-- Who: CREATE TABLE on the schema, SELECT on the views. The tables are managed ones: the catalog or the schema needs a
-- managed storage location, which is not the devices' bucket.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE TABLE IF NOT EXISTS rollup_hourly USING DELTA
  COMMENT 'fleet_hourly as it was at the last run'
AS SELECT * FROM fleet_hourly;

INSERT INTO rollup_hourly REPLACE WHERE hour >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS)
SELECT * FROM recent_hourly WHERE hour >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS);

MERGE INTO rollup_hourly AS r
USING fleet_late_hours AS l
ON r.node_id = l.node_id AND r.hour = l.hour
WHEN MATCHED THEN DELETE;

INSERT INTO rollup_hourly
SELECT h.* FROM fleet_hourly AS h LEFT SEMI JOIN fleet_late_hours AS l ON h.node_id = l.node_id AND h.hour = l.hour;

CREATE TABLE IF NOT EXISTS rollup_daily USING DELTA
  COMMENT 'fleet_daily as it was at the last run'
AS SELECT * FROM fleet_daily;

INSERT INTO rollup_daily REPLACE WHERE day >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS)
SELECT * FROM recent_daily WHERE day >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS);

MERGE INTO rollup_daily AS r
USING (SELECT DISTINCT node_id, date_trunc('DAY', hour) AS day FROM fleet_late_hours) AS l
ON r.node_id = l.node_id AND r.day = l.day
WHEN MATCHED THEN DELETE;

INSERT INTO rollup_daily
SELECT d.* FROM fleet_daily AS d LEFT SEMI JOIN (
  SELECT DISTINCT node_id, date_trunc('DAY', hour) AS day FROM fleet_late_hours
) AS l ON d.node_id = l.node_id AND d.day = l.day;

GRANT SELECT ON TABLE rollup_hourly TO `edge_readers`;

GRANT SELECT ON TABLE rollup_daily TO `edge_readers`;
