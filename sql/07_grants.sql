-- 07  Grants with least privilege
--
-- Readers see views, not the tables; engineers see all of it and may register a further device's tables; nobody may
-- modify. Nobody needs a privilege on the storage credential. The devices need no grant here at all: they write to the
-- bucket with a role of their own.
-- Who: the owner of the schema and of the location. Groups: edge_readers (dashboards), edge_engineers.
-- As it stands it takes Databricks Runtime 17.3 (EXECUTE IMMEDIATE of a joined text); what edge-delta sql prints does not.
-- Parameters: :catalog, :schema

EXECUTE IMMEDIATE 'GRANT USE CATALOG ON CATALOG ' || :catalog || ' TO `edge_readers`';

EXECUTE IMMEDIATE 'GRANT USE CATALOG ON CATALOG ' || :catalog || ' TO `edge_engineers`';

GRANT CREATE EXTERNAL TABLE ON EXTERNAL LOCATION edge_delta TO `edge_engineers`;

USE CATALOG IDENTIFIER(:catalog);

EXECUTE IMMEDIATE 'GRANT USE SCHEMA ON SCHEMA ' || :schema || ' TO `edge_readers`';

EXECUTE IMMEDIATE 'GRANT USE SCHEMA, SELECT, CREATE TABLE ON SCHEMA ' || :schema || ' TO `edge_engineers`';

USE SCHEMA IDENTIFIER(:schema);

GRANT SELECT ON VIEW fleet_readings TO `edge_readers`;

GRANT SELECT ON VIEW current_readings TO `edge_readers`;

GRANT SELECT ON VIEW current_windows TO `edge_readers`;

GRANT SELECT ON VIEW current_alerts TO `edge_readers`;

GRANT SELECT ON VIEW fleet_latest TO `edge_readers`;

GRANT SELECT ON VIEW fleet_hourly TO `edge_readers`;

GRANT SELECT ON VIEW fleet_daily TO `edge_readers`;

GRANT SELECT ON VIEW alert_groups TO `edge_readers`;

GRANT SELECT ON VIEW open_alerts TO `edge_readers`;

GRANT SELECT ON VIEW quality_freshness TO `edge_readers`;

GRANT SELECT ON TABLE fleet_devices TO `edge_readers`;

GRANT MODIFY ON TABLE fleet_devices TO `edge_engineers`;
