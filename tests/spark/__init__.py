"""Spark with Delta Lake reads what edge-delta wrote. Needs Java; run by `make test-spark`."""
