"""What an observer can do who knows the program, the radius and all that is published, but no secret and no map.

Each attack takes what is published of every thing and gives an estimate for each of its readings.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable

from tests.attacks.world import METERS, Point, Thing, moved, offset

Seen = dict[tuple[str, str], list[Point]]
"""What is published, by device and name."""


def key(thing: Thing) -> tuple[str, str]:
    return thing.device, thing.name


Attack = Callable[[list[Thing], Seen, float], Seen]


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
    return _of_places(things, seen, lambda draws: _middle_of_rings(draws, 0, radius))


def intersecting_rings(things: list[Thing], seen: Seen, radius: float) -> Seen:
    """No point is published nearer than three tenths of the radius: rings have less in common than disks."""
    return _of_places(things, seen, lambda draws: _middle_of_rings(draws, 0.3 * radius, radius))


def speed_limited(things: list[Thing], seen: Seen, _radius: float) -> Seen:
    """A mover keeps its speed for a while: a line by least squares through each reading's neighbours."""
    return {key(t): _lines(seen[key(t)], 8) if t.moves else [_mean(seen[key(t)])] * len(t.true) for t in things}


def border_crossings(things: list[Thing], seen: Seen, _radius: float) -> Seen:
    """Where the published point changes, the mover is half way between the two, and goes straight on to the next."""
    return {key(t): _crossings(seen[key(t)]) for t in things}


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


def public_grid(cell: float) -> Attack:
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


def shifted(bearing: float, share: float, before: Attack = naive) -> Attack:
    """The vector's length is about two thirds of the radius; its direction is a guess, after another attack."""

    def attack(things: list[Thing], seen: Seen, radius: float) -> Seen:
        vector = share * radius * math.cos(bearing), share * radius * math.sin(bearing)
        return {k: [moved(p, *vector) for p in points] for k, points in before(things, seen, radius).items()}

    return attack


def of_draws(draws: list[Point], radius: float) -> dict[str, Point]:
    """Estimates of one place out of several draws of it."""
    return {
        "mean": _mean(draws),
        "disks": _middle_of_rings(draws, 0, radius),
        "rings": _middle_of_rings(draws, 0.3 * radius, radius),
    }


ATTACKS: dict[str, Attack] = {
    "as published": naive,
    "averaging": averaged,
    "straight lines": straightened,
    "speed limits": speed_limited,
    "border crossings": border_crossings,
    "intersecting disks": intersecting,
    "intersecting rings": intersecting_rings,
    "residues of digits": residues,
    "a public grid's cells": public_grid(500.0),
}
"""What computes something out of what is published."""
GUESSES: dict[str, list[Attack]] = {
    "another device's vectors": [cross_device],
    "a guessed vector": [shifted(math.tau * i / 16, share) for i in range(16) for share in (0.3, 0.65)],
    "a guessed vector, along smoothed tracks": [shifted(math.tau * i / 16, 0.65, speed_limited) for i in range(16)],
}
"""What is right by luck: how often that is, is what counts."""


# -- parts


def _mean(points: list[Point]) -> Point:
    return statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points)


def _smooth(points: list[Point], width: int) -> list[Point]:
    return [_mean(points[max(0, i - width) : i + width + 1]) for i in range(len(points))]


def _line(points: list[Point]) -> list[Point]:
    times = range(len(points))
    fits = [statistics.linear_regression(times, [p[axis] for p in points]) for axis in (0, 1)]
    return [(fits[0].intercept + fits[0].slope * i, fits[1].intercept + fits[1].slope * i) for i in times]


def _lines(points: list[Point], width: int) -> list[Point]:
    return [_line(points[max(0, i - width) : i + width + 1])[min(i, width)] for i in range(len(points))]


def _crossings(points: list[Point]) -> list[Point]:
    steps = [i for i in range(1, len(points)) if points[i] != points[i - 1]]
    if len(steps) < 2:
        return points
    at = {i: _mean(points[i - 1 : i + 1]) for i in steps}
    found = list(points)
    for before, after in itertools.pairwise(steps):
        (y0, x0), (y1, x1) = at[before], at[after]
        for i in range(before, after):
            share = (i - before + 0.5) / (after - before)
            found[i] = y0 + share * (y1 - y0), x0 + share * (x1 - x0)
    return found


def _of_places(things: list[Thing], seen: Seen, middle: Callable[[list[Point]], Point]) -> Seen:
    """An estimate for each place out of all of its draws, whatever sensor or device they are of."""
    draws: dict[int, list[Point]] = {}
    for t in things:
        if not t.moves:
            draws.setdefault(t.place, []).extend(seen[key(t)])
    middles = {place: middle([*dict.fromkeys(points)]) for place, points in draws.items()}
    return {key(t): seen[key(t)] if t.moves else [middles[t.place]] * len(t.true) for t in things}


def _middle_of_rings(points: list[Point], least: float, most: float) -> Point:
    """The middle of the largest part that all rings have in common, which may be two of them."""
    origin = points[0]
    vectors = [offset(origin, p) for p in points]
    step = most / 12
    inside = {(i, j) for i in range(-13, 14) for j in range(-13, 14)}
    for n, e in vectors:
        inside = {(i, j) for i, j in inside if least <= math.hypot(step * i - n, step * j - e) <= most}
    part = max(_connected(inside), key=len, default=None)
    if part is None:
        return _mean(points)
    return moved(origin, step * statistics.fmean(i for i, _ in part), step * statistics.fmean(j for _, j in part))


def _connected(cells: set[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    left, parts = set(cells), []
    while left:
        part, front = [], [left.pop()]
        while front:
            i, j = front.pop()
            part.append((i, j))
            near = {(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)} & left
            left -= near
            front += near
        parts.append(part)
    return parts


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
