"""The short version of `make torture`."""

from __future__ import annotations

import pytest

from tools.torture import FAULTS, Torture


@pytest.mark.torture
def test_random_kills_and_wire_faults_over_a_live_writer_lose_and_repeat_nothing(weed, tmp_path):
    torture = Torture(tmp_path, weed, seed=20261122)
    table = torture.run(kills=12, faults=70)
    assert set(torture.faults) == set(FAULTS)
    assert "verify and an independent count agree" in table
