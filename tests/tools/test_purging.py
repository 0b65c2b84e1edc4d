"""The short version of `make purging`."""

from __future__ import annotations

from tools.purging import Purging


def test_purges_next_to_a_writer_and_a_process_that_delivers_lose_nothing(tmp_path):
    told = Purging(tmp_path, seed=20261127, rate=100, keep="1s", modes=("raw", "schematized")).run(alone=1, seconds=4)
    assert "each in the tables once" in told
