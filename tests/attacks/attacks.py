"""What an observer can do who knows the program, the radius and all that is published, but no secret and no map.

Each attack takes what is published of every thing and gives an estimate for each of its readings.
"""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING

from tests.attacks.world import METERS, Point, Thing, moved, offset

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = dict[tuple[str, str], list[Point]]
"""What is published, by device and name."""


def key(thing: Thing) -> tuple[str, str]:
    return thing.device, thing.name


def naive(things: list[Thing], seen: Seen, _radius: float) -> Seen:
    """The published points as they are."""
    return {key(t): seen[key(t)] for t in things}


def averaged(things: list[Thing], seen: Seen, _radius: float) -> Seen:
    """The mean of all draws of one place: over time, and over the sensors of one device that stand there."""
    by_place: dict[tuple[str, int], list[Point]] = {}
    for t in things:
        if not t.moves:
            by_place.setdefault((t.device, t.place), []).extend(seen[key(t)])
    return {
        key(t): [_mean(by_place[t.device, t.place])] * len(t.true) if not t.moves else _smooth(seen[key(t)], 15)
        for t in things
    }


def straightened(things: list[Thing], seen: Seen, _radius: float) -> Seen:
    """A straight line through each track, which is what some drive; noise about it averages out."""
    return {key(t): _line(seen[key(t)]) if t.moves else seen[key(t)] for t in things}


def intersecting(things: list[Thing], seen: Seen, radius: float) -> Seen:
    """The true place lies within the radius of each draw: the middle of what all disks of a place have in common."""
    found = {}
    for t in things:
        if t.moves:
            found[key(t)] = seen[key(t)]
            continue
        same = [p for u in things if (u.place, u.device) == (t.place, t.device) for p in set(seen[key(u)])]
        found[key(t)] = [_middle_of_disks(same, radius)] * len(t.true)
    return found


def residues(things: list[Thing], seen: Seen, radius: float) -> Seen:
    """The displacement out of the digits behind the receiver's last one.

    Receivers report multiples of a step. The longitude's shift grows with the latitude, by the east part of the vector
    times tan(latitude) / cos(latitude) a radian; doubles are fine enough to see it over a few metres of jitter.
    """
    return {key(t): _without_east(seen[key(t)], t.decimals, radius) for t in things}


def cross_device(things: list[Thing], seen: Seen, _radius: float) -> Seen:
    """Who owns the first device knows its vectors, and takes them off the things of equal names of the second."""
    own = {t.name: t for t in things if t.device == "d0"}
    found = {}
    for t in things:
        known = own.get(t.name)
        if known is None or t.device == "d0":
            found[key(t)] = seen[key(t)]
            continue
        vector = offset(seen[key(known)][0], known.reported[0])
        found[key(t)] = [moved(p, *vector) for p in seen[key(t)]]
    return found


def public_grid(cell: float) -> Callable[[list[Thing], Seen, float], Seen]:
    """Where a track jumps it crosses a line of a grid that anyone can draw; in between, it is moved by as much."""

    def attack(things: list[Thing], seen: Seen, _radius: float) -> Seen:
        degrees = cell / METERS
        found = {}
        for t in things:
            points = seen[key(t)]
            parts = _parts(points, 4 * 40.0)
            estimate: list[Point] = []
            for part in parts:
                inside = [(math.floor(y / degrees) + 0.5) * degrees for y, _ in part]
                north = statistics.fmean(i - y for i, (y, _) in zip(inside, part, strict=True))
                estimate += [(y + north, x) for y, x in part]
            found[key(t)] = estimate
        return found

    return attack


def shifted(bearing: float, share: float) -> Callable[[list[Thing], Seen, float], Seen]:
    """The vector's length is about two thirds of the radius; its direction is a guess."""

    def attack(things: list[Thing], seen: Seen, radius: float) -> Seen:
        vector = share * radius * math.cos(bearing), share * radius * math.sin(bearing)
        return {key(t): [moved(p, *vector) for p in seen[key(t)]] for t in things}

    return attack


ATTACKS: dict[str, Callable[[list[Thing], Seen, float], Seen]] = {
    "as published": naive,
    "averaging": averaged,
    "straight lines": straightened,
    "intersecting disks": intersecting,
    "residues of digits": residues,
    "another device's vectors": cross_device,
    "a public grid's cells": public_grid(500.0),
    "a guessed direction": shifted(1.0, 0.65),
    "a guessed half": shifted(4.0, 0.3),
}


# -- parts


def _mean(points: list[Point]) -> Point:
    return statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points)


def _smooth(points: list[Point], width: int) -> list[Point]:
    return [_mean(points[max(0, i - width) : i + width + 1]) for i in range(len(points))]


def _line(points: list[Point]) -> list[Point]:
    times = range(len(points))
    fits = [statistics.linear_regression(times, [p[axis] for p in points]) for axis in (0, 1)]
    return [(fits[0].intercept + fits[0].slope * i, fits[1].intercept + fits[1].slope * i) for i in times]


def _middle_of_disks(points: list[Point], radius: float) -> Point:
    origin = points[0]
    vectors = [offset(origin, p) for p in points]
    step = radius / 12
    inside = [
        (step * i, step * j)
        for i in range(-24, 25)
        for j in range(-24, 25)
        if all(math.hypot(step * i - n, step * j - e) <= radius for n, e in vectors)
    ]
    if not inside:
        return _mean(points)
    return moved(origin, statistics.fmean(p[0] for p in inside), statistics.fmean(p[1] for p in inside))


def _parts(points: list[Point], jump: float) -> list[list[Point]]:
    parts = [[points[0]]]
    for before, point in itertools.pairwise(points):
        if math.hypot(*offset(before, point)) > jump:
            parts.append([])
        parts[-1].append(point)
    return parts


def _without_east(points: list[Point], decimals: int, radius: float) -> list[Point]:
    step = 10.0**-decimals
    y0, x0 = points[0]
    near = [p for p in points if math.hypot(*offset(points[0], p)) < 8 * 3.0]
    rows = [(round((y - y0) / step) * step, (x - x0) - round((x - x0) / step) * step) for y, x in near]
    spread = sum(a * a for a, _ in rows)
    if not spread:
        return points
    slope = sum(a * b for a, b in rows) / spread  # degrees of longitude a degree of latitude
    latitude = math.radians(y0)
    east = slope * math.cos(latitude) / math.tan(latitude) * 6_371_008.8
    if not 0 < abs(east) <= radius:
        return points
    return [moved(p, 0, -east) for p in points]
