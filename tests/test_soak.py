"""The tiny version of `make soak`."""

from __future__ import annotations

from tests.soak import soak


def test_descriptors_and_threads_do_not_grow_while_cycles_run_back_to_back(weed, tmp_path):
    samples = soak(tmp_path, weed, seconds=15, pause=0.2)
    assert samples.cycles > 10
    for values in (samples.descriptors, samples.threads):
        before, after = samples.floors(values)
        assert after <= before + 2
    assert len(samples.plot().splitlines()) == 3
