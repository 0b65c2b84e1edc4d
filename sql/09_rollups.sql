-- 09  Roll-ups kept as tables
--
-- The views fleet_hourly and fleet_daily, kept for dashboards that ask often. The first run makes them of all history; each
-- later one makes the last 31 days anew, in one commit a table, so that windows which late readings changed are right too.
-- What comes for windows before that, and a column that the views gained: drop the table, and run the file again.
-- Who: CREATE TABLE on the schema, SELECT on the views. The tables are managed ones: the catalog or the schema needs a
-- managed storage location, which is not the devices' bucket.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE TABLE IF NOT EXISTS rollup_hourly USING DELTA
  COMMENT 'fleet_hourly as it was at the last run'
AS SELECT * FROM fleet_hourly;

INSERT INTO rollup_hourly REPLACE WHERE hour >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS)
SELECT * FROM fleet_hourly WHERE hour >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS);

CREATE TABLE IF NOT EXISTS rollup_daily USING DELTA
  COMMENT 'fleet_daily as it was at the last run'
AS SELECT * FROM fleet_daily;

INSERT INTO rollup_daily REPLACE WHERE day >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS)
SELECT * FROM fleet_daily WHERE day >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS);

GRANT SELECT ON TABLE rollup_hourly TO `edge_readers`;

GRANT SELECT ON TABLE rollup_daily TO `edge_readers`;
