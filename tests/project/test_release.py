"""What is released can be built again by anybody, and says rightly what it runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml

import hatch_build
from tools import release
from tools.steps import Failed
from tools.wheels import fits, glibc

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_whoever_unpacks_the_sdist_builds_the_same_packages_byte_for_byte(tmp_path):
    """In another folder, under another umask, a moment later: an sdist and a wheel."""
    first, again = tmp_path / "first", tmp_path / "again"
    cache = {
        "ZIG_GLOBAL_CACHE_DIR": str(ROOT / ".cache" / "zig")
    }  # the compiler's own parts; ours are compiled each time
    build(ROOT, first, 0o022, **cache)
    [archive] = first.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    [folder] = (tmp_path / "unpacked").iterdir()
    build(folder, again, 0o077, **cache)
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 2
    assert [name for name in names if (first / name).read_bytes() != (again / name).read_bytes()] == []
    makefile = subprocess.run(["make", "-n", "test", "docs", "bench"], cwd=folder, capture_output=True, check=False)
    assert makefile.returncode == 0, makefile.stderr


def build(folder, into, mask, **settings):
    into.mkdir()
    words = [sys.executable, "-m", "hatchling", "build", "-d", into]
    subprocess.run(words, cwd=folder, env=os.environ | settings, umask=mask, check=True, capture_output=True)


def test_everything_that_is_committed_is_in_the_sdist():
    if not (ROOT / ".git").exists():
        pytest.skip("an sdist holds no repository")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    included = {line.split("/")[0] for line in re.findall(r'^  "([^"]+)",$', sdist_section(), re.MULTILINE)}
    missing = {path.split("/")[0] for path in listed} - included - {".gitignore"}  # this one hatchling adds by itself
    assert [name for name in missing if not (name.startswith("requirements") and "requirements*.lock" in included)] == [
        "pyproject.toml"
    ]


def sdist_section():
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.hatch.build.targets.sdist]")[
        2
    ].partition("\n]")[0] + "\n]"


def test_the_wheels_tag_promises_no_older_system_than_the_locked_packages_run_on():
    """By the tags of what is installed here: pip took these wheels for the reason that they fit."""
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    floors = {name: floor for name in locked if (floor := oldest_glibc(name))}
    assert "polars-runtime-32" in floors
    for platform in hatch_build.PLATFORMS.values():
        if platform.tag.startswith("manylinux"):
            assert max(floors.values()) <= glibc(platform.tag), floors


def oldest_glibc(name):
    try:
        text = distribution(name).read_text("WHEEL") or ""
    except PackageNotFoundError:  # for another system than this
        return None
    tags = re.findall(r"^Tag: .*-(manylinux_\S+)$", text, re.MULTILINE)
    return min((glibc(tag) for tag in tags if tag.startswith("manylinux_")), default=None)


def test_a_system_takes_what_was_made_for_older_ones():
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"} <= set(
        fits("manylinux_2_28_x86_64")
    )
    assert "manylinux_2_28_x86_64" not in fits("manylinux_2_24_x86_64")
    assert {"macosx_11_0_universal2", "macosx_12_0_arm64"} <= set(fits("macosx_12_0_arm64"))
    assert "macosx_13_0_arm64" not in fits("macosx_12_0_arm64")


def test_locks_hold_no_address(tmp_path, monkeypatch):
    assert "locks" in release.locks()
    (tmp_path / "requirements-odd.lock").write_text("polars @ https://somewhere.invalid/polars.whl\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    with pytest.raises(Failed, match=r"requirements-odd\.lock: polars @ https"):
        release.locks()


def test_the_changelog_gets_the_version_and_room_for_the_next():
    text = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- something\n\n## [0.1.0] - 2026-01-02\n\n- the first\n"
    done = release.released(text, "0.2.0")
    assert re.search(
        r"^## \[Unreleased\]\n\n## \[0\.2\.0\] - \d{4}-\d\d-\d\d\n\n### Added\n\n- something\n", done, re.MULTILINE
    )
    with pytest.raises(Failed, match="nothing unreleased"):
        release.released(done, "0.3.0")
    with pytest.raises(Failed, match=r"0\.1\.0 already"):
        release.released(text, "0.1.0")


@pytest.mark.parametrize("version", ["0.1.1.dev3+g0123456789", "0.1.0+editable", "0+unknown", "one"])
def test_what_lies_between_two_tags_is_not_released(version):
    with pytest.raises(Failed, match="make release VERSION"):
        release.final(version, rehearsed=False)


# -- what a public forge runs


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_make_targets_that_are_there(file):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = {target for line in lines for target in re.findall(r"\bmake ([a-z0-9-]+)", line)}
    assert called
    assert called <= targets


def test_actionlint_finds_nothing_in_the_workflows():
    if shutil.which("go") is None:
        pytest.skip("NOT TESTED: actionlint needs Go")
    found = subprocess.run(["make", "workflows"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
