-- 03  Views over the fleet
--
-- All devices' readings as one; readings, windows and alerts, each once; the latest reading of each sensor, windows rolled
-- up to hours and days, groups of alerts and those that are open. delivered_readings has every delivery (bronze), the
-- current_ and fleet_ views each row once (silver), fleet_latest, fleet_hourly and fleet_daily are for dashboards (gold).
-- What a reset delivers again is there in two generations. The current_ views leave out what readings_superseded names:
-- rows that came again, also where they have other ids by now. A backup's rows are not delivered again, and what it took
-- back stays; so do the readings of a database that was made again. Filter by time: that is what files are passed over by.
-- Where table_path has {node_id}, each device has tables of its own. Bring them into one for each mode (docs/fleets.md)
-- and run this file on those. The recent_ views of readings have what arrived within 30 days, those of windows what begins
-- within 31 days, and they read no more than that: a view that sees each row once by itself cannot pass over old files.
-- Who: CREATE TABLE on the schema (views count as tables), SELECT on the tables.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE OR REPLACE VIEW delivered_readings
  COMMENT 'All that was delivered; a delivery is named by node_id, source_generation and reading_id' AS
SELECT * FROM readings_1_schematized;

-- What resets took the place of. Before the first reset there is no such table: leave its part of the union out.
CREATE OR REPLACE VIEW superseded
  COMMENT 'Rows behind after_id and up to upto_id of source_generation came again as by_generation' AS
SELECT node_id, mode, source_generation, after_id, upto_id, by_generation, other_ids FROM readings_superseded
UNION ALL
SELECT CAST(NULL AS STRING) AS node_id, 'none' AS mode, 0 AS source_generation, CAST(0 AS BIGINT) AS after_id,
  CAST(0 AS BIGINT) AS upto_id, 0 AS by_generation, false AS other_ids
WHERE 1 = 0;

CREATE OR REPLACE VIEW current_readings
  COMMENT 'Each reading once, as the newest delivery of it has it' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest FROM delivered_readings
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'schematized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW current_raw
  COMMENT 'Each row of the raw table once' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, source_rowid) AS newest FROM readings_0_raw
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'raw' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.source_rowid > s.after_id AND r.source_rowid <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW current_sanitized
  COMMENT 'Each row of the sanitized table once' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest FROM readings_2_sanitized
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'sanitized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW recent_readings
  COMMENT 'Each reading once of those that arrived within 30 days' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest FROM delivered_readings
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'schematized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW recent_raw
  COMMENT 'Each row of the raw table once of those that arrived within 30 days' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, source_rowid) AS newest FROM readings_0_raw
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'raw' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.source_rowid > s.after_id AND r.source_rowid <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW recent_sanitized
  COMMENT 'Each row of the sanitized table once of those that arrived within 30 days' AS
SELECT * EXCEPT (newest) FROM (
  SELECT *, max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest FROM readings_2_sanitized
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'sanitized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW fleet_readings
  COMMENT 'All readings of all devices, each once' AS
SELECT * FROM current_readings;

CREATE OR REPLACE VIEW current_windows
  COMMENT 'Each window once: add up its rows where a backup took readings of it back' AS
SELECT * EXCEPT (first_of_all, last_of_all) FROM (
  SELECT *,
    min(first_reading_id) OVER (PARTITION BY node_id, source_generation, window_start) AS first_of_all,
    max(last_reading_id) OVER (PARTITION BY node_id, source_generation, window_start) AS last_of_all
  FROM readings_3_aggregated
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'aggregated' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.first_of_all > s.after_id AND r.last_of_all <= s.upto_id
);

CREATE OR REPLACE VIEW recent_windows
  COMMENT 'Each window once of those that begin within 31 days' AS
SELECT * EXCEPT (first_of_all, last_of_all) FROM (
  SELECT *,
    min(first_reading_id) OVER (PARTITION BY node_id, source_generation, window_start) AS first_of_all,
    max(last_reading_id) OVER (PARTITION BY node_id, source_generation, window_start) AS last_of_all
  FROM readings_3_aggregated
  WHERE window_start >= date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS)
) AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'aggregated' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.first_of_all > s.after_id AND r.last_of_all <= s.upto_id
);

CREATE OR REPLACE VIEW current_alerts
  COMMENT 'Each alert once; severity over ends a group of them' AS
SELECT * FROM readings_4_emergency AS r
WHERE NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'emergency' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id
);

CREATE OR REPLACE VIEW fleet_latest
  COMMENT 'The latest reading of each sensor that delivered one within 30 days' AS
SELECT * EXCEPT (place) FROM (
  SELECT *, row_number() OVER (
    PARTITION BY node_id, sensor_id ORDER BY timestamp DESC NULLS LAST, source_generation DESC, reading_id DESC
  ) AS place
  FROM recent_readings
)
WHERE place = 1;

-- A mean of means weighs windows by their readings; where some of those have no temperature, it is close and not exact. With
-- sum and count among the aggregations of the column it is exact: edge-delta sql prints the views so.
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

CREATE OR REPLACE VIEW recent_hourly
  COMMENT 'fleet_hourly of the last 31 days' AS
SELECT
  date_trunc('HOUR', window_start) AS hour,
  node_id,
  sensor_id,
  sum(record_count) AS record_count,
  sum(avg_temperature * record_count) / sum(CASE WHEN avg_temperature IS NOT NULL THEN record_count END) AS avg_temperature,
  min(min_temperature) AS min_temperature,
  max(max_temperature) AS max_temperature
FROM recent_windows
GROUP BY date_trunc('HOUR', window_start), node_id, sensor_id;

CREATE OR REPLACE VIEW recent_daily
  COMMENT 'fleet_daily of the last 31 days' AS
SELECT
  date_trunc('DAY', hour) AS day,
  node_id,
  sensor_id,
  sum(record_count) AS record_count,
  sum(avg_temperature * record_count) / sum(CASE WHEN avg_temperature IS NOT NULL THEN record_count END) AS avg_temperature,
  min(min_temperature) AS min_temperature,
  max(max_temperature) AS max_temperature
FROM recent_hourly
GROUP BY date_trunc('DAY', hour), node_id, sensor_id;

CREATE OR REPLACE VIEW fleet_late_hours
  COMMENT 'Hours before the last 31 days of which windows arrived within 31 days' AS
SELECT DISTINCT node_id, date_trunc('HOUR', window_start) AS hour
FROM readings_3_aggregated
WHERE databricks_inserted_at > current_timestamp() - INTERVAL 31 DAYS
  AND window_start < date_trunc('DAY', current_timestamp() - INTERVAL 31 DAYS);

-- A group ends with a row of the severity over; without a cooldown there is none, and all alerts of a rule are one group.
CREATE OR REPLACE VIEW alert_groups
  COMMENT 'The last alert of each group, how many alerts it has, since when it is open, and since when it is over' AS
WITH numbered AS (
  SELECT *, coalesce(sum(CASE WHEN severity = 'over' THEN 1 ELSE 0 END) OVER (
    PARTITION BY node_id, sensor_id, alert_type ORDER BY source_generation, reading_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  ), 0) AS part
  FROM current_alerts
), grouped AS (
  SELECT *,
    sum(CASE WHEN severity = 'over' THEN 0 ELSE 1 END) OVER (
      PARTITION BY node_id, sensor_id, alert_type, part
    ) AS alerts,
    min(CASE WHEN severity <> 'over' THEN timestamp END) OVER (
      PARTITION BY node_id, sensor_id, alert_type, part
    ) AS open_since,
    max(CASE WHEN severity = 'over' THEN timestamp END) OVER (
      PARTITION BY node_id, sensor_id, alert_type, part
    ) AS over_since,
    row_number() OVER (
      PARTITION BY node_id, sensor_id, alert_type, part
      ORDER BY CASE WHEN severity = 'over' THEN 1 ELSE 0 END, source_generation DESC, reading_id DESC, alert_id
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
