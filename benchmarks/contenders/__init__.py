"""Ways to bring one SQLite table to columnar files, one script each.

Each is run as ``python -m benchmarks.contenders.NAME DATABASE TARGET`` in a process of its own and prints one line of
JSON: the rows that it brought over, and the seconds of the work itself, imports aside.
"""
