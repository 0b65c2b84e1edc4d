-- 08  The alternative: Auto Loader on raw Parquet
--
-- For those whose pipeline already loads Parquet files. Not for edge-delta's own tables: their folders also hold files that
-- no version names (of commits that did not come about, and from before a compaction), and a loader that lists files
-- reads those too. Use 02 for them.
-- Who: CREATE TABLE on the schema, READ FILES on the location; on a pro or serverless warehouse.
-- As it stands it takes Databricks Runtime 17.3 (EXECUTE IMMEDIATE of a joined text); what edge-delta sql prints does not.
-- Parameters: :catalog, :schema, :base_path (the folder of the Parquet files here)

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

EXECUTE IMMEDIATE 'CREATE OR REFRESH STREAMING TABLE readings_from_parquet AS SELECT *, _metadata.file_path AS source_file FROM STREAM read_files(''' || :base_path || '/*.parquet'', format => ''parquet'')';
