"""The error of every attack, in radii."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from edge_delta.modes.privacy.displacement import Displacement
from edge_delta.modes.privacy.policy import Policy
from tests.attacks.attacks import ATTACKS, Attack, Seen, key
from tests.attacks.attacks import of_draws as attacks_on_draws
from tests.attacks.world import HOME, Point, Thing, meters, moved, year

Publish = Callable[[str, str, list[Point]], list[Point]]
"""From device, thing and reported points to published ones."""


LUCKY = 0.1
"""Radii."""


@dataclass(frozen=True)
class Score:
    """What an attack comes to over all things: in radii.

    Attributes:
        attack: its name.
        stationary: the median over things that stand still; None if there are none.
        movers: the median over things that move, of the median along each one's track.
        least_stationary: the best case of those.
        least_movers: the best case of these.
        lucky: the share of things that it comes nearer to than a tenth of the radius.
    """

    attack: str
    stationary: float
    movers: float
    least_stationary: float
    least_movers: float
    lucky: float


def published(things: list[Thing], publish: Publish) -> Seen:
    return {key(t): publish(t.device, t.name, t.reported) for t in things}


def errors(things: list[Thing], estimate: Seen, radius: float) -> dict[bool, list[float]]:
    """The median error of each thing, in radii; those that move under True."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for t in things:
        distances = [meters(a, b) for a, b in zip(estimate[key(t)], t.true, strict=True)]
        found[t.moves].append(statistics.median(distances) / radius)
    return found


def scores(
    publish_of: Callable[[int], Publish],
    radius: float,
    *,
    seeds: range,
    readings: int = 120,
    attacks: Mapping[str, Attack | list[Attack]] = ATTACKS,
) -> list[Score]:
    """Each attack's errors over the things of all seeds, each with a secret of its own."""
    gathered: dict[str, dict[bool, list[float]]] = {name: {False: [], True: []} for name in attacks}
    for seed in seeds:
        things = year(seed, readings=readings)
        seen = published(things, publish_of(seed))
        for name, one_or_more in attacks.items():
            for attack in one_or_more if isinstance(one_or_more, list) else [one_or_more]:
                for moves, values in errors(things, attack(things, seen, radius), radius).items():
                    gathered[name][moves] += values
    return [_score(name, by[False], by[True]) for name, by in gathered.items()]


def _score(name: str, still: list[float], moving: list[float]) -> Score:
    near = sum(value < LUCKY for value in (*still, *moving)) / len((*still, *moving))
    return Score(name, statistics.median(still), statistics.median(moving), min(still), min(moving), near)


def best(found: list[Score]) -> tuple[Score, Score]:
    """The attack with the least median error for things that stand still, and the one for those that move."""
    return min(found, key=lambda s: s.stationary), min(found, key=lambda s: s.movers)


def of_draws(publish_of: Callable[[int], Publish], radius: float, *, count: int, places: int = 150) -> Score:
    """What the best attack makes of so many draws of each place, by as many devices or by a secret that was rotated."""
    chance, publish = random.Random(count), publish_of(0)
    by_attack: dict[str, list[float]] = {}
    for place in range(places):
        true = moved(HOME, chance.uniform(-9e3, 9e3), chance.uniform(-9e3, 9e3))
        draws = [publish(f"{place} {i}", "s", [true])[0] for i in range(count)]
        for name, estimate in attacks_on_draws(draws, radius).items():
            by_attack.setdefault(name, []).append(meters(estimate, true) / radius)
    found = [_score(f"{count} draws of a place", values, values) for values in by_attack.values()]
    return min(found, key=lambda s: s.stationary)


def publishing(strategy: str, **numbers: float) -> Callable[[int], Publish]:
    """What edge-delta publishes of places, with a secret for each seed."""

    def of(seed: int) -> Publish:
        def publish(device: str, _name: str, points: list[Point]) -> list[Point]:
            how = Policy(strategy=strategy, secret=b"the secret of year %d" % seed, device=device, **numbers)  # type: ignore[arg-type]
            return Displacement(how).points(pl.DataFrame(points, schema=["y", "x"], orient="row")).rows()

        return publish

    return of
