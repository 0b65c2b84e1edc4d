"""What does not pass by itself ends with exit code 3 or 2, with the fact and the cure."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from edge_delta.core.errors import (
    AccessRefused,
    DiskFailed,
    NoSpace,
    ProtocolUnsupported,
    SchemaMismatch,
    StorageUnavailable,
    TableDamaged,
)
from edge_delta.core.model import Cursor
from edge_delta.core.questions import Question, named
from edge_delta.sinks import address
from edge_delta.sinks.delta.cursors import application_id
from edge_delta.sinks.delta.durable import Disk
from edge_delta.sinks.delta.sink import DeltaSink

APP = application_id("n1", "readings")


def frame(first, value=1.5):
    return pl.DataFrame({"id": [first], "value": [value]}, schema={"id": pl.Int64, "value": pl.Float64})


@pytest.fixture
def root(tmp_path):
    DeltaSink(str(tmp_path / "t"), {}, APP).append(frame(1), Cursor(rowid=1))
    return tmp_path / "t"


def rewrite(root, change):
    """As another writer makes it: the first commit with another protocol or schema."""
    path = root / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("\n".join(json.dumps(line) for line in lines))


def protocol(reader, writer, *features):
    def change(line):
        if "protocol" in line:
            line["protocol"] = {"minReaderVersion": reader, "minWriterVersion": writer}
            if features:
                line["protocol"] |= {"readerFeatures": features, "writerFeatures": features}

    return change


def deliver(root):
    DeltaSink(str(root), {}, APP).append(frame(2, None), Cursor(rowid=2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (protocol(9, 9), "cannot be read: Unsupported minimum reader version 9"),
        (protocol(3, 7, "someFuture"), "cannot be read: Feature 'someFuture' is not supported"),
        (protocol(3, 7, "catalogManaged"), "is managed by its catalog"),
    ],
)
def test_a_table_that_cannot_be_read_here_is_a_decision_with_its_cure(change, said, root):
    rewrite(root, change)
    with pytest.raises(ProtocolUnsupported, match=said) as error:
        deliver(root)
    assert error.value.exit_code == 3
    assert error.value.hint


def test_generated_columns_are_not_left_null_in_silence(root):
    def change(line):
        if "metaData" in line:
            schema = json.loads(line["metaData"]["schemaString"])
            expression = {"delta.generationExpression": "id * 2"}
            schema["fields"].append({"name": "twice", "type": "long", "nullable": True, "metadata": expression})
            line["metaData"]["schemaString"] = json.dumps(schema)
        protocol(1, 4)(line)

    rewrite(root, change)
    with pytest.raises(ProtocolUnsupported, match="computes twice from other columns"):
        deliver(root)


def test_rows_that_break_a_check_are_a_decision_that_tells_none_of_their_values(root):
    DeltaTable(str(root)).alter.add_constraint({"known": "value IS NOT NULL AND value > 1"})
    with pytest.raises(SchemaMismatch, match=r"1 rows break a CHECK") as error:
        DeltaSink(str(root), {}, APP).append(frame(2, 0.123), Cursor(rowid=2))
    assert "0.123" not in str(error.value)
    assert error.value.exit_code == 3


def test_a_torn_commit_in_a_store_is_a_decision(root):
    (root / "_delta_log" / f"{1:020}.json").write_text('{"comm')
    with pytest.raises(TableDamaged, match="torn or missing"):
        DeltaSink(str(root), {}, APP).committed()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_read_only_disk_is_a_decision(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], check=False).returncode:
        pytest.skip("no mounts")
    try:
        sink = DeltaSink(str(place / "t"), {}, APP)
        sink.append(frame(1), Cursor(rowid=1))
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        with pytest.raises(DiskFailed, match=r"is read-only\. Look at dmesg"):
            sink.append(frame(2), Cursor(rowid=2))
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("table_path", ["s3://lake/a#b/readings", "s3://lake/a?b/readings", "folder/a#b"])
def test_a_path_that_is_cut_off_in_silence_is_refused(table_path, sensor, folder, command):
    sensor.create()
    finished = command(sensor.path, folder, table_path=table_path).once()
    assert finished.code == 2
    assert "would not find again" in finished.error


def test_a_node_id_that_cuts_the_path_off_is_refused_and_named(sensor, folder, command, tmp_path):
    sensor.create()
    finished = command(sensor.path, folder, table_path=str(tmp_path / "{node_id}" / "t"), node_id="hall#7").once()
    assert finished.code == 2
    assert "Set another node_id" in finished.error
    assert not list(Path(tmp_path).glob("hall*"))


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda file: file.unlink(), StorageUnavailable, "a data file of .* is not there"),
        (lambda file: os.truncate(file, 40), TableDamaged, "a data file of table .* is torn: part-.*parquet"),
        (lambda file: file.write_bytes(file.read_bytes()[:4] + file.read_bytes()[204:]), TableDamaged, "is torn"),
    ],
    ids=["gone", "cut", "other bytes"],
)
def test_a_data_file_that_cannot_be_read_is_none_of_the_rows_that_wait(root, damage, kind, said):
    [file] = root.glob("*.parquet")
    damage(file)
    with pytest.raises(kind, match=said):
        DeltaSink(str(root), {}, APP).ask(Question((), named("id", "value")))


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (errno.ENOTDIR, StorageUnavailable, "each part of the path is a folder"),
        (errno.EISDIR, StorageUnavailable, "each part of the path is a folder"),
        (errno.ELOOP, StorageUnavailable, "each part of the path is a folder"),
        (errno.ENAMETOOLONG, StorageUnavailable, "each part of the path is a folder"),
        (errno.ESTALE, StorageUnavailable, "its disk is mounted"),
        (errno.EIO, StorageUnavailable, "its disk is mounted"),
        (errno.ENOSPC, NoSpace, "Free some space"),
        (errno.EROFS, DiskFailed, "Look at dmesg"),
        (errno.EACCES, AccessRefused, "permission to read and write the folder"),
        (errno.EPERM, AccessRefused, "permission to read and write the folder"),
    ],
)
def test_whatever_a_folder_answers_to_a_look_at_its_last_commit_is_one_of_our_errors(
    code, kind, said, tmp_path, monkeypatch
):
    root = tmp_path / "t"
    sink = DeltaSink(str(root), {}, APP, disk=Disk(root))
    sink.append(frame(1), Cursor(rowid=1))

    def answer(_disk, version):
        raise OSError(code, os.strerror(code), f"{version}.json")

    with monkeypatch.context() as broken:
        broken.setattr(Disk, "same", answer)
        with pytest.raises(kind, match=said):
            sink.append(frame(2), Cursor(rowid=2))
    sink.append(frame(2), Cursor(rowid=2))
    assert sorted(pl.read_delta(str(root))["id"]) == [1, 2]


def test_what_delta_rs_meets_while_a_cursor_is_asked_for_is_one_of_our_errors(tmp_path, monkeypatch):
    sink = DeltaSink(str(tmp_path / "t"), {}, APP)
    sink.append(frame(1), Cursor(rowid=1))

    def answer(*_):
        raise OSError("Stale file handle (os error 116)")

    monkeypatch.setattr(DeltaTable, "transaction_version", answer)
    with pytest.raises(StorageUnavailable, match="Stale file handle"):
        sink.witnessed(0)


@pytest.mark.parametrize("name", ["401", "credentials"])
def test_a_word_in_the_path_of_a_folder_tells_nothing_of_a_store(name, tmp_path):
    uri = str(tmp_path / name / "t")
    told = address.unavailable(uri, NotADirectoryError(errno.ENOTDIR, "Not a directory", uri))
    assert type(told) is StorageUnavailable
    assert "each part of the path is a folder" in str(told)


def test_a_folder_that_may_not_be_written_is_told_with_its_permissions_and_no_bucket(tmp_path):
    uri = str(tmp_path / "t")
    told = address.unavailable(uri, DeltaError("Generic LocalFileSystem error: Permission denied (os error 13)"))
    assert isinstance(told, AccessRefused)
    assert f"Give user {os.getuid()} permission" in str(told)
    assert "bucket" not in str(told)
    assert "credentials" not in str(told)
