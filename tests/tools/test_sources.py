"""The short version of `make sources`."""

from __future__ import annotations

from tools.sources import faults, sources


def test_databases_written_as_real_programs_write_theirs_arrive_whole(tmp_path):
    found = sources(tmp_path, seconds=14, verify_every=9)
    assert faults(found) == []
    assert all(one["rows"] for one in found.values())
