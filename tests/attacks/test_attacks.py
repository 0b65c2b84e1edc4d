"""The attacks against what is published: they break what is weak, and not what we have."""

from __future__ import annotations

import math
import random

import pytest

from tests.attacks.attacks import cross_device, key
from tests.attacks.score import best, errors, published, publishing, scores
from tests.attacks.world import meters, moved, year

RADIUS = 500.0


@pytest.fixture(scope="module")
def found():
    return scores(publishing("per_place", radius_meters=RADIUS), RADIUS, seeds=range(4), readings=40)


def test_no_attack_comes_nearer_than_half_the_radius_to_what_stands_still(found):
    still, _ = best(found)
    assert still.stationary >= 0.5, still


def test_no_attack_comes_nearer_than_a_third_of_the_radius_to_what_moves(found):
    _, moving = best(found)
    assert moving.movers >= 0.35, moving


def test_the_best_attacks_best_case_is_a_tenth_of_the_radius(found):
    assert min(score.least for score in best(found)) >= 0.1


@pytest.mark.parametrize("seed", range(3))
def test_no_published_point_is_farther_than_the_radius_from_what_was_reported(seed):
    things = year(seed, readings=40)
    seen = published(things, publishing("per_place", radius_meters=RADIUS)(seed))
    for thing in things:
        assert all(meters(a, b) <= RADIUS for a, b in zip(thing.reported, seen[key(thing)], strict=True))


def test_things_of_a_device_at_one_place_have_one_draw():
    things = [t for t in year(1, readings=10) if not t.moves]
    seen = published(things, publishing("per_place", radius_meters=RADIUS)(1))
    shared = {}
    for thing in things:
        shared.setdefault((thing.device, thing.place), set()).update(seen[key(thing)])
    # Three metres of jitter may cross a border of cells, or two.
    assert max(map(len, shared.values())) <= 4
    assert sum(len(points) == 1 for points in shared.values()) > len(shared) * 0.7


# -- the attacks can do what they are meant to do


def one_vector_per_name(seed):
    """A displacement as it should not be: full digits, and the same for equal names on all devices."""

    def publish(_device, name, points):
        chance = random.Random(f"{seed} {name}")
        meters_away, bearing = RADIUS * math.sqrt(chance.random()), chance.uniform(0, 2 * math.pi)
        return [moved(p, meters_away * math.cos(bearing), meters_away * math.sin(bearing)) for p in points]

    return publish


def fresh_noise(seed):
    chance = random.Random(seed)

    def publish(_device, _name, points):
        found = []
        for p in points:
            away, bearing = RADIUS * math.sqrt(chance.random()), chance.uniform(0, 2 * math.pi)
            found.append(moved(p, away * math.cos(bearing), away * math.sin(bearing)))
        return found

    return publish


def test_the_attacks_break_one_vector_per_name_and_noise_per_reading():
    things = year(1, readings=20)
    seen = published(things, one_vector_per_name(1))
    others = [t for t in things if t.device == "d1"]
    given_away = errors(others, cross_device(things, seen, RADIUS), RADIUS)[False]
    assert sorted(given_away)[len(given_away) // 2] < 0.05
    noisy = {s.attack: s for s in scores(fresh_noise, RADIUS, seeds=range(1), readings=200)}
    assert noisy["averaging"].stationary < 0.1
    assert noisy["intersecting disks"].stationary < 0.3


def test_a_second_draw_costs_what_the_documents_say():
    """A rotated secret: the mean of two draws is nearer than either."""
    things = [t for t in year(2, readings=1) if not t.moves]
    draws = [published(things, publishing("per_place", radius_meters=RADIUS)(seed)) for seed in range(40, 46)]
    alone = [e for seen in draws for e in errors(things, seen, RADIUS)[False]]
    both = []
    for one, other in zip(draws[::2], draws[1::2], strict=True):
        mean = {k: [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in zip(one[k], other[k], strict=True)] for k in one}
        both += errors(things, mean, RADIUS)[False]
    assert sorted(both)[len(both) // 2] < sorted(alone)[len(alone) // 2]
