-- 10  What changed in the tables
--
-- Unity Catalog keeps a copy of each table's columns. It reads them anew here, after edge-delta added a column; 03 then
-- shows the column in the views too. Reads the tables' logs and writes nothing to the bucket.
-- Who: the owner of the tables, or MODIFY on them.
-- Parameters: :catalog, :schema

USE CATALOG IDENTIFIER(:catalog);

USE SCHEMA IDENTIFIER(:schema);

MSCK REPAIR TABLE readings_0_raw SYNC METADATA;

MSCK REPAIR TABLE readings_1_schematized SYNC METADATA;

MSCK REPAIR TABLE readings_2_sanitized SYNC METADATA;

MSCK REPAIR TABLE readings_3_aggregated SYNC METADATA;

MSCK REPAIR TABLE readings_4_emergency SYNC METADATA;

MSCK REPAIR TABLE readings_rejected SYNC METADATA;
