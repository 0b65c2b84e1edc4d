-- 11  The last state of each row
--
-- Where on_update = "append", an updated row is there again with the same id and a higher row_version. These views take the
-- place of those of 03 and leave earlier states out. Run them after 03, and only for tables that have the column row_version.
-- Who: CREATE TABLE on the schema (views count as tables), SELECT on the tables.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

CREATE OR REPLACE VIEW current_readings
  COMMENT 'Each reading once, as its last row_version has it' AS
SELECT * EXCEPT (newest, state) FROM (
  SELECT *,
    max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest,
    dense_rank() OVER (
      PARTITION BY node_id, source_generation, reading_id ORDER BY coalesce(row_version, 1) DESC
    ) AS state
  FROM delivered_readings
) AS r
WHERE state = 1 AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'schematized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW current_raw
  COMMENT 'Each row of the raw table once, as its last row_version has it' AS
SELECT * EXCEPT (newest, state) FROM (
  SELECT *,
    max(source_generation) OVER (PARTITION BY node_id, source_rowid) AS newest,
    dense_rank() OVER (
      PARTITION BY node_id, source_generation, source_rowid ORDER BY coalesce(row_version, 1) DESC
    ) AS state
  FROM readings_0_raw
) AS r
WHERE state = 1 AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'raw' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.source_rowid > s.after_id AND r.source_rowid <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW current_sanitized
  COMMENT 'Each row of the sanitized table once, as its last row_version has it' AS
SELECT * EXCEPT (newest, state) FROM (
  SELECT *,
    max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest,
    dense_rank() OVER (
      PARTITION BY node_id, source_generation, reading_id ORDER BY coalesce(row_version, 1) DESC
    ) AS state
  FROM readings_2_sanitized
) AS r
WHERE state = 1 AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'sanitized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW recent_readings
  COMMENT 'Each reading once, as its last row_version has it, of those that arrived within 30 days' AS
SELECT * EXCEPT (newest, state) FROM (
  SELECT *,
    max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest,
    dense_rank() OVER (
      PARTITION BY node_id, source_generation, reading_id ORDER BY coalesce(row_version, 1) DESC
    ) AS state
  FROM delivered_readings
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
) AS r
WHERE state = 1 AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'schematized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW recent_raw
  COMMENT 'Each row of the raw table once, as its last row_version has it, of those that arrived within 30 days' AS
SELECT * EXCEPT (newest, state) FROM (
  SELECT *,
    max(source_generation) OVER (PARTITION BY node_id, source_rowid) AS newest,
    dense_rank() OVER (
      PARTITION BY node_id, source_generation, source_rowid ORDER BY coalesce(row_version, 1) DESC
    ) AS state
  FROM readings_0_raw
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
) AS r
WHERE state = 1 AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'raw' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.source_rowid > s.after_id AND r.source_rowid <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);

CREATE OR REPLACE VIEW recent_sanitized
  COMMENT 'Each row of the sanitized table once, as its last row_version has it, of those that arrived within 30 days' AS
SELECT * EXCEPT (newest, state) FROM (
  SELECT *,
    max(source_generation) OVER (PARTITION BY node_id, reading_id) AS newest,
    dense_rank() OVER (
      PARTITION BY node_id, source_generation, reading_id ORDER BY coalesce(row_version, 1) DESC
    ) AS state
  FROM readings_2_sanitized
  WHERE databricks_inserted_at > current_timestamp() - INTERVAL 30 DAYS
) AS r
WHERE state = 1 AND NOT EXISTS (
  SELECT 1 FROM superseded AS s
  WHERE s.mode = 'sanitized' AND s.node_id = r.node_id AND s.source_generation = r.source_generation
    AND r.reading_id > s.after_id AND r.reading_id <= s.upto_id AND (s.other_ids OR r.newest >= s.by_generation)
);
