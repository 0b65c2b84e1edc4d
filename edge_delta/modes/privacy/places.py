"""Which cell each place is in, by `places.c`, which says what it does; `grid` says why."""

from __future__ import annotations

from ctypes import CDLL, Structure, addressof, byref, c_byte, c_double, c_int, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from edge_delta.core.capsules import Exported, stream_in
from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIBRARY = Path(__file__).with_name("libplaces.so")


class Grid(Struct, frozen=True):
    """The grid without what is drawn for each row.

    Args:
        rotation: the rows of the matrix that turns the globe.
        height: of a row of cells, in radians.
        first: the share of a row by which the first one lies beyond the pole.
        rows: how many fit from pole to pole.
    """

    rotation: tuple[tuple[float, float, float], ...]
    height: float
    first: float
    rows: int


class Cells(Struct, frozen=True):
    """The cells that places are in.

    Attributes:
        codes: for each place the index of its cell, null where it is null or no place on the globe.
        row: of each cell, the index of its row in ``drawn``.
        column: of each cell, which one of its row it is.
        drawn: what was drawn of the distinct rows.
    """

    codes: pl.Series
    row: pl.Series
    column: pl.Series
    drawn: pl.DataFrame


def cells_of(places: pl.DataFrame, grid: Grid, draw: Callable[[pl.Series], pl.DataFrame]) -> Cells:
    """The cells of places.

    Args:
        places: ``y`` and ``x`` in degrees.
        grid: the grid.
        draw: makes ``begins`` and ``cells``, among others, of the numbers of distinct rows of cells.

    Raises:
        ConfigurationError: if this installation has no compiled part.
    """
    library, begun = _library(), c_void_p()
    y, x = (places[name].cast(pl.Float64).rechunk().__arrow_c_stream__() for name in ("y", "x"))
    numbers = [*(number for row in grid.rotation for number in row), grid.height, grid.first, float(grid.rows)]
    out = [_Column() for _ in range(4)]
    try:
        _told(library.places_begin(stream_in(y), stream_in(x), _doubles(numbers), byref(out[0]), byref(begun)))
        drawn = draw(out[0].taken())
        begins, cells = (_doubles(drawn[name].to_list()) for name in ("begins", "cells"))
        _told(library.places_end(begun, begins, cells, *(byref(column) for column in out[1:])))
    finally:
        library.places_free(begun)
    codes, row, column = (column.taken() for column in out[1:])
    return Cells(codes, row, column, drawn)


class _Column(Structure):
    """Room for an ArrowSchema and an ArrowArray on any machine with addresses of 64 bits."""

    _fields_ = (("schema", c_byte * 72), ("array", c_byte * 80))

    def taken(self) -> pl.Series:
        """The column, once."""
        return pl.Series(Exported(addressof(self.schema), addressof(self.array)))


def _doubles(numbers: Sequence[float]) -> object:
    return (c_double * len(numbers))(*numbers)


def _told(code: int) -> None:
    if code:
        raise OSError(code, "the cells of places could not be found")


@cache
def _library() -> CDLL:
    library = CDLL(str(LIBRARY))
    library.places_begin.argtypes = [c_void_p] * 5
    library.places_end.argtypes = [c_void_p] * 6
    library.places_begin.restype = library.places_end.restype = c_int
    library.places_free.argtypes, library.places_free.restype = [c_void_p], None
    return library


def must_be_there() -> None:
    """Say it at the start if places cannot be displaced.

    Raises:
        ConfigurationError: if this installation has no compiled part.
    """
    if not LIBRARY.exists():
        raise ConfigurationError(
            f"there is no {LIBRARY}, the compiled part that displaces places",
            "Install edge-delta with pip, which builds it, from a wheel or from its sources",
        )
