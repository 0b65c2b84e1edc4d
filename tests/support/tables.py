"""Delta tables read back by two readers, and compared with SQLite."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from deltalake import DeltaTable

from tests.support.weed import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Place:
    """Where the tables of one test are.

    Attributes:
        base: what ``--table-path`` gets.
        environment: what the command needs to write there.
        url: the S3 server for readers, None for a folder.
    """

    base: str
    environment: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """Storage options for delta-rs and Polars."""
        if self.url is None:
            return {}
        return {
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_endpoint_url": self.url,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }

    def uri(self, suffix: str) -> str:
        return self.base + suffix

    def table(self, suffix: str = "_1_schematized") -> DeltaTable:
        return DeltaTable(self.uri(suffix), storage_options=self.options or None)

    def exists(self, suffix: str) -> bool:
        return DeltaTable.is_deltatable(self.uri(suffix), storage_options=self.options or None)

    def read(self, suffix: str = "_1_schematized") -> pl.DataFrame:
        """The table as delta-rs and Polars see it."""
        table = self.table(suffix)
        return pl.scan_delta(table, storage_options=self.options or None, credential_provider=None).collect()

    def read_by_duckdb(self, suffix: str = "_1_schematized") -> pl.DataFrame:
        """The table as DuckDB sees it, times as microseconds."""
        with duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        ) as c:
            c.execute(f"LOAD '{extension('delta')}'")
            if self.url is not None:
                c.execute(f"LOAD '{extension('httpfs')}'")
                host = self.url.removeprefix("http://")
                c.execute(
                    f"CREATE SECRET (TYPE s3, KEY_ID '{ACCESS_KEY}', SECRET '{SECRET_KEY}', ENDPOINT '{host}', "
                    "REGION 'us-east-1', URL_STYLE 'path', USE_SSL false)"
                )
            scan = f"delta_scan('{self.uri(suffix)}')"
            described = c.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
            picked = ", ".join(
                f"epoch_us({quoted(name)}) AS {quoted(name)}" if kind.startswith("TIMESTAMP") else quoted(name)
                for name, kind, *_ in described
            )
            found = c.execute(f"SELECT {picked} FROM {scan}")
            names = [d[0] for d in found.description]
            return pl.DataFrame(found.fetchall(), schema=names, orient="row", infer_schema_length=None)


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


@functools.cache
def extension(name: str) -> str:
    """The file of a DuckDB extension that a package brings; nothing is downloaded."""
    package = importlib.import_module(f"duckdb_extension_{name}")
    [file] = Path(package.__file__ or "").parent.glob(f"extensions/v{duckdb.__version__}/{name}.duckdb_extension")
    return str(file)


def micros(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with times as microseconds, as DuckDB's reader gives them here."""
    stamps = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return frame.with_columns(pl.col(name).cast(pl.Int64) for name in stamps)


def assert_both_readers_agree(place: Place, suffix: str, key: str) -> pl.DataFrame:
    """Both readers see the same rows; returned as Polars has them, in the order of the key."""
    ours, theirs = place.read(suffix).sort(key), place.read_by_duckdb(suffix).sort(key)
    assert ours.columns == theirs.columns
    assert micros(ours).rows() == theirs.rows()
    return ours


def assert_each_once(found: Iterable[Any], expected: Iterable[Any]) -> None:
    """No element of ``expected`` is missing, none is there twice, and nothing else is there."""
    found, expected = list(found), set(expected)
    missing, strange = expected - set(found), set(found) - expected
    assert not missing, f"{len(missing)} missing, for example {sorted(missing, key=repr)[:5]}"
    assert not strange, f"{len(strange)} that should not be there, for example {sorted(strange, key=repr)[:5]}"
    assert len(found) == len(expected), f"{len(found) - len(expected)} of {len(expected)} are there twice"


def assert_raw_equals(place: Place, rows: list[tuple[Any, ...]], columns: list[str]) -> None:
    """The raw table holds exactly these SQLite rows (id first), cell for cell, types included."""
    table = assert_both_readers_agree(place, "_0_raw", "source_rowid")
    found = table.select(columns).rows()
    assert len(found) == len(rows)
    for ours, theirs in zip(found, sorted(rows, key=lambda row: row[0]), strict=True):
        assert [(type(c), c) for c in ours] == [(type(c), c) for c in theirs]


def assert_plain_protocol(place: Place, suffix: str) -> None:
    """Reader version 1, writer version 2, no table features."""
    protocol = place.table(suffix).protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert not protocol.reader_features
    assert not protocol.writer_features
