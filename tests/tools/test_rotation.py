"""The short version of `make rotation`."""

from __future__ import annotations

from tools.rotation import Rotation


def test_files_that_rotate_under_kills_bring_each_row_once(tmp_path):
    told = Rotation(tmp_path, seed=20261127, files=30).run(8)
    assert "each row is there once" in told
