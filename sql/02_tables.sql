-- 02  External tables
--
-- Registers the tables of the five modes and of the rejected rows. Columns are not listed: the Delta log has them.
-- A mode that was never run has no table, nor is there one of what resets took the place of before the first reset:
-- leave its statement out. Run the file again when there is one.
-- Who: CREATE TABLE on the schema and CREATE EXTERNAL TABLE on the location.
-- After edge-delta added a column: 10.
-- As it stands it takes Databricks Runtime 17.3 (EXECUTE IMMEDIATE of a joined text); what edge-delta sql prints does not.
-- Parameters: :catalog, :schema, :base_path

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_0_raw USING DELTA LOCATION ''' || :base_path || '_0_raw''';

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_1_schematized USING DELTA LOCATION ''' || :base_path || '_1_schematized''';

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_2_sanitized USING DELTA LOCATION ''' || :base_path || '_2_sanitized''';

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_3_aggregated USING DELTA LOCATION ''' || :base_path || '_3_aggregated''';

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_4_emergency USING DELTA LOCATION ''' || :base_path || '_4_emergency''';

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_rejected USING DELTA LOCATION ''' || :base_path || '_rejected''';

EXECUTE IMMEDIATE 'CREATE TABLE IF NOT EXISTS readings_superseded USING DELTA LOCATION ''' || :base_path || '_superseded''';
