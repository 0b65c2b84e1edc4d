"""Arbitrary tables and cells through the whole job: a row is delivered value for value, or rejected with a reason, and
nothing that SQLite can hold stops the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import Phase, given, settings

from edge_delta.core.cells import RawText, from_json
from edge_delta.source.kinds import affinity_of, kind_of
from tests.source.test_reader import DECLARED, ascii_lower, cells, names, numbers, quick, quoted, same
from tests.support import modes
from tests.support.tables import Place

KEY = "k_"
KEYS = {
    "a table with a rowid": f"{KEY} TEXT",
    "a table with an id": f"{KEY} INTEGER PRIMARY KEY",
    "a table without rowids": f"{KEY} TEXT PRIMARY KEY",
    "a view": f"{KEY} INTEGER PRIMARY KEY",
}
SUFFIXES = {"raw": "_0_raw", "schematized": "_1_schematized", "sanitized": "_2_sanitized"}

# A declared type is any run of words and numbers (https://sqlite.org/syntax/type-name.html).
words = st.text("ABEINTRLDOUCHXVGMSY", min_size=1, max_size=9).map(lambda word: f'"{word}"')
declared = st.one_of(
    st.sampled_from(DECLARED),
    st.lists(words, min_size=1, max_size=3).map(" ".join),
    st.builds("{}({},{})".format, words, st.integers(-9, 99), st.integers(0, 9)),
)
unshrunk = settings(quick, phases=[Phase.generate])  # making an example smaller takes minutes
# Nothing that makes text of a real number: the sensor's SQLite and ours may write another number of digits.
computed = st.sampled_from(("{c}", "typeof({c})", "-{c}", "{c} IS NULL", "1.0 / {c}", "'x'", "zeroblob(3)", "NULL"))


@dataclass(frozen=True)
class Made:
    """A table as SQL, and its rows.

    Attributes:
        kind: what sort of table.
        columns: name and declared type of each column that is written.
        computed: name, declared type, expression and storage of generated columns.
        rows: the cells.
    """

    kind: str
    columns: list
    computed: list
    rows: list

    def create(self) -> list[str]:
        plain = [f"{quoted(name)} {kind}" for name, kind in self.columns]
        made = [f"{quoted(n)} {kind} GENERATED ALWAYS AS ({sql}) {how}" for n, kind, sql, how in self.computed]
        rowids = " WITHOUT ROWID" if self.kind == "a table without rowids" else ""
        create = f"CREATE TABLE t ({', '.join([KEYS[self.kind], *plain, *made])}){rowids}"
        return [create, *(["CREATE VIEW v AS SELECT * FROM t"] if self.kind == "a view" else [])]

    def write(self, sensor):
        """Its path, and the rows as SQLite stores them, the key first."""
        path = sensor.path.with_name(f"h{next(numbers)}.db")
        sensor.open(path, wal=False)
        for sql in self.create():
            sensor.run(sql)
        into = ", ".join(quoted(name) for name, _ in self.columns)
        for key, row in enumerate(self.rows):
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(c, tuple) else "?" for c in row)
            plain = [c[1] if isinstance(c, tuple) else c for c in row]
            sensor.run(f"INSERT INTO t ({KEY}, {into}) VALUES (?, {marks})", key, *plain)
        return path, sensor.run("SELECT * FROM t")

    @property
    def kinds(self):
        """The kind of each column behind the key."""
        return [
            kind_of(bare := kind.replace('"', ""), affinity_of(bare)) for _, kind, *_ in self.columns + self.computed
        ]


@st.composite
def tables(draw, **fixed):
    """A table with columns of these names and types among others."""
    free = names.filter(lambda name: ascii_lower(name) not in {KEY, *fixed})
    columns = [(name, draw(kind)) for name, kind in fixed.items()]
    more = draw(st.lists(st.tuples(free, declared), min_size=1, max_size=5, unique_by=lambda c: ascii_lower(c[0])))
    taken = {ascii_lower(name) for name, _ in more}
    made = draw(st.lists(st.tuples(free, declared, computed, st.sampled_from(("STORED", "VIRTUAL"))), max_size=2))
    made = [(f"{n}_made{i}", kind, sql.format(c=quoted(draw(st.sampled_from(more))[0])), how)
            for i, (n, kind, sql, how) in enumerate(made) if f"{ascii_lower(n)}_made{i}" not in taken]  # fmt: skip
    columns = draw(st.permutations(columns + more))
    rows = draw(st.lists(st.tuples(*[cells] * len(columns)), min_size=1, max_size=6))
    return Made(draw(st.sampled_from(sorted(KEYS))), columns, made, rows)


def source_of(table):
    return {"sqlite_table_name": "v" if table.kind == "a view" else "t"}


def ahead(done):
    """Rows that wait because their time, which they are read in the order of, is ahead of the clock."""
    return sum(event["ahead"] for event in done.events if event["event"] == "table has no rowid")


def as_its_cells(ours, theirs):
    """A number in a column whose declaration is ambiguous, and that is a text or a real by the cells that it has."""
    if isinstance(theirs, bytes | str | RawText) or theirs is None or ours is None:
        return False
    return float(ours) == float(theirs)


def plain(cell):
    return bytes(cell) if isinstance(cell, RawText) else cell


@settings(unshrunk, max_examples=40)
@given(table=tables())
def test_any_table_arrives_value_for_value_or_with_a_reason(sensor, tmp_path, table):
    path, stored = table.write(sensor)
    place = Place(str(tmp_path / f"lake{next(numbers)}" / "t"))
    stamp = table.columns[0][0]
    done = modes.deliver(path, place, "raw", max_batch_size=3, timestamp_col=stamp, **source_of(table))
    assert done.complete, done.log
    rows = {str(row[0]): row[1:] for row in stored}
    kept = {str(row[0]): row[1:] for row in place.read("_0_raw").rows()} if place.exists("_0_raw") else {}
    rejected = place.read("_rejected").select("row", "reason").rows() if place.exists("_rejected") else []
    left = [list(from_json(row).values()) for row, reason in rejected if reason]
    if ahead(done):  # told to wait until their time has come
        assert len(kept) + len(left) + ahead(done) == len(rows)
        return
    assert len(kept) + len(left) == len(rows) == len(kept.keys() | {str(row[0]) for row in left})
    for key, row in kept.items():
        for kind, ours, theirs in zip(table.kinds, row, rows[key], strict=False):
            assert same(kind, ours, theirs) or as_its_cells(ours, theirs), (table.create(), kind, ours, theirs)
    for row in left:
        for ours, theirs in zip(map(plain, row[1:]), rows[str(row[0])], strict=True):
            assert ours == theirs or as_its_cells(ours, theirs), (table.create(), ours, theirs)
    path.unlink()


@settings(unshrunk, max_examples=20)
@given(table=tables(timestamp=declared, temperature=declared, note=st.just("TEXT")))
def test_nothing_that_sqlite_can_hold_stops_any_mode(sensor, tmp_path, table):
    path, stored = table.write(sensor)
    place = Place(str(tmp_path / f"lake{next(numbers)}" / "t"))
    wanted = [*SUFFIXES, "aggregated", "emergency"] if table.kind.startswith("a table with a") else list(SUFFIXES)
    rules = {
        "sanitize": {"missing": {"temperature": "forward_fill"}},
        "aggregate": {"aggregations": {"temperature": ["count"]}},
        "emergency": {"keyword_columns": ["note"]},
    }
    done = modes.deliver(
        path, place, wanted, flush=True, max_batch_size=3, timestamp_col="timestamp", **source_of(table), **rules
    )
    assert done.complete, done.log
    for mode, suffix in SUFFIXES.items():
        written = place.read(suffix).height if place.exists(suffix) else 0
        assert written + len(modes.rejected(place, mode)) + ahead(done) == len(stored), mode
    if "aggregated" in wanted:
        counted = modes.read(place, "_3_aggregated")["record_count"].sum() if place.exists("_3_aggregated") else 0
        assert counted + len(modes.rejected(place, "aggregated")) == len(stored)
    path.unlink()
