"""One connection for all who read a file, and none who is misled by what another of them does."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_delta.core.model import Cursor
from edge_delta.source import Database, SQLiteSource
from edge_delta.source.connections import Connections


def open_files(path):
    """How often this process has a file open (proc(5))."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(1 for link in links if link.exists() and link.resolve() == path.resolve())


@pytest.fixture
def two(sensor):
    """Two tables of one file."""
    connections = Connections()
    sources = []
    sensor.run("PRAGMA journal_mode=DELETE")  # so that a file can take the place of another one by itself
    for table in ("a", "b"):
        sensor.create(table)
        sensor.add(10, table)
        sources.append(SQLiteSource(Database(sensor.path, shared=connections), table))
    yield sources
    for source in sources:
        source.reopen()
    assert open_files(sources[0].path) == 0


def test_a_file_is_opened_once_however_many_tables_are_read_from_it(two, sensor):
    assert [source.waiting(Cursor()).rows for source in two] == [10, 10]
    both = open_files(sensor.path)
    two[0].reopen()
    assert open_files(sensor.path) == both > 0
    assert two[1].waiting(Cursor()).rows == 10


def test_each_of_them_sees_by_itself_that_something_was_written(two, sensor):
    assert [source.changed() for source in two] == [True, True]
    assert [source.changed() for source in two] == [False, False]
    sensor.add(1, "b", start=10)
    assert two[0].changed()
    assert two[1].changed()


def test_who_has_not_seen_yet_that_the_file_was_replaced_reads_the_old_one_to_its_end(two, sensor, tmp_path):
    assert [source.waiting(Cursor()).rows for source in two] == [10, 10]
    other = tmp_path / "other.db"
    sensor.open(other, wal=False)
    sensor.create("a")
    sensor.create("b")
    sensor.add(3, "a")
    sensor.add(4, "b")
    other.replace(two[0].path)
    assert two[0].moved()
    two[0].reopen()
    assert two[0].waiting(Cursor()).rows == 3
    assert two[1].moved()
    assert two[1].waiting(Cursor()).rows == 10
    two[1].reopen()
    assert two[1].waiting(Cursor()).rows == 4
