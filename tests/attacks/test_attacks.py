"""The attacks against what is published: they break what is weak, and not what we have."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from edge_delta.modes.privacy.policy import Policy, left_of
from tests.attacks.attacks import GUESSES, cross_device, key
from tests.attacks.score import best, errors, of_draws, published, publishing, scores
from tests.attacks.world import meters, moved, offset, year

RADIUS = 500.0


@pytest.fixture(scope="module")
def found():
    return scores(publishing("per_place", radius_meters=RADIUS), RADIUS, seeds=range(3), readings=40)


def test_no_attack_comes_nearer_than_half_the_radius_to_what_stands_still(found):
    still, _ = best(found)
    assert still.stationary >= 0.5, still


def test_no_attack_comes_nearer_than_half_the_radius_to_what_moves(found):
    _, moving = best(found)
    assert moving.movers >= 0.5, moving


def test_the_best_case_of_every_attack_is_a_tenth_of_the_radius_for_what_stands_still_and_for_what_moves(found):
    assert min(score.least_stationary for score in found) >= 0.1
    assert min(score.least_movers for score in found) >= 0.1


def test_a_guess_is_no_better_than_an_attack_and_right_as_often_as_chance_has_it():
    """Of the ring that the vector ends in, a disk of a tenth of the radius is a thirtieth."""
    published_by = publishing("per_place", radius_meters=RADIUS)
    for score in scores(published_by, RADIUS, seeds=range(3), readings=6, attacks=GUESSES):
        assert score.stationary >= 0.5, score
        assert score.movers >= 0.5, score
        assert score.lucky <= 0.05, score


def test_whoever_guesses_the_vector_is_a_tenth_of_the_radius_off_along_a_track_nevertheless():
    """A cell is that large; the median over a track, where nothing is smoothed."""
    publish = publishing("per_place", radius_meters=RADIUS)(7)
    for thing in (t for t in year(7, readings=100) if t.moves):
        how = Policy(secret=b"the secret of year 7", device=thing.device, radius_meters=RADIUS)
        seen = publish(thing.device, thing.name, thing.reported)
        # The best vector that there is for this track.
        both = [offset(p, t) for p, t in zip(seen, thing.true, strict=True)]
        north, east = (statistics.fmean(v[axis] for v in both) for axis in (0, 1))
        assert math.hypot(north, east) == pytest.approx(how.vector()[0], rel=0.15)
        off = [meters(moved(p, north, east), t) for p, t in zip(seen, thing.true, strict=True)]
        assert statistics.median(off) >= 0.1 * RADIUS


def test_several_draws_of_a_place_cost_what_is_told():
    for count in (2, 3, 5):
        score = of_draws(publishing("per_place", radius_meters=RADIUS), RADIUS, count=count, places=60)
        assert score.stationary == pytest.approx(left_of(count), abs=0.08), score


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
