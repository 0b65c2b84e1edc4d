"""The short version of `make recreated`."""

from __future__ import annotations

import pytest

from tools.recreated import Recreated


@pytest.mark.parametrize("emit", ["closed", "early"])
def test_windows_of_every_life_of_a_killed_generator_are_right_or_told_as_lost(emit, tmp_path):
    assert "told as lost" in Recreated(tmp_path, seed=20261127, emit=emit).run(seconds=10)
