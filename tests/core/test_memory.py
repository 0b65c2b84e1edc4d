from __future__ import annotations

from itertools import pairwise

from edge_delta.core.memory import DEFAULT, LEAST, MIB, PLAIN, Budget


def test_the_default_allows_what_is_usual():
    assert Budget.of(DEFAULT) == PLAIN


def test_more_memory_never_allows_less():
    sizes = [Budget.of(memory * MIB) for memory in range(128, 2_048, 16)]
    for name in Budget.__struct_fields__:
        assert all(getattr(less, name) <= getattr(more, name) for less, more in pairwise(sizes)), name


def test_with_the_least_memory_a_batch_and_all_that_is_made_of_it_fit_beside_the_libraries():
    least = Budget.of(LEAST)
    assert least.ahead == 0
    assert max(4 * least.batch_bytes + 100 * least.held_values, 12 * least.row_bytes) < LEAST - 96 * MIB
    assert least.batch_bytes > 1_000_000


def test_on_a_single_core_the_room_of_what_is_read_ahead_goes_to_the_batch():
    assert PLAIN.on(2) == PLAIN
    alone = PLAIN.on(1)
    assert (alone.ahead, alone.batch_bytes) == (0, 2 * PLAIN.batch_bytes)
    least = Budget.of(LEAST)
    assert least.on(1) == least
