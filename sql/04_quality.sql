-- 04  Data-quality checks
--
-- Views to look at, then statements that fail when something is wrong, for a job to notice.
-- Who: CREATE TABLE on the schema, SELECT on the tables.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE OR REPLACE VIEW quality_freshness
  COMMENT 'How long each device has delivered nothing' AS
SELECT
  node_id,
  max(databricks_inserted_at) AS last_delivery,
  max(timestamp) AS last_reading,
  unix_timestamp(current_timestamp()) - unix_timestamp(max(databricks_inserted_at)) AS seconds_since_delivery
FROM current_readings
GROUP BY node_id;

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
  WHERE replayed_at IS NULL AND mode = 'schematized' AND NOT EXISTS (
    SELECT 1 FROM superseded AS s
    WHERE s.mode = t.mode AND s.node_id = t.node_id AND s.source_generation = t.source_generation
      AND t.reading_id > s.after_id AND t.reading_id <= s.upto_id
  )
  GROUP BY node_id, rule, column_name
) AS r
LEFT JOIN (SELECT node_id, count(*) AS kept FROM current_readings GROUP BY node_id) AS k ON k.node_id = r.node_id;

-- A gap is a row that was deleted on the device before it was read. Of all generations: what another one took the place of
-- was delivered too.
CREATE OR REPLACE VIEW quality_gaps
  COMMENT 'Ids between two known readings that were neither delivered nor rejected' AS
WITH known AS (
  SELECT node_id, source_generation, reading_id FROM readings_rejected WHERE mode = 'schematized'
  UNION
  SELECT node_id, source_generation, reading_id FROM fleet_readings
), following AS (
  SELECT *, lead(reading_id) OVER (PARTITION BY node_id, source_generation ORDER BY reading_id) AS next_id
  FROM known
)
SELECT node_id, source_generation, reading_id + 1 AS first_missing, next_id - 1 AS last_missing
FROM following
WHERE next_id > reading_id + 1;

-- A window is named by the first reading in it, whatever its groups are.
CREATE OR REPLACE VIEW quality_duplicates
  COMMENT 'Rows that are there more than once: always empty' AS
SELECT 'raw' AS mode, node_id, source_generation, source_rowid AS reading_id, count(*) AS copies
FROM current_raw
GROUP BY node_id, source_generation, source_rowid
HAVING count(*) > 1
UNION ALL
SELECT 'sanitized' AS mode, node_id, source_generation, reading_id, count(*) AS copies
FROM current_sanitized
GROUP BY node_id, source_generation, reading_id
HAVING count(*) > 1
UNION ALL
SELECT 'aggregated' AS mode, node_id, source_generation, first_reading_id AS reading_id, count(*) AS copies
FROM current_windows
GROUP BY node_id, source_generation, window_start, first_reading_id
HAVING count(*) > 1
UNION ALL
SELECT 'emergency' AS mode, node_id, source_generation, reading_id, count(*) AS copies
FROM current_alerts
GROUP BY node_id, source_generation, reading_id, alert_type
HAVING count(*) > 1
UNION ALL
SELECT 'schematized' AS mode, node_id, source_generation, reading_id, count(*) AS copies
FROM current_readings
GROUP BY node_id, source_generation, reading_id
HAVING count(*) > 1;

SELECT assert_true(count(*) = 0, 'rows are there more than once: see quality_duplicates') AS no_duplicates
FROM quality_duplicates;
