"""The short version of `make sources`."""

from __future__ import annotations

from tools.sources import faults, sources


def test_databases_written_as_real_programs_write_theirs_arrive_whole(tmp_path):
    found = sources(tmp_path, seconds=14, verify_every=9)
    assert faults(found) == []
    assert all(one["rows"] for one in found.values())


def test_rows_of_a_ring_may_be_missing_only_where_a_sweep_said_that_it_came_too_late():
    ring = {"exit": 0, "missing": 37, "twice": 0, "resets": 0, "tracebacks": 0, "verify": 0}
    assert faults({"ring": {**ring, "overrun": 0}}) == ["ring: 37 missing"]
    assert faults({"ring": {**ring, "overrun": 1}}) == []
