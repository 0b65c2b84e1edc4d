-- 04  Data-quality checks
--
-- Views to look at, then statements that fail when something is wrong, for a job to notice. They look at what arrived
-- within 30 days, and read no more than that; edge-delta verify compares all of a device's rows.
-- fleet_devices is the device dimension, a managed table that you edit: site and model to group by, retired_at for a device
-- that is gone for good, quiet_seconds for one that may be silent for longer than 20 minutes. Each run of this file adds the devices that came, and when each last delivered,
-- so that one which has been silent for longer than 30 days is still told of.
-- Who: CREATE TABLE on the schema, SELECT on the tables; MODIFY on fleet_devices.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE TABLE IF NOT EXISTS fleet_devices
  (node_id STRING, site STRING, model STRING, first_seen TIMESTAMP, last_delivery TIMESTAMP, retired_at TIMESTAMP,
  quiet_seconds BIGINT, note STRING)
  USING DELTA COMMENT 'Devices; edit site, model, retired_at, quiet_seconds and note by hand';

-- For devices that were silent for longer before the first run, leave the condition out once.
MERGE INTO fleet_devices AS d
USING (
  SELECT node_id, min(databricks_inserted_at) AS first_seen, max(databricks_inserted_at) AS last_delivery
  FROM delivered_readings
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
  GROUP BY node_id
) AS r
ON d.node_id = r.node_id
WHEN MATCHED THEN UPDATE SET last_delivery = r.last_delivery
WHEN NOT MATCHED THEN INSERT (node_id, first_seen, last_delivery) VALUES (r.node_id, r.first_seen, r.last_delivery);

CREATE OR REPLACE VIEW quality_freshness
  COMMENT 'How long each device that is not retired has delivered nothing, and how long it may' AS
SELECT
  coalesce(r.node_id, d.node_id) AS node_id,
  coalesce(r.last_delivery, d.last_delivery) AS last_delivery,
  r.last_reading,
  unix_timestamp(current_timestamp()) - unix_timestamp(coalesce(r.last_delivery, d.last_delivery))
    AS seconds_since_delivery,
  coalesce(d.quiet_seconds, 1200) AS allowed_seconds
FROM (
  SELECT node_id, max(databricks_inserted_at) AS last_delivery, max(timestamp) AS last_reading FROM delivered_readings
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
  GROUP BY node_id
) AS r
FULL OUTER JOIN fleet_devices AS d ON d.node_id = r.node_id
WHERE d.retired_at IS NULL OR r.last_delivery > d.retired_at;

CREATE OR REPLACE VIEW quality_rejected
  COMMENT 'Rejected rows of the schematized table by device, rule and column, with their share of all rows' AS
SELECT
  r.node_id,
  r.rule,
  r.column_name,
  r.rejected,
  r.rejected / (coalesce(k.kept, 0) + sum(r.rejected) OVER (PARTITION BY r.node_id)) AS share
FROM (
  SELECT node_id, rule, column_name, count(*) AS rejected
  FROM readings_rejected AS t
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
    AND replayed_at IS NULL AND mode = 'schematized' AND NOT EXISTS (
    SELECT 1 FROM superseded AS s
    WHERE s.mode = t.mode AND s.node_id = t.node_id AND s.source_generation = t.source_generation
      AND t.reading_id > s.after_id AND t.reading_id <= s.upto_id
  )
  GROUP BY node_id, rule, column_name
) AS r
LEFT JOIN (SELECT node_id, count(*) AS kept FROM recent_readings GROUP BY node_id) AS k ON k.node_id = r.node_id;

-- A gap is a row that was deleted on the device before it was read. Of all generations: what another one took the place of
-- was delivered too. What a sweep brought from far below is no end of a gap: ids begin where those of a day before ended.
CREATE OR REPLACE VIEW quality_gaps
  COMMENT 'Ids between two known readings of the last 30 days that were neither delivered nor rejected' AS
WITH known AS (
  SELECT node_id, source_generation, reading_id, databricks_inserted_at FROM readings_rejected
  WHERE mode = 'schematized' AND databricks_inserted_at > current_timestamp() - INTERVAL 31 DAYS
  UNION ALL
  SELECT node_id, source_generation, reading_id, databricks_inserted_at FROM delivered_readings
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 31 DAYS
), placed AS (
  SELECT *,
    max(CASE WHEN databricks_inserted_at <= current_timestamp() - INTERVAL 30 DAYS THEN reading_id END) OVER (
      PARTITION BY node_id, source_generation
    ) AS first_id
  FROM known
), following AS (
  SELECT *, lead(reading_id) OVER (PARTITION BY node_id, source_generation ORDER BY reading_id) AS next_id
  FROM placed
  WHERE first_id IS NULL OR reading_id >= first_id
)
SELECT node_id, source_generation, reading_id + 1 AS first_missing, next_id - 1 AS last_missing
FROM following
WHERE next_id > reading_id + 1;

-- A window is named by the first reading in it, whatever its groups are. It is looked for in the table, because the view of
-- current windows has to see all of them.
CREATE OR REPLACE VIEW quality_duplicates
  COMMENT 'Rows of the last 30 days that are there more than once: always empty' AS
SELECT 'raw' AS mode, node_id, source_generation, source_rowid AS reading_id, count(*) AS copies
FROM recent_raw
GROUP BY node_id, source_generation, source_rowid
HAVING count(*) > 1
UNION ALL
SELECT 'sanitized' AS mode, node_id, source_generation, reading_id, count(*) AS copies
FROM recent_sanitized
GROUP BY node_id, source_generation, reading_id
HAVING count(*) > 1
UNION ALL
SELECT 'aggregated' AS mode, node_id, source_generation, first_reading_id AS reading_id, count(*) AS copies
FROM readings_3_aggregated AS r
WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'aggregated' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.first_reading_id > s.after_id AND r.last_reading_id <= s.upto_id
)
GROUP BY node_id, source_generation, window_start, first_reading_id
HAVING count(*) > 1
UNION ALL
SELECT 'emergency' AS mode, node_id, source_generation, reading_id, count(*) AS copies
FROM current_alerts
WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
GROUP BY node_id, source_generation, reading_id, alert_type
HAVING count(*) > 1
UNION ALL
SELECT 'schematized' AS mode, node_id, source_generation, reading_id, count(*) AS copies
FROM recent_readings
GROUP BY node_id, source_generation, reading_id
HAVING count(*) > 1;

SELECT assert_true(count(*) = 0, 'rows are there more than once: see quality_duplicates') AS no_duplicates
FROM quality_duplicates;
