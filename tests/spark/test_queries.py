"""Ten questions to a table of each mode: Spark, DuckDB, Polars and delta-rs's DataFusion answer the same."""

from __future__ import annotations

import math
import time
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import QueryBuilder

from tests.spark.conftest import ROWS, collected, delivered
from tests.spark.queries import EMPTY, QUERIES
from tests.support.tables import Place, extension

ENGINES = ("spark", "duckdb", "polars", "datafusion")
ALL = [(suffix, name) for suffix, queries in QUERIES.items() for name in queries]
MILLION = 1_000_000


class Engines:
    """The four engines over the tables of one place; each table is called ``t`` and its suffix."""

    def __init__(self, spark: Any, place: Place) -> None:
        self._spark = spark
        self._handles = {suffix: place.table(suffix) for suffix in QUERIES}
        self._duckdb = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": 2})
        self._duckdb.execute(f"LOAD '{extension('delta')}'")
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self.seconds = dict.fromkeys(ENGINES, 0.0)
        for suffix in QUERIES:
            uri = place.uri(suffix)
            spark.read.format("delta").load(uri).createOrReplaceTempView(f"t{suffix}")
            self._duckdb.execute(f"CREATE VIEW t{suffix} AS SELECT * FROM delta_scan('{uri}')")

    def close(self) -> None:
        self._duckdb.close()

    def answer(self, engine: str, suffix: str, name: str) -> list[tuple[Any, ...]]:
        """The rows, in an order of their own; numbers as floats, times as microseconds."""
        started = time.perf_counter()
        frame = getattr(self, f"_ask_{engine}")(suffix, QUERIES[suffix][name].replace("{t}", f"t{suffix}"))
        self.seconds[engine] += time.perf_counter() - started
        return sorted((tuple(map(plain, row)) for row in _in_micros(frame).rows()), key=repr)

    def _ask_spark(self, _: str, sql: str) -> pl.DataFrame:
        return collected(self._spark.sql(sql))

    def _ask_duckdb(self, _: str, sql: str) -> pl.DataFrame:
        return self._duckdb.execute(sql).pl()

    def _ask_polars(self, suffix: str, sql: str) -> pl.DataFrame:
        return pl.SQLContext({f"t{suffix}": pl.scan_delta(self._handles[suffix])}).execute(sql).collect()

    def _ask_datafusion(self, suffix: str, sql: str) -> pl.DataFrame:
        return pl.DataFrame(QueryBuilder().register(f"t{suffix}", self._handles[suffix]).execute(sql).read_all())


def _in_micros(frame: pl.DataFrame) -> pl.DataFrame:
    stamps = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime)]
    return frame.with_columns(pl.col(n).dt.timestamp("us") for n in stamps)


def plain(cell: Any) -> Any:
    return cell if isinstance(cell, str | None) else float(cell)


def same(one: Any, other: Any) -> bool:
    """Averages may differ in their last digits, as the order of adding does."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def assert_all_answer_the_same(engines: Engines, suffix: str, name: str) -> None:
    ours = engines.answer("spark", suffix, name)
    assert (not ours) == (name in EMPTY)
    for engine in ENGINES[1:]:
        theirs = engines.answer(engine, suffix, name)
        assert len(theirs) == len(ours), engine
        for mine, other in zip(ours, theirs, strict=True):
            assert all(map(same, mine, other)), (engine, mine, other)


@pytest.fixture(scope="module")
def engines(spark, tables):
    there = Engines(spark, tables)
    yield there
    there.close()


@pytest.mark.parametrize(("suffix", "name"), ALL, ids=[f"{s[3:]}-{n}" for s, n in ALL])
def test_four_engines_give_the_same_answer(engines, suffix, name):
    assert_all_answer_the_same(engines, suffix, name)


def test_there_are_ten_questions_to_a_table_of_each_mode():
    assert {suffix: len(queries) for suffix, queries in QUERIES.items()} == dict.fromkeys(QUERIES, 10)
    assert ROWS * 50 == MILLION


@pytest.mark.slow
def test_four_engines_give_the_same_answers_for_a_million_rows(spark, tmp_path, capsys):
    place = delivered(tmp_path, MILLION)
    engines = Engines(spark, place)
    assert place.read("_0_raw").height == MILLION
    for suffix, name in ALL:
        assert_all_answer_the_same(engines, suffix, name)
    engines.close()
    sizes = ", ".join(f"{s[3:]} {place.table(s).count():,}" for s in QUERIES)
    took = ", ".join(f"{engine} {seconds:.1f} s" for engine, seconds in engines.seconds.items())
    with capsys.disabled():
        print(f"\n{len(ALL)} questions, no difference; rows: {sizes}; {took}")  # noqa: T201 - the figures are asked for
