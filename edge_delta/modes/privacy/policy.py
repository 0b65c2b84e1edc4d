"""How places are displaced, and the numbers that the secret makes of it. Without Polars.

The displacement of `per_place` is one vector per device. What is published of a place is made of its cell alone, so
that no last digit, no average and no track shows more than the cell; and as the grid's place is as secret as the
vector, the published points fit every vector equally well: without knowing a true place, none is likelier than another.
A vector that changed from place to place would show itself in the distances between the points of a track (their strain
has the vector's direction in it), and in the average over a long one. The same bearing everywhere is no rigid motion of
a sphere, though: over some hundred kilometres the strain of a regular grid would show it (to 0.01 of the radius over
1,000 km). So every row of cells begins elsewhere and has a width of cells of its own.

The budget, as shares of the radius: vector + half a cell's diagonal + half a step's diagonal never exceed it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_delta.settings.sections import Settings

EARTH_RADIUS = 6_371_008.8
"""Mean radius in metres (IUGG)."""
METERS_A_DEGREE = math.pi * EARTH_RADIUS / 180
SHORTEST, LONGEST = 0.535, 0.765
"""The vector's length, as shares of the radius."""
CELL = 0.3
"""A cell's side, as a share of the radius: half of its diagonal is 0.213.

Half of a cell's area is farther than 0.4 sides from its middle: whoever guesses the vector by luck is still 0.12 of the
radius off along a track.
"""
STEP = 0.028
"""The step that coordinates are rounded to, as a share of the radius; half of its diagonal is 0.02."""
LEAST_RADIUS = 20.0
"""Metres; with five decimals half of a step's diagonal is 0.8 m then, 0.04 of the radius."""
DECIMALS = 5
MARK = "(displaced)"
"""The cell of a rejected row that says by which draw its coordinates are displaced; no column can be called that."""
_LEFT = (0.65, 0.43, 0.16, 0.12, 0.1)
_CELLS_PER_MEAN = 8
_DRAW = "gps_fuzzing_draw"
_CONSTRUCTION = 2
"""Counted up when the same secret gives other points than before: they are another draw then, and are called one."""
_UNIT = 2.0**-53

Strategy = Literal["per_place", "planar_laplace"]


class Policy(Struct, frozen=True):
    """How coordinates are displaced.

    Args:
        strategy: ``per_place``, one vector per device within the radius; or ``planar_laplace``, one draw per cell.
        radius_meters: no published point of ``per_place`` lies farther from the true one.
        epsilon: privacy parameter of ``planar_laplace`` in 1/metre; the mean displacement is 2/epsilon.
        cell_meters: side of the cells of ``planar_laplace``; None for an eighth of the mean displacement.
        secret: what all is derived from.
        device: this device; another one has another grid and other draws.
    """

    strategy: Strategy = "per_place"
    radius_meters: float = 500.0
    epsilon: float | None = None
    cell_meters: float | None = None
    secret: bytes = b""
    device: str = ""

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Policy({self.strategy})"

    def notes(self) -> dict[str, str]:
        """What is recorded with each commit: no coordinate, and of the secret eight bits that say that it is the same.

        The eight bits are made with the stretched key, so that trying secrets takes long, and let one in 256 pass.
        """
        return self._public() | {_DRAW: self.digest("draw").hex()[:2]}

    def may_be(self, draw: str) -> bool:
        """Whether a draw, as `draw_of` has it, is this policy's by all but the secret and the device.

        That costs nothing, where stretching the secret would be a third of a start that finds nothing to do.
        """
        told, public = draw.split(" "), self._public()
        names = sorted((*public, _DRAW))
        return len(told) == len(names) and all(public.get(n, v) == v for n, v in zip(names, told, strict=True))

    def _public(self) -> dict[str, str]:
        noted: dict[str, str] = {"gps_fuzzing": self.strategy}
        if self.strategy == "planar_laplace":
            noted["gps_fuzzing_epsilon"] = f"{self.epsilon:g}"
            noted["gps_fuzzing_cell_meters"] = f"{self.side:g}"
        else:
            noted["gps_fuzzing_radius_meters"] = f"{self.radius_meters:g}"
        return noted

    @property
    def reach(self) -> float:
        """Metres that published points usually lie within: the radius, or the mean displacement."""
        return 2 / (self.epsilon or 1.0) if self.strategy == "planar_laplace" else self.radius_meters

    @property
    def side(self) -> float:
        """The side of a cell in metres, at the most."""
        if self.strategy == "planar_laplace":
            return self.cell_meters or self.reach / _CELLS_PER_MEAN
        return CELL * self.radius_meters

    @property
    def decimals(self) -> int:
        """The decimals of published degrees, never more than five."""
        return max(0, min(DECIMALS, math.ceil(math.log10(METERS_A_DEGREE / (STEP * self.reach)))))

    def digest(self, purpose: str) -> bytes:
        """32 bytes for a purpose. The policy is part of the message: two of them have nothing in common."""
        return _digest(self, purpose)

    def _made(self, purpose: str) -> bytes:
        size = f"{self.radius_meters:g}" if self.strategy == "per_place" else f"{self.epsilon}\x1f{self.side:g}"
        message = f"{purpose}\x1f{_CONSTRUCTION}\x1f{self.strategy}\x1f{size}\x1f{self.device}"
        return hmac.digest(stretched(self.secret), message.encode(), "sha256")

    def rotation(self) -> tuple[tuple[float, float, float], ...]:
        """The rows of the matrix that turns the globe to where the grid has its poles.

        Uniform over all rotations: K. Shoemake, "Uniform Random Rotations", Graphics Gems III, 1992.
        """
        u, v, w = numbers(self.digest("grid"), 3)
        a, b = math.sqrt(1 - u), math.sqrt(u)
        x, y = a * math.sin(2 * math.pi * v), a * math.cos(2 * math.pi * v)
        z, q = b * math.sin(2 * math.pi * w), b * math.cos(2 * math.pi * w)
        return (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * q), 2 * (x * z + y * q)),
            (2 * (x * y + z * q), 1 - 2 * (x * x + z * z), 2 * (y * z - x * q)),
            (2 * (x * z - y * q), 2 * (y * z + x * q), 1 - 2 * (x * x + y * y)),
        )

    def first_row(self) -> float:
        """The share of a row of cells by which the first one lies beyond the grid's pole, in [0, 1)."""
        return numbers(self.digest("first row"), 1)[0]

    def rows_of_cells(self, rows: Iterable[int]) -> list[tuple[float, float]]:
        """Of each row of cells, in [0, 1): where in the circle it begins, and by what share its cells are narrower."""
        key = self.digest("rows")
        return [_row_of_cells(key, row) for row in rows]

    def vector(self) -> tuple[float, float]:
        """The displacement of ``per_place``: metres, uniform in area over the ring, and the bearing in radians."""
        u, v = numbers(self.digest("vector"), 2)
        share = math.sqrt(SHORTEST**2 + u * (LONGEST**2 - SHORTEST**2))
        return share * self.radius_meters, 2 * math.pi * v


@lru_cache(maxsize=64)
def _digest(policy: Policy, purpose: str) -> bytes:
    return policy._made(purpose)  # noqa: SLF001 - a frozen value's, remembered


@lru_cache(maxsize=16_384)
def _row_of_cells(key: bytes, row: int) -> tuple[float, float]:
    begins, more = numbers(hmac.digest(key, b"%d" % row, "sha256"), 2)
    return begins, more


@cache
def stretched(secret: bytes) -> bytes:
    """The key behind a secret: scrypt (RFC 7914) with 8 MB, so that trying weak secrets costs some 20 ms each."""
    return hashlib.scrypt(secret, salt=b"edge-delta places", n=2**13, r=8, p=1, dklen=32)


def numbers(digest: bytes, count: int) -> list[float]:
    """So many numbers in [0, 1), of eight bytes each."""
    return [(int.from_bytes(digest[8 * i : 8 * i + 8]) >> 11) * _UNIT for i in range(count)]


def left_of(draws: int) -> float:
    """The median error of the best known attack on so many draws of a place, as a share of the radius.

    Two draws lie on rings about the place, and three have hardly more than one spot in common. From `tests/attacks`.
    """
    return _LEFT[min(max(draws, 1), len(_LEFT)) - 1]


def cost_of(draws: int, *, exact: bool) -> str:
    """What so many draws of a place come to, in words.

    Args:
        draws: how many there are to be read.
        exact: whether one of them is the place itself.
    """
    if exact:
        return "of a place that is among them nothing is left"
    return f"the best known attack is {left_of(draws):.2f} of the radius off, not {left_of(1):.2f} as with one"


def draw_of(policy: Policy) -> str:
    """The draw in a few words: two that differ are two draws of each place."""
    return " ".join(value for _, value in sorted(policy.notes().items()))


def policy_of(settings: Settings) -> Policy:
    """The policy that the settings describe; their node id is the device's."""
    own, secret = settings.gps_fuzzing, settings.gps_fuzzing_secret
    return Policy(
        strategy="planar_laplace" if own.strategy == "planar_laplace" else "per_place",
        radius_meters=own.radius_meters,
        epsilon=own.epsilon,
        cell_meters=own.cell_meters,
        secret=secret.reveal().encode() if secret is not None else b"",
        device=settings.node_id or "",
    )
