-- 03  Views over the fleet
--
-- All devices' readings as one, the latest reading of each sensor, windows rolled up to hours and days, open alerts.
-- Where table_path has {node_id}, each device has tables of its own: register them under names of their own in 02, and
-- put them into fleet_readings with UNION ALL BY NAME; the other views stay as they are.
-- Who: CREATE TABLE on the schema (views count as tables), SELECT on the tables.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE OR REPLACE VIEW fleet_readings
  COMMENT 'All readings of all devices; a reading is named by node_id, source_generation and reading_id' AS
SELECT * FROM readings_1_schematized;

CREATE OR REPLACE VIEW fleet_latest
  COMMENT 'The latest reading of each sensor' AS
SELECT * EXCEPT (place) FROM (
  SELECT *, row_number() OVER (
    PARTITION BY node_id, sensor_id ORDER BY timestamp DESC NULLS LAST, source_generation DESC, reading_id DESC
  ) AS place
  FROM fleet_readings
)
WHERE place = 1;

-- A mean of means weighs windows by their readings; where some of those have no temperature, it is close and not exact.
CREATE OR REPLACE VIEW fleet_hourly
  COMMENT 'Windows rolled up to hours' AS
SELECT
  date_trunc('HOUR', window_start) AS hour,
  node_id,
  sensor_id,
  sum(record_count) AS record_count,
  sum(avg_temperature * record_count) / sum(CASE WHEN avg_temperature IS NOT NULL THEN record_count END) AS avg_temperature,
  min(min_temperature) AS min_temperature,
  max(max_temperature) AS max_temperature
FROM readings_3_aggregated
GROUP BY date_trunc('HOUR', window_start), node_id, sensor_id;

CREATE OR REPLACE VIEW fleet_daily
  COMMENT 'Hours rolled up to days of the session time zone' AS
SELECT
  date_trunc('DAY', hour) AS day,
  node_id,
  sensor_id,
  sum(record_count) AS record_count,
  sum(avg_temperature * record_count) / sum(CASE WHEN avg_temperature IS NOT NULL THEN record_count END) AS avg_temperature,
  min(min_temperature) AS min_temperature,
  max(max_temperature) AS max_temperature
FROM fleet_hourly
GROUP BY date_trunc('DAY', hour), node_id, sensor_id;

CREATE OR REPLACE VIEW open_alerts
  COMMENT 'The last alert of each sensor and rule within a day' AS
SELECT * EXCEPT (place) FROM (
  SELECT *, row_number() OVER (
    PARTITION BY node_id, sensor_id, alert_type ORDER BY timestamp DESC, alert_id
  ) AS place
  FROM readings_4_emergency
  WHERE timestamp > current_timestamp() - INTERVAL 1 DAY
)
WHERE place = 1;
