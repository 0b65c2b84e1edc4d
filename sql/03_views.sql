-- 03  Views over the fleet
--
-- All devices' readings as one; readings, windows and alerts, each once; the latest reading of each sensor, windows rolled
-- up to hours and days, groups of alerts and those that are open.
-- What was delivered again after a reset, or from a backup, is there in two generations: the current_ views show the newer.
-- They tell it by id, sensor and time, and a window by its start and its first reading. Rows that got other ids are not
-- told, nor windows that begin with another reading now. Filter by time: that is what files are passed over by.
-- Where table_path has {node_id}, each device has tables of its own: register them under names of their own in 02, and
-- put them into fleet_readings with UNION ALL BY NAME; the other views stay as they are.
-- Who: CREATE TABLE on the schema (views count as tables), SELECT on the tables.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE OR REPLACE VIEW fleet_readings
  COMMENT 'All readings of all devices; a reading is named by node_id, source_generation and reading_id' AS
SELECT * FROM readings_1_schematized;

CREATE OR REPLACE VIEW current_readings
  COMMENT 'Each reading once, as the newest generation has it' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (
    PARTITION BY node_id, reading_id, sensor_id, timestamp, CASE WHEN timestamp IS NULL THEN source_generation END
  ) AS newest
  FROM fleet_readings
)
WHERE source_generation = newest;

CREATE OR REPLACE VIEW current_windows
  COMMENT 'Each window once, as the newest generation has it' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, window_start, first_reading_id) AS newest
  FROM readings_3_aggregated
)
WHERE source_generation = newest;

CREATE OR REPLACE VIEW current_alerts
  COMMENT 'Each alert once, as the newest generation has it; severity over ends a group of them' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (
    PARTITION BY node_id, reading_id, alert_type, sensor_id, timestamp,
      CASE WHEN timestamp IS NULL THEN source_generation END
  ) AS newest
  FROM readings_4_emergency
)
WHERE source_generation = newest;

CREATE OR REPLACE VIEW fleet_latest
  COMMENT 'The latest reading of each sensor' AS
SELECT * EXCEPT (place) FROM (
  SELECT *, row_number() OVER (
    PARTITION BY node_id, sensor_id ORDER BY timestamp DESC NULLS LAST, source_generation DESC, reading_id DESC
  ) AS place
  FROM current_readings
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
FROM current_windows
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

-- A group ends with a row of the severity over; without a cooldown there is none, and all alerts of a rule are one group.
CREATE OR REPLACE VIEW alert_groups
  COMMENT 'The last alert of each group, how many alerts it has, since when it is open, and since when it is over' AS
WITH numbered AS (
  SELECT *, coalesce(sum(CASE WHEN severity = 'over' THEN 1 ELSE 0 END) OVER (
    PARTITION BY node_id, source_generation, sensor_id, alert_type ORDER BY reading_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  ), 0) AS part
  FROM current_alerts
), grouped AS (
  SELECT *,
    sum(CASE WHEN severity = 'over' THEN 0 ELSE 1 END) OVER (
      PARTITION BY node_id, source_generation, sensor_id, alert_type, part
    ) AS alerts,
    min(CASE WHEN severity <> 'over' THEN timestamp END) OVER (
      PARTITION BY node_id, source_generation, sensor_id, alert_type, part
    ) AS open_since,
    max(CASE WHEN severity = 'over' THEN timestamp END) OVER (
      PARTITION BY node_id, source_generation, sensor_id, alert_type, part
    ) AS over_since,
    row_number() OVER (
      PARTITION BY node_id, source_generation, sensor_id, alert_type, part
      ORDER BY CASE WHEN severity = 'over' THEN 1 ELSE 0 END, reading_id DESC, alert_id
    ) AS place
  FROM numbered
)
SELECT * EXCEPT (part, place) FROM grouped
WHERE place = 1;

CREATE OR REPLACE VIEW open_alerts
  COMMENT 'The last alert within a day of each sensor and rule that is not over' AS
SELECT * EXCEPT (place) FROM (
  SELECT *, row_number() OVER (
    PARTITION BY node_id, sensor_id, alert_type ORDER BY timestamp DESC, alert_id
  ) AS place
  FROM alert_groups
  WHERE timestamp > current_timestamp() - INTERVAL 1 DAY
)
WHERE place = 1 AND over_since IS NULL;
