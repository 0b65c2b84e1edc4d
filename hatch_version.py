"""The version of what is built, from the tags of its repository; ``python3 hatch_version.py`` prints it.

No file of the repository holds a version. The first of these that there is decides:

1. ``EDGE_DELTA_VERSION`` in the environment: who builds where no repository is (`Dockerfile`) says it.
2. ``PKG-INFO`` beside this file: an sdist says what it is.
3. The repository: on a tag ``v1.2.3`` with nothing changed it is 1.2.3, and four commits later 1.2.4.dev4+g0abcdef.
   Without any tag it counts from the first commit: 0.1.0.dev1200+g0abcdef.
4. What ``git archive`` wrote into this file: the sources as a forge packs them.
5. A hash of what is built: 0.1.0.dev0+tree.0123456789.

So two builds with different contents are told apart in each case: what is changed and not committed adds the hash, too.
The forms are those of PEP 440; what comes between two tags is lower than the next version.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VARIABLE = "EDGE_DELTA_VERSION"
FIRST = "0.1.0"
TAGS = "v[0-9]*"
BUILT = ("edge_delta", "sql", "pyproject.toml", "hatch_build.py", "hatch_version.py", "README.md", "LICENSE")
MADE = {".so", ".pyc"}
# `git archive` puts the description and the commit here (.gitattributes); elsewhere they stay as they are.
ARCHIVED = ("$Format:%(describe:tags=true,match=v[0-9]*)$", "$Format:%h$")
_DESCRIBED = re.compile(r"v(?P<tag>.+?)(?:-(?P<since>\d+)-(?P<commit>g[0-9a-f]+))?$")


def version() -> str:
    """The version of what lies in this folder now, as PEP 440 writes it."""
    return os.environ.get(VARIABLE) or _of_an_sdist() or _of_the_repository() or _of_an_archive() or _of_the_files()


def _of_an_sdist() -> str | None:
    information = ROOT / "PKG-INFO"
    if not information.exists():
        return None
    found = re.search(r"^Version: (\S+)$", information.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else None


def _of_the_repository() -> str | None:
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != ROOT:  # a folder in somebody else's repository has not its tags
        return None
    changed = [f"d{_hash()}"] if _git("status", "--porcelain", "--", *BUILT) else []
    described = _git("describe", "--tags", "--long", "--abbrev=10", "--match", TAGS)
    if described is None:
        commit = _git("rev-parse", "--short=10", "HEAD")
        return (
            f"{FIRST}.dev{_git('rev-list', '--count', 'HEAD')}+{'.'.join([f'g{commit}', *changed])}" if commit else None
        )
    return _after(described, changed)


def _of_an_archive() -> str | None:
    described, commit = ARCHIVED
    if commit.startswith("$"):
        return None
    return _after(described, []) if described else f"{FIRST}.dev0+g{commit}"


def _of_the_files() -> str:
    return f"{FIRST}.dev0+tree.{_hash()}"


def _after(described: str, changed: list[str]) -> str:
    """What ``git describe`` says, as a version: the tag's own, or one before the next."""
    found = _DESCRIBED.match(described)
    if found is None:
        raise ValueError(f"{described!r} is no tag of a version: v1.2.3 is one")
    tag, since = found["tag"], int(found["since"] or 0)
    if not since and not changed:
        return tag
    following = re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), tag)
    return f"{following}.dev{since}+{'.'.join([found['commit'] or 'g0', *changed])}"


def _hash() -> str:
    """Ten digits that change with any byte of what is built."""
    digest = hashlib.sha256()
    for name in BUILT:
        place = ROOT / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.suffix not in MADE and path.name != "_version.py":
                digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:10]


def _git(*words: str) -> str | None:
    """What git answers; nothing where there is no git, no repository or no such tag."""
    try:
        done = subprocess.run(  # noqa: S603 - nothing here is from outside
            ["git", "-C", str(ROOT), *words],  # noqa: S607 - whichever git the person uses
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    print(version())  # noqa: T201 - for build.sh and make
