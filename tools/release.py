"""``make release``: everything of a release but its upload, as a checklist that ends at the first item that fails.

On a tag ``v1.2.3`` the version is the tag's. ``make release VERSION=1.2.3`` rehearses it before the tag is there, and
``make changelog VERSION=1.2.3`` puts what is unreleased under that version. What it leaves in ``dist/``:

    *.whl, *.tar.gz   the packages
    sbom.cdx.json     what they need, from the lock: CycloneDX
    provenance.json   what they were made of: an in-toto statement with SLSA's predicate. It is not signed: a forge that
                      builds them signs its own (.github/workflows/release.yml)
    SHA256SUMS        of all of these
    notes.md          this version's part of CHANGELOG.md
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hatch_version
from hatch_build import PLATFORMS
from tools.steps import ROOT, Failed, run, say
from tools.wheels import TOOLS, built, floor, looked_at

if TYPE_CHECKING:
    from collections.abc import Callable

DIST = ROOT / "dist"
CHANGELOG = ROOT / "CHANGELOG.md"
UNRELEASED = "## [Unreleased]\n"
HERE = "linux-x86_64" if platform.machine() == "x86_64" else "linux-aarch64"
TESTS = (
    "tests/project/test_docs.py",
    "tests/project/test_version.py",
    "tests/project/test_deploy.py",
    "tests/settings",
)
"""Those that the sdist has to pass where it was unpacked: some that look at its files, and some that run it."""
LEFT = """\
Left to do by hand:
  bash .ci/run, make test-slow test-spark-slow torture soak, if this commit has not passed them
  REQUIRE_IMAGE=1 make test-image, ./build.sh --push --registry HOST
  git tag v{version}, and push it: the forge builds the same, signs and uploads it (.github/workflows/release.yml);
  or .venv/release/bin/twine upload dist/*.whl dist/*.tar.gz
  on one device, for a day: check, status and verify with the new version (docs/upgrades.md)"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release")
    parser.add_argument("--version", help="rehearse this version")
    parser.add_argument("--changelog", metavar="VERSION", help="only put what is unreleased under this version")
    parser.add_argument("--dirty", action="store_true", help="rehearse with what is not committed, too")
    words = parser.parse_args()
    try:
        if words.changelog:
            CHANGELOG.write_text(released(CHANGELOG.read_text(encoding="utf-8"), words.changelog), encoding="utf-8")
            return 0
        checklist(words.version, dirty=words.dirty)
    except Failed as failed:
        say(f"FAILED: {failed}")
        return 1
    return 0


def checklist(rehearsed: str | None, *, dirty: bool) -> None:
    """Do and say each item."""
    version = rehearsed or hatch_version.version()
    os.environ[hatch_version.VARIABLE] = version
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        place = Path(name)
        items: list[tuple[str, Callable[[], object]]] = [
            ("all is committed", lambda: committed(dirty=dirty)),
            (f"{version} is a version to release", lambda: final(version, rehearsed=bool(rehearsed))),
            ("CHANGELOG.md has it, with its date", lambda: noted(version)),
            ("the locks hold names, versions and hashes", locks),
            ("the generated pages are as the code is", pages),
            ("the workflows are sound", workflows),
            ("wheels of every platform", lambda: [looked_at(wheel) for wheel in built(ROOT, DIST)]),
            ("the locked packages have wheels where ours do", lambda: "; ".join(floor(p) for p in PLATFORMS)),
            ("the sdist, twice the same", lambda: sdist(place)),
            ("the sdist builds the same wheel, and its Makefile is whole", lambda: rebuilt(place)),
            ("the sdist tests and documents itself", lambda: by_itself(place)),
            ("twine takes the packages", twine),
            ("the wheel runs where nothing else is", lambda: tried(place)),
            ("what it is made of", lambda: bill(version)),
            ("where it comes from", lambda: provenance(version)),
        ]
        for number, (what, do) in enumerate(items, 1):
            began = time.monotonic()
            said = do()
            took = f"{time.monotonic() - began:.0f} s"
            say(f"[{number}/{len(items)}] {what} ({took}){f': {said}' if isinstance(said, str) else ''}")
    sums()
    say(f"dist/: {', '.join(sorted(path.name for path in DIST.iterdir()))}\n{LEFT.format(version=version)}")


def packages() -> list[Path]:
    return sorted([*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")])


# -- what it is made from


def committed(*, dirty: bool) -> str:
    changed = run("git", "status", "--porcelain")
    if changed and not dirty:
        raise Failed(f"not committed:\n{changed}")
    return "NOT SO, and allowed by --dirty" if changed else run("git", "rev-parse", "HEAD").strip()


def final(version: str, *, rehearsed: bool) -> str:
    """PEP 440's public versions, without what stands between two tags."""
    if not re.fullmatch(r"\d+(\.\d+)+((a|b|rc)\d+)?", version):
        raise Failed(f"{version} is between two tags. Tag the commit, or rehearse: make release VERSION=1.2.3")
    return "REHEARSED, there is no such tag here" if rehearsed else f"tag v{version}"


def noted(version: str) -> str:
    text = CHANGELOG.read_text(encoding="utf-8")
    part = re.search(
        rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if part is None:
        raise Failed(f"CHANGELOG.md has no part for it: make changelog VERSION={version}")
    if text.partition(UNRELEASED)[2].partition("\n## ")[0].strip():
        raise Failed("CHANGELOG.md has unreleased changes above it")
    DIST.mkdir(exist_ok=True)
    (DIST / "notes.md").write_text(part[2].strip() + "\n", encoding="utf-8")
    return part[1]


def released(text: str, version: str) -> str:
    """The changelog with what was unreleased under a version, and room for more above it."""
    if f"## [{version}]" in text:
        raise Failed(f"CHANGELOG.md has {version} already")
    head, there, rest = text.partition(UNRELEASED)
    if not there or not rest.partition("\n## ")[0].strip():
        raise Failed("CHANGELOG.md has nothing unreleased")
    return f"{head}{UNRELEASED}\n## [{version}] - {datetime.now(tz=UTC).date()}\n{rest}"


def locks() -> str:
    """No address, neither of a package nor of a registry."""
    there = sorted(ROOT.glob("requirements*.lock"))
    odd = [
        f"{lock.name}: {line}"
        for lock in there
        for line in lock.read_text(encoding="utf-8").splitlines()
        if not re.fullmatch(
            r"[a-z0-9-]+(\[[a-z,-]+\])?==\S+( ; [^:@/]+)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        )
    ]
    if odd:
        raise Failed("\n".join(odd))
    return f"{len(there)} locks"


def pages() -> None:
    run(sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/project/test_docs.py")


def workflows() -> str:
    if shutil.which("go") is None:
        return "NOT CHECKED: actionlint needs Go"
    run("make", "workflows")
    return "actionlint finds nothing"


# -- the packages


def sdist(place: Path) -> str:
    """Twice, the second from a copy of the files in another folder, under another mask and at another time."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", DIST)
    [first] = DIST.glob("*.tar.gz")
    unpacked(first, place)
    again = place / "again"
    run("sh", "-c", f"umask 077; '{sys.executable}' -m hatchling build -t sdist -d '{again}'", folder=folder_in(place))
    same(first, again / first.name)
    return f"{first.stat().st_size / 1e6:.1f} MB"


def rebuilt(place: Path) -> str:
    wheels = place / "wheels"
    [wheel] = built(folder_in(place), wheels, (HERE,))
    same(DIST / wheel.name, wheel)
    run("make", "--dry-run", "test", "docs", "lint", "bench", "wheels", folder=folder_in(place))
    return f"{wheel.name}, byte for byte"


def by_itself(place: Path) -> str:
    """Where no repository is: its own environment, some of its tests, and its pages as they were packed."""
    folder = folder_in(place)
    before = {path: path.read_bytes() for path in sorted((folder / "docs").rglob("*")) if path.is_file()}
    run("make", "test", f"ARGS={' '.join(TESTS)}", folder=folder)
    run("make", "docs", folder=folder)
    changed = [str(path.relative_to(folder)) for path, text in before.items() if path.read_bytes() != text]
    if changed:
        raise Failed(f"make docs writes other pages there: {', '.join(changed)}")
    return f"make test with {', '.join(TESTS)}; make docs changes none of {len(before)} files"


def unpacked(archive: Path, place: Path) -> None:
    with tarfile.open(archive) as file:
        file.extractall(place / "sdist", filter="data")


def folder_in(place: Path) -> Path:
    [folder] = (place / "sdist").iterdir()
    return folder


def same(one: Path, other: Path) -> None:
    if one.read_bytes() != other.read_bytes():
        raise Failed(f"{one.name} is another one when it is built again")


def twine() -> None:
    run(TOOLS / "twine", "check", "--strict", *packages())


def tried(place: Path) -> str:
    """In an environment that has the locked packages and nothing else."""
    [wheel] = [path for path in DIST.glob("*.whl") if PLATFORMS[HERE].tag in path.name]
    run(sys.executable, "-m", "venv", place / "venv")
    pip = [place / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--no-compile", "--only-binary=:all:", "--require-hashes", "-r", ROOT / "requirements.lock")
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    run(*pip, "check")
    (place / "empty").mkdir()
    said = run(place / "venv/bin/edge-delta", "--version", folder=place / "empty").strip()
    if said != f"edge-delta {os.environ[hatch_version.VARIABLE]}":
        raise Failed(f"the wheel says that it is {said}")
    run(place / "venv/bin/edge-delta", "demo", "--folder", place / "demo", folder=place / "empty")
    return f"{said}, and its demonstration"


# -- what is said of them


def bill(version: str) -> str:
    """The lock as CycloneDX, with what cyclonedx-py cannot know of a version that no file holds."""
    file = DIST / "sbom.cdx.json"
    run(
        TOOLS / "cyclonedx-py", "requirements", "requirements.lock", "--pyproject", "pyproject.toml", "--short-PURLs",
        "--output-reproducible", "--output-format", "JSON", "--output-file", file, PYTHONWARNINGS="ignore",
    )  # fmt: skip
    text = json.loads(file.read_text(encoding="utf-8"))
    root: dict[str, Any] = text["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/edge-delta@{version}"}
    for component in text["components"]:
        component.pop("description", None)  # the line of the lock: its hashes are in the component
    needs = {"ref": root["bom-ref"], "dependsOn": sorted(component["bom-ref"] for component in text["components"])}
    text["dependencies"] = [needs, *(other for other in text["dependencies"] if other["ref"] != root["bom-ref"])]
    file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return f"{len(text['components'])} packages"


def provenance(version: str) -> str:
    """An in-toto statement (v1) about the packages, with the predicate of SLSA's provenance (v1)."""
    commit = run("git", "rev-parse", "HEAD").strip()
    made = datetime.now(tz=UTC).isoformat(timespec="seconds")
    inputs = [
        ROOT / "requirements-build.lock",
        ROOT / "pyproject.toml",
        ROOT / "hatch_build.py",
        ROOT / "hatch_version.py",
    ]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": {"sha256": digest(path)}} for path in packages()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:edge-delta:make-release",
                "externalParameters": {"version": version, "target": "release"},
                "resolvedDependencies": [
                    {"name": "edge-delta", "digest": {"gitCommit": commit}},
                    *({"name": path.name, "digest": {"sha256": digest(path)}} for path in inputs),
                ],
            },
            "runDetails": {
                "builder": {"id": "urn:edge-delta:unsigned", "version": {"python": platform.python_version()}},
                "metadata": {"finishedOn": made},
            },
        },
    }
    (DIST / "provenance.json").write_text(json.dumps(statement, indent=1) + "\n", encoding="utf-8")
    return f"commit {commit[:10]}, not signed"


def sums() -> None:
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(DIST.iterdir()) if path.name != "notes.md"]
    (DIST / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
