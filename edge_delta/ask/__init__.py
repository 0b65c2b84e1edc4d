"""Questions to the tables: SQL, what they hold, the statements for Databricks."""
