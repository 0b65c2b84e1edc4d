"""The version follows from the tags, and from something true where there are none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

import hatch_build

ROOT = Path(__file__).parents[2]
WHO = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost", "-c", "commit.gpgsign=false"]


def git(folder, *words):
    done = subprocess.run(["git", "-C", folder, *WHO, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def version(folder, **settings):
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "EDGE_DELTA_"))}
    words = [sys.executable, folder / "hatch_version.py"]
    done = subprocess.run(words, env=outside | settings, check=True, capture_output=True, text=True, cwd="/")
    assert str(Version(done.stdout.strip())) == done.stdout.strip(), "not as PEP 440 writes it"
    return done.stdout.strip()


def sources(folder):
    """What a version is told from, and a module to change."""
    (folder / "edge_delta").mkdir(parents=True)
    for name in ("hatch_version.py", ".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    for name in ("edge_delta/module.py", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        (folder / name).write_text("one\n")
    return folder


@pytest.fixture
def clone(tmp_path):
    folder = sources(tmp_path / "clone")
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "a change")
    return git(folder, "rev-parse", "--short=10", "HEAD")


def test_on_a_tag_it_is_the_tags(clone):
    git(clone, "tag", "v1.2.3")
    assert version(clone) == "1.2.3"


def test_between_tags_builds_tell_themselves_apart_and_order_themselves(clone):
    git(clone, "tag", "-a", "v1.2.3", "-m", "a release")
    built = ["1.2.3"]
    for _ in range(2):
        made = commit(clone)
        built.append(version(clone))
        assert built[-1] == f"1.2.4.dev{len(built) - 1}+g{made}"
    git(clone, "tag", "v1.2.4")
    built.append(version(clone))
    assert built == sorted(set(built), key=Version)


def test_a_clone_without_tags_counts_from_the_first_commit(clone):
    made = commit(clone)
    assert version(clone) == f"0.1.0.dev2+g{made}"
    assert Version(version(clone)) < Version("0.1.0")


def test_tags_that_are_no_versions_do_not_count(clone):
    git(clone, "tag", "very-well")
    git(clone, "tag", "release-7")
    assert version(clone).startswith("0.1.0.dev1+g")


@pytest.mark.parametrize("tag", [None, "v1.2.3"])
def test_what_is_not_committed_is_told_apart_byte_by_byte(clone, tag):
    if tag:
        git(clone, "tag", tag)
    committed = version(clone)
    (clone / "edge_delta" / "module.py").write_text("two\n")
    changed = version(clone)
    (clone / "edge_delta" / "new.py").write_text("new\n")
    added = version(clone)
    assert len({committed, changed, added}) == 3
    assert all(re.fullmatch(r".*\+g[0-9a-f]{10}\.d[0-9a-f]{10}", text) for text in (changed, added))


def test_what_is_not_built_does_not_count_as_changed(clone):
    git(clone, "tag", "v1.2.3")
    (clone / "notes.txt").write_text("mine\n")
    (clone / "edge_delta" / "libcolumns.so").write_bytes(b"compiled")
    (clone / "edge_delta" / "_version.py").write_text("made\n")
    assert version(clone) == "1.2.3"


def test_an_sdist_says_what_it_is_whatever_repository_it_lies_in(clone):
    folder = sources(clone / "unpacked")
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: edge-delta\nVersion: 3.2.1\n\nVersion: 9 is a lie\n")
    assert version(folder) == "3.2.1"


def test_another_repositorys_tags_are_not_ours(clone):
    git(clone, "tag", "v7.0.0")
    assert version(sources(clone / "vendored")).startswith("0.1.0.dev0+tree.")


def test_without_a_repository_it_is_a_hash_of_what_is_built(tmp_path):
    one, other = sources(tmp_path / "one"), sources(tmp_path / "other")
    assert version(one) == version(other)
    (other / "edge_delta" / "module.py").write_text("two\n")
    assert version(one) != version(other)
    assert version(one).startswith("0.1.0.dev0+tree.")


def test_without_git_it_is_a_hash_of_what_is_built(clone, tmp_path):
    git(clone, "tag", "v1.2.3")
    assert version(clone, PATH=str(tmp_path)).startswith("0.1.0.dev0+tree.")


@pytest.mark.parametrize("commits", [0, 2])
def test_an_archive_of_the_repository_says_what_it_was_made_of(clone, tmp_path, commits):
    git(clone, "tag", "v1.2.3")
    for _ in range(commits):
        commit(clone)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    git(clone, "archive", "--output", tmp_path / "sources.tar", "HEAD")
    subprocess.run(["tar", "-xf", tmp_path / "sources.tar", "-C", unpacked], check=True)
    assert version(unpacked).partition("+")[0] == version(clone).partition("+")[0]


def test_who_builds_without_a_repository_can_say_the_version(tmp_path):
    assert version(sources(tmp_path / "context"), EDGE_DELTA_VERSION="2.0.0rc1") == "2.0.0rc1"


def test_an_editable_install_says_that_it_may_be_newer():
    assert '"1.2.3+editable"' in hatch_build._version_file("1.2.3", editable=True)
    assert '"1.2.4.dev1+g0a.editable"' in hatch_build._version_file("1.2.4.dev1+g0a", editable=True)
    assert '"1.2.3"' in hatch_build._version_file("1.2.3", editable=False)


# -- README.md where it has no repository around it


def test_an_index_shows_the_readme_without_links_that_lead_nowhere():
    shown = hatch_build.for_an_index((ROOT / "README.md").read_text(encoding="utf-8"), "")
    assert re.findall(r"\]\((?!https?:)[^)]*\)", shown) == []
    assert "```mermaid" not in shown
    assert "docs/design.md has each guarantee" in shown
    assert "[Delta Lake](https://delta.io)" in shown


def test_with_an_address_each_link_leads_to_a_file_that_is_there():
    shown = hatch_build.for_an_index((ROOT / "README.md").read_text(encoding="utf-8"), "https://forge.invalid/{path}")
    linked = re.findall(r"\]\(https://forge\.invalid/([^)#]+)", shown)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []
