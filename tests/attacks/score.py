"""The error of every attack, in radii."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from edge_delta.modes.privacy.displacement import Displacement
from edge_delta.modes.privacy.policy import Policy
from tests.attacks.attacks import ATTACKS, Seen, key
from tests.attacks.world import Point, Thing, meters, year

Publish = Callable[[str, str, list[Point]], list[Point]]
"""From device, thing and reported points to published ones."""


@dataclass(frozen=True)
class Score:
    """What an attack comes to over all things: in radii."""

    attack: str
    stationary: float
    movers: float
    least: float


def published(things: list[Thing], publish: Publish) -> Seen:
    return {key(t): publish(t.device, t.name, t.reported) for t in things}


def errors(things: list[Thing], estimate: Seen, radius: float) -> dict[bool, list[float]]:
    """The median error of each thing, in radii; those that move under True."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for t in things:
        distances = [meters(a, b) for a, b in zip(estimate[key(t)], t.true, strict=True)]
        found[t.moves].append(statistics.median(distances) / radius)
    return found


def scores(publish_of: Callable[[int], Publish], radius: float, *, seeds: range, readings: int = 120) -> list[Score]:
    """Each attack's median error over the things of all seeds, each with a secret of its own, and its least error."""
    gathered: dict[str, dict[bool, list[float]]] = {name: {False: [], True: []} for name in ATTACKS}
    for seed in seeds:
        things = year(seed, readings=readings)
        seen = published(things, publish_of(seed))
        for name, attack in ATTACKS.items():
            for moves, values in errors(things, attack(things, seen, radius), radius).items():
                gathered[name][moves] += values
    return [
        Score(name, statistics.median(by[False]), statistics.median(by[True]), min(*by[False], *by[True]))
        for name, by in gathered.items()
    ]


def best(found: list[Score]) -> tuple[Score, Score]:
    """The attack with the least median error for things that stand still, and the one for those that move."""
    return min(found, key=lambda s: s.stationary), min(found, key=lambda s: s.movers)


def publishing(strategy: str, **numbers: float) -> Callable[[int], Publish]:
    """What edge-delta publishes of places, with a secret for each seed."""

    def of(seed: int) -> Publish:
        def publish(device: str, _name: str, points: list[Point]) -> list[Point]:
            how = Policy(strategy=strategy, secret=b"the secret of year %d" % seed, device=device, **numbers)  # type: ignore[arg-type]
            return Displacement(how).points(pl.DataFrame(points, schema=["y", "x"], orient="row")).rows()

        return publish

    return of
