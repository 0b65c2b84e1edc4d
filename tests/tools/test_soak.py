"""The tiny version of `make soak`."""

from __future__ import annotations

from tools.soak import soak


def test_descriptors_and_threads_do_not_grow_while_cycles_run_back_to_back(weed, tmp_path):
    samples = soak(tmp_path, weed, seconds=15, pause=0.2)
    assert samples.cycles > 10
    before, after = samples.floors(samples.threads)
    assert after <= before + 2
    # In so short a time the store's connections are still being made; a leak of one a cycle would be far above.
    assert samples.floors(samples.descriptors)[1] <= 64
    assert len(samples.plot().splitlines()) == 3
