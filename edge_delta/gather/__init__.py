"""The tables of many devices brought into one for each mode, exactly once.

`logs`, `state`, `takings` and `rounds` are what both runners have in common, and need nothing but Python: the Spark job
of deploy/databricks imports them as they are. `fleet`, `store` and `rows` are the runner with delta-rs.
"""
