-- 09  Roll-ups kept as tables
--
-- The views fleet_hourly and fleet_daily, computed once a day for dashboards that ask often. Each run makes the tables
-- anew, so that windows which late readings changed are right too; grants on them stay.
-- Who: CREATE TABLE on the schema, SELECT on the views. The tables are managed ones: the catalog or the schema needs a
-- managed storage location, which is not the devices' bucket.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE OR REPLACE TABLE rollup_hourly USING DELTA
  COMMENT 'fleet_hourly as it was at the last run'
AS SELECT * FROM fleet_hourly;

CREATE OR REPLACE TABLE rollup_daily USING DELTA
  COMMENT 'fleet_daily as it was at the last run'
AS SELECT * FROM fleet_daily;

GRANT SELECT ON TABLE rollup_hourly TO `edge_readers`;

GRANT SELECT ON TABLE rollup_daily TO `edge_readers`;
