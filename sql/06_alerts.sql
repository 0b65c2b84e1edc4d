-- 06  Alert queries
--
-- Each is the query of one Databricks SQL alert and returns no row while all is well: trigger when there is a row.
-- Who: SELECT on the views.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

-- A device that has delivered nothing for four intervals of 300 s, or for as long as fleet_devices allows it.
SELECT node_id, last_delivery, seconds_since_delivery
FROM quality_freshness
WHERE seconds_since_delivery > allowed_seconds OR last_delivery IS NULL;

-- More than one row in a hundred rejected.
SELECT node_id, rule, column_name, rejected, share
FROM quality_rejected
WHERE share > 0.01;

SELECT mode, node_id, source_generation, reading_id, copies
FROM quality_duplicates;

-- What arrived in the last ten minutes and is bad.
SELECT node_id, sensor_id, timestamp, alert_type, message
FROM open_alerts
WHERE severity IN ('critical', 'high') AND databricks_inserted_at > current_timestamp() - INTERVAL 10 MINUTES;
