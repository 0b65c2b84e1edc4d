"""The compiled part: cells come out as SQLite has them, in columns of one kind, or not at all."""

from __future__ import annotations

import contextlib
import gc
import re
from contextlib import closing
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_delta.core.counting import SUM_BITS
from edge_delta.core.errors import ConfigurationError, SourceUnavailable
from edge_delta.source import Database, columns
from edge_delta.source.columns import TEXT_AS_BYTES, statement

SOURCE = Path(columns.__file__).with_name("columns.c")
NO_TABLE = "(VALUES (1), (2), (3))"
TYPES = {"l": pl.Int64, "g": pl.Float64, "u": pl.String, "z": pl.Binary, "b": pl.Boolean, "t": pl.Binary}

long_ints = st.integers(-(2**63), 2**63 - 1)
reals = st.floats(allow_nan=False)
bytes_near_utf8 = st.lists(
    st.one_of(
        st.sampled_from([0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC]),
        st.sampled_from([0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]),
        st.integers(0, 255),
    ),
    max_size=40,
).map(bytes)
CELLS = {
    "l": long_ints,
    "g": reals,
    "u": st.text(max_size=40),
    "z": st.binary(max_size=40),
    "b": st.sampled_from([0, 1]),
    "t": st.text(max_size=40).map(str.encode),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A database without a table: the rows of these tests are in their statements."""
    path = tmp_path_factory.mktemp("source") / "empty.db"
    path.touch()
    return path


@pytest.fixture(scope="module")
def database(path):
    with closing(Database(path)) as database:
        yield database


def literal(cell, kind):
    if cell is None:
        return "NULL"
    if isinstance(cell, float):
        return repr(cell).replace("inf", "9e999")
    if isinstance(cell, bytes):
        return f"CAST(x'{cell.hex()}' AS TEXT)" if kind in "ut" else f"x'{cell.hex()}'"
    if isinstance(cell, str):
        return f"CAST(x'{cell.encode().hex()}' AS TEXT)"
    return str(cell)


def read(database, kinds, rows, *, expected=None):
    cells = {f"c{i}": (kind, f"column{i + 1}") for i, kind in enumerate(kinds)}
    lines = (", ".join(literal(cell, kind) for cell, kind in zip(row, kinds, strict=True)) for row in rows)
    source = "(VALUES " + ", ".join(f"({line})" for line in lines) + ")"
    return database.frame(cells, source, rows=len(rows) if expected is None else expected)


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from("lguzbt"), min_size=1, max_size=6))
    row = st.tuples(*(st.none() | CELLS[kind] for kind in kinds))
    return kinds, draw(st.lists(row, min_size=1, max_size=70))


@given(tables())
@settings(max_examples=150, deadline=None)
def test_cells_come_out_as_they_are(database, table):
    kinds, rows = table
    frame = read(database, kinds, rows)
    assert frame is not None
    assert frame.dtypes == [TYPES[kind] for kind in kinds]
    assert frame.rows() == [tuple(row) for row in rows]


def test_more_rows_than_expected_come_out_too(database):
    many = "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) SELECT i FROM n)"
    text = "CASE WHEN i % 3 THEN 'more than twelve bytes: ' || i END"
    cells = {"i": ("l", "i"), "x": ("g", "i / 2.0"), "t": ("u", text), "b": ("b", "CASE WHEN i % 5 THEN i % 2 END")}
    frame = database.frame(cells, many, rows=1)
    assert frame.rows() == [
        (i, i / 2, f"more than twelve bytes: {i}" if i % 3 else None, bool(i % 2) if i % 5 else None)
        for i in range(10_000)
    ]


STORED_AS = {"l": "l", "g": "g", "u": "u", "z": "z", "b": "l", "t": "u"}
EXAMPLES = {"l": "1", "g": "1.0", "u": "'a'", "z": "x'61'"}


@pytest.mark.parametrize("kind", STORED_AS)
@pytest.mark.parametrize("other", EXAMPLES)
def test_a_cell_of_another_kind_gives_no_frame(database, kind, other):
    own = EXAMPLES[STORED_AS[kind]]
    cells = {"c": (kind, f"CASE column1 WHEN 2 THEN {EXAMPLES[other]} ELSE {own} END"), "d": ("l", "column1")}
    frame = database.frame(cells, NO_TABLE, rows=3)
    assert (frame is not None) == (other == STORED_AS[kind])


@pytest.mark.parametrize("value", [2, -1, 2**62])
def test_a_flag_is_0_or_1(database, value):
    assert read(database, "b", [(1,), (value,)]) is None


@given(bytes_near_utf8)
@settings(max_examples=600, deadline=None)
def test_text_is_utf8_where_python_says_so(database, raw):
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        assert read(database, "u", [(raw,)]) is None
        assert read(database, "t", [(raw,)]).item() == raw
    else:
        assert read(database, "u", [(raw,)]).item() == text


def test_no_rows_are_a_frame_without_rows(database):
    cells = {kind: (kind, "column1") for kind in "lguzbt"}
    frame = database.frame(cells, f"{NO_TABLE} WHERE column1 > 9", rows=0)
    assert frame.schema == {kind: TYPES[kind] for kind in "lguzbt"}
    assert frame.height == 0


def test_more_columns_than_a_function_has_arguments(database):
    cells = {f"c{i}": ("l", f"column1 + {i}") for i in range(2_000)}
    frame = database.frame(cells, NO_TABLE, rows=3)
    assert frame.columns == list(cells)
    assert frame.row(2) == tuple(3 + i for i in range(2_000))
    cells["c1999"] = ("l", "'text'")  # in another call than the first
    assert database.frame(cells, NO_TABLE, rows=3) is None


def test_text_of_a_utf16_database_comes_as_utf8(sensor):
    sensor.run("PRAGMA encoding = 'UTF-16le'")
    sensor.run("CREATE TABLE t (a TEXT)")
    texts = ["", "kurz", "länger als zwölf Bytes", "\U0001f321 22 °C", "\U0001f321" * 9]
    sensor.many("INSERT INTO t VALUES (?)", [(t,) for t in texts])
    with closing(Database(sensor.path)) as database:
        frame = database.frame({"a": ("u", "a"), "b": (TEXT_AS_BYTES, "a")}, "t", rows=5)
    assert frame.rows() == [(t, t.encode()) for t in texts]


# -- memory


def test_a_frame_outlives_its_connection(path):
    with closing(Database(path)) as database:
        frame = read(database, "ulb", [("more than twelve bytes", 7, 1), (None, None, None)])
    gc.collect()
    assert frame.rows() == [("more than twelve bytes", 7, True), (None, None, None)]


def resident_megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


MEGABYTES_8 = "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) SELECT i FROM n)"


@pytest.mark.parametrize(
    ("cell", "taken"),
    [
        pytest.param("i", True, id="taken"),
        pytest.param("i", False, id="left"),
        pytest.param("CASE WHEN i < 999999 THEN i ELSE 'text' END", True, id="of another kind at the end"),
        pytest.param("CASE WHEN i < 999999 THEN i ELSE abs(-9223372036854775808) END", True, id="torn by an error"),
    ],
)
def test_what_was_read_is_freed(path, cell, taken):
    before = None
    for i in range(20):
        with closing(Database(path)) as database, contextlib.suppress(SourceUnavailable):
            if taken:
                database.frame({"i": ("l", cell)}, MEGABYTES_8, rows=1_000_000)
            else:
                database.rows(statement({"i": ("l", cell)}, MEGABYTES_8, rows=1_000_000))
        before = resident_megabytes() if i == 4 else before
    assert resident_megabytes() - before < 40  # 15 reads of 8 MB


def test_a_misfit_among_more_columns_than_one_call_takes_leaves_nothing_of_the_other_calls(path):
    with closing(Database(path)) as database:
        cells = {f"c{i}": ("l", f"i + {i}") for i in range(510)} | {"bad": ("l", "'text'")}
        some = MEGABYTES_8.replace("999999", "4999")
        before = 0.0
        for i in range(25):
            assert database.frame(cells, some, rows=5_000) is None
            before = resident_megabytes() if i == 4 else before
        assert resident_megabytes() - before < 40


# -- what it refuses


@pytest.mark.parametrize("call", ["arrow_columns('x', 1, 1)", "arrow_columns('ll', 1, 1)", "arrow_columns(NULL, 1, 1)"])
def test_a_call_that_makes_no_sense_is_an_error(database, call):
    with pytest.raises(SourceUnavailable, match="a letter of"):
        database.rows(f"SELECT {call}")


def test_a_view_of_the_database_cannot_call_it(sensor):
    sensor.run("CREATE TABLE t (a INTEGER)")
    sensor.run("CREATE VIEW v AS SELECT arrow_columns('l', 1, a) FROM t")
    with closing(Database(sensor.path)) as database, pytest.raises(SourceUnavailable, match="unsafe use"):
        database.rows("SELECT * FROM v")


def test_both_sides_call_the_kinds_by_the_same_letters():
    [inside] = re.findall(r"typedef enum \{([^}]*)\} Kind;", SOURCE.read_text(encoding="utf-8"))
    theirs = dict(re.findall(r"^ *(\w+) = '(\w)',", inside, re.MULTILINE))
    ours = {kind.name: letter for kind, letter in columns.KINDS.items()}
    assert ours.pop("TIMESTAMP") == ours["TEXT"]  # times come as they are written
    assert theirs == ours | {"TEXT_AS_BYTES": columns.TEXT_AS_BYTES}


def test_an_installation_without_the_compiled_part_says_so(path, monkeypatch):
    monkeypatch.setattr(columns, "LIBRARY", path.with_name("gone.so"))
    with closing(Database(path)) as database, pytest.raises(ConfigurationError, match=r"compiled part.*Install"):
        database.rows("SELECT 1")


def test_nothing_else_can_be_loaded_into_a_connection(database):
    with pytest.raises(SourceUnavailable, match="not authorized"):
        database.rows("SELECT load_extension('anything')")


rows_of_a_sum = st.lists(
    st.tuples(long_ints, st.one_of(st.none(), long_ints, reals, st.text(), st.binary())), max_size=8
)


def summed(database, rows):
    lines = ", ".join(f"({key}, {literal(cell, 'z')})" for key, cell in rows)
    return database.scalar(f"SELECT arrow_sum(column1, column2) FROM (VALUES {lines})") if rows else 0


@given(rows_of_a_sum, st.randoms(use_true_random=False))
def test_a_sum_tells_rows_apart_and_not_their_order(database, rows, random):
    found = summed(database, rows)
    assert 0 <= found < 2**SUM_BITS
    assert found == summed(database, random.sample(rows, len(rows)))
    assert (found + summed(database, [(1, "a")])) % 2**SUM_BITS == summed(database, [*rows, (1, "a")])


def test_a_sum_depends_on_each_key_and_on_the_kind_and_bytes_of_each_cell(database):
    cells = [None, 0, 1, 0.0, "", "0", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", b"", b"0"]
    rows = [(key, cell) for key in (1, 2, 2**62) for cell in cells]
    assert len({summed(database, [one]) for one in rows}) == len(rows)
    assert len({summed(database, pair) for pair in combinations(rows, 2)}) == len(rows) * (len(rows) - 1) // 2
