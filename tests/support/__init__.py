"""Real parts for the tests: processes that write SQLite, the command, an S3 server, a proxy on the wire, readers."""
