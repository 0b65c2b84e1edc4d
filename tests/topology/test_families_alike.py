"""Files that rotate and are alike: copies beside each other, and files whose delivered rows were updated."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from edge_delta.core.errors import FileUnsure
from tests.support.rotating import DAY, Files, assert_each_once, delivered, raw

if TYPE_CHECKING:
    from pathlib import Path

EVERY = "UPDATE readings SET temperature = temperature + 1, humidity = humidity + 1"


def copied(files: Files, path: Path, name: str) -> Path:
    copy = files.folder / name
    shutil.copyfile(path, copy)
    return copy


def test_copies_that_are_found_together_bring_their_rows_once(files, folder):
    path = files.day(1, 50)
    files.rest()
    copied(files, path, "readings-0001 (copy).db")
    files.day(1, 10, first=900)
    files.rest()
    copied(files, path, "readings-0000.db")
    files.day(2, 5)
    files.rest()
    raw(files, folder)
    raw(files, folder)
    assert_each_once(files, folder)


@pytest.mark.parametrize("together", [True, False])
def test_a_copy_that_went_on_by_itself_is_left_to_a_person_also_when_its_file_went_on_further(files, folder, together):
    path = files.day(1, 50)
    files.rest()
    if not together:
        raw(files, folder)
    copied(files, path, "readings-copy.db")
    files.day(1, 10, first=900)
    files.day(1, 3, first=5_000, name="readings-copy.db")
    files.rest()
    with pytest.raises(FileUnsure, match="goes on with rows of its own"):
        raw(files, folder)
    (files.folder / "readings-copy.db").unlink()
    raw(files, folder)
    files.written = files.written[:60]
    assert_each_once(files, folder)


def test_an_updated_row_does_not_make_a_copy_another_file(files, folder):
    path = files.day(1, 50)
    files.rest()
    raw(files, folder)
    copied(files, path, "readings-copy.db")
    files.sensor.open(path)
    files.sensor.run(f"{EVERY} WHERE id = 50")
    files.day(1, 10, first=900)
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("later", [False, True])
def test_after_the_loss_of_the_state_directory_a_copy_of_a_file_that_is_there_brings_nothing(
    files, folder, which, later
):
    paths = [files.day(day, 50) for day in (1, 2, 3)]
    files.rest()
    raw(files, folder)
    shutil.rmtree(files.folder / "state")
    if later:
        files.day(4, 50)
        files.rest()
        raw(files, folder)
    copied(files, paths[which], "readings-0000.db")
    raw(files, folder)
    assert_each_once(files, folder)


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_an_update_of_all_rows_is_no_other_file(files, folder, rows, rewritten):
    path = files.day(1, rows)
    files.day(2, 5)
    files.rest()
    raw(files, folder)
    files.sensor.open(path)
    files.sensor.run(EVERY)
    files.day(1, 3, first=900)
    files.rest()
    if rewritten:
        copied(files, path, "copy").replace(path)
    raw(files, folder)
    assert_each_once(files, folder)


def test_a_file_of_dates_that_was_made_again_or_updated_is_left_to_a_person(files, folder):
    path = files.day(1, 3)
    files.sensor.run("UPDATE readings SET timestamp = '2026-01-02'")
    files.day(2, 5)
    files.rest()
    raw(files, folder)
    path.rename(files.folder / "kept")  # so that the next one cannot have its inode
    files.day(1, 4)
    files.sensor.run(f"{EVERY}, timestamp = '2026-01-02'")
    files.rest()
    with pytest.raises(FileUnsure, match="cannot be told"):
        raw(files, folder)


@pytest.mark.parametrize("name", ["readings-0001.db", "readings-0003.db"])
def test_a_copied_and_renamed_file_with_an_updated_first_row_is_the_one_that_it_was(files, folder, name):
    path = files.day(1, 50)
    files.rest()
    raw(files, folder)
    files.sensor.open(path)
    files.sensor.run(f"{EVERY} WHERE id = 1")
    files.rest()
    copied(files, path, "copy")
    path.unlink()
    files.day(2, 5)
    files.rest()
    (files.folder / "copy").rename(files.folder / name)
    files.day(1, 3, first=900, name=name)
    files.rest()
    raw(files, folder)
    assert_each_once(files, folder)


def test_a_vacuum_that_numbers_rows_afresh_is_left_to_a_person(files, folder):
    for day in (1, 2):
        files.sensor.open(files.folder / f"readings-{day}.db")
        files.sensor.run("CREATE TABLE readings (sensor_id, timestamp, temperature, humidity, status_code)")
        files.sensor.add(20, start=day * DAY)
    files.rest()
    raw(files, folder)
    files.sensor.open(files.folder / "readings-1.db")
    files.sensor.run("DELETE FROM readings WHERE rowid < 4")
    files.sensor.run("VACUUM")
    files.rest()
    with pytest.raises(FileUnsure, match="VACUUM"):
        raw(files, folder)
    assert max(delivered(folder).values()) == 1
