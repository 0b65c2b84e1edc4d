"""A simulated year: sensors that stand still, and others that move; everything is made of a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

METERS = 111_194.93
"""Metres a degree of latitude."""
HOME = (52.5, 13.4)
JITTER = 3.0
Point = tuple[float, float]


@dataclass(frozen=True)
class Thing:
    """A sensor: where it is at each reading, and what its receiver reports."""

    name: str
    device: str
    place: int
    true: list[Point]
    reported: list[Point]
    decimals: int
    moves: bool


def meters(one: Point, other: Point) -> float:
    """Distance on the sphere, by vectors."""
    a, b = _vector(one), _vector(other)
    cross = math.dist((0, 0, 0), (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]))
    return 6_371_008.8 * math.atan2(cross, sum(p * q for p, q in zip(a, b, strict=True)))


def _vector(point: Point) -> tuple[float, float, float]:
    y, x = (math.radians(v) for v in point)
    return math.cos(y) * math.cos(x), math.cos(y) * math.sin(x), math.sin(y)


def moved(point: Point, north: float, east: float) -> Point:
    """A point some metres away."""
    return point[0] + north / METERS, point[1] + east / (METERS * math.cos(math.radians(point[0])))


def offset(one: Point, other: Point) -> Point:
    """Metres north and east from the first to the second."""
    return (other[0] - one[0]) * METERS, (other[1] - one[1]) * METERS * math.cos(math.radians(one[0]))


def year(seed: int, *, stationary: int = 100, movers: int = 20, readings: int = 120) -> list[Thing]:
    """Sensors of two devices: those that stand still, two at every third place, and those that move.

    Half of the movers wander in a city, the others drive 300 km straight ahead.
    """
    chance = random.Random(seed)
    things = []
    place, where = -1, HOME
    for i in range(stationary):
        if i % 3 != 1:  # every second of three stands where the one before it stands
            place, where = place + 1, moved(HOME, chance.uniform(-9e3, 9e3), chance.uniform(-9e3, 9e3))
        device = f"d{place % 2}"
        name = f"s{sum(t.device == device for t in things)}"
        things.append(_thing(name, device, place, [where] * readings, 5 + i % 3, chance, moves=False))
    for i in range(movers):
        track = _wander(chance, readings * 4) if i % 2 else _drive(chance, readings * 4)
        things.append(_thing(f"m{i // 2}", f"d{i % 2}", 1_000 + i, track, 5 + i % 3, chance, moves=True))
    return things


def _thing(  # noqa: PLR0917 - what a sensor is
    name: str, device: str, place: int, true: list[Point], decimals: int, chance: random.Random, *, moves: bool
) -> Thing:
    noisy = (moved(p, chance.gauss(0, JITTER), chance.gauss(0, JITTER)) for p in true)
    reported = [(round(y, decimals), round(x, decimals)) for y, x in noisy]
    return Thing(name, device, place, true, reported, decimals, moves)


def _wander(chance: random.Random, steps: int) -> list[Point]:
    point, heading, track = (
        moved(HOME, chance.uniform(-5e3, 5e3), chance.uniform(-5e3, 5e3)),
        chance.uniform(0, 6.28),
        [],
    )
    for _ in range(steps):
        heading += chance.gauss(0, 0.4)
        if meters(point, HOME) > 8e3:
            north, east = offset(point, HOME)
            heading = math.atan2(east, north)
        point = moved(point, 40 * math.cos(heading), 40 * math.sin(heading))
        track.append(point)
    return track


def _drive(chance: random.Random, steps: int) -> list[Point]:
    start, heading = moved(HOME, chance.uniform(-5e3, 5e3), chance.uniform(-5e3, 5e3)), chance.uniform(0, 6.28)
    return [
        moved(start, i * 300e3 / steps * math.cos(heading), i * 300e3 / steps * math.sin(heading)) for i in range(steps)
    ]
