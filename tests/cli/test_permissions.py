"""What this user may not read or write is told in one line: what it is, where, and what to do."""

from __future__ import annotations

import shutil

import pytest

from tests.support.ask import ask_unprivileged

LOOKING = (["check"], ["run", "--dry-run"], ["run", "--once"], ["reset", "--to-id", "1", "--yes"])
DELIVERING = (*LOOKING, ["verify"], ["purge", "--keep", "0"], ["replay"], ["maintain"])


@pytest.fixture
def dark(sensor, tmp_path):
    """A folder with a database and a state directory, which nobody may enter."""
    folder = tmp_path / "dark"
    folder.mkdir()
    (folder / "state").mkdir()
    sensor.create()
    sensor.add(3)
    sensor.run("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(sensor.path, folder / "p.db")
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


def refused(done):
    """What a command said that ended as one does whose settings cannot work."""
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert "mistake of edge-delta" not in said
    return said


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
@pytest.mark.parametrize("name", ["p.db", "*.db"])
def test_a_database_in_a_folder_that_may_not_be_entered(words, name, dark, tmp_path):
    flags = ["--sqlite", dark / name, "--table", "readings", "--table-path", "lake/r"]
    said = refused(ask_unprivileged(*words, *flags, cwd=tmp_path))
    assert "may not enter" in said or "may not list or enter" in said
    assert str(dark) in said
    assert "Give that user permission to" in said


@pytest.mark.parametrize("words", DELIVERING, ids=" ".join)
def test_a_state_directory_that_may_not_be_read(words, dark, tmp_path):
    (tmp_path / "own.db").touch()
    flags = ["--sqlite", tmp_path / "own.db", "--table-path", "lake/r", "--state-dir", dark / "state"]
    said = refused(ask_unprivileged(*words, *flags, cwd=tmp_path))
    assert f"the state directory {dark / 'state'} cannot be" in said
    assert "check --state-dir" in said


def test_init_says_what_it_may_not_read_or_write(sensor, dark, tmp_path):
    for place in (dark, dark / "p.db"):
        said = refused(ask_unprivileged("init", place, "--yes", cwd=tmp_path))
        assert str(dark) in said
        assert "Give that user permission" in said
    said = refused(ask_unprivileged("init", sensor.path, "--yes", "-c", dark / "config.toml", cwd=tmp_path))
    assert f"{dark / 'config.toml'} cannot be written: Permission denied. Name another file with -c" in said
