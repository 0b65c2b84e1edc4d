"""The tiny version of `make thousand`."""

from __future__ import annotations

import pytest

from tools.thousand import run


@pytest.mark.slow
def test_devices_by_the_real_command_are_gathered_once_whatever_happens_to_them(tmp_path):
    lines = run(tmp_path, count=14, workers=2, seed=3)
    assert "each once" in lines[-1]
