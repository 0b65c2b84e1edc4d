"""``make wheels`` builds the wheels of all platforms on this one, and looks at each as far as it can be done here.

What is tried: that the compiled parts are for the system and processor that the tag names, need nothing but that
system's own libraries in versions that its oldest release has, and nothing of Python (one wheel is for every version of
it); and that each locked package has a wheel for the oldest system of the tag. What cannot be tried here is said:
nothing of macOS can be run on Linux.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from hatch_build import PLATFORMS, VARIABLE
from tools.steps import ROOT, Failed, run, say

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = ROOT / ".venv" / "release" / "bin"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def main() -> None:
    floors = "--no-floors" not in sys.argv
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    wheels = built(ROOT, dist)
    for wheel in wheels:
        say(f"{wheel.name}: {looked_at(wheel)}")
    if floors:
        for name in PLATFORMS:
            say(f"{name}: {floor(name)}")
    say("macOS: looked at and not run, for there is no macOS here")


def built(folder: Path, dist: Path, platforms: tuple[str, ...] = tuple(PLATFORMS)) -> list[Path]:
    """Wheels of what is in a folder, one for each platform."""
    before = set(dist.glob("*.whl"))
    cache = {"ZIG_GLOBAL_CACHE_DIR": str(ROOT / ".cache" / "zig")}
    for name in platforms:
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", dist]
        run(*words, folder=folder, **cache, **{VARIABLE: name})
    wheels = sorted(set(dist.glob("*.whl")) - before)
    if [wheel.stem.split("-")[-1] for wheel in wheels] != sorted(PLATFORMS[name].tag for name in platforms):
        raise Failed(f"other wheels than expected: {', '.join(wheel.name for wheel in wheels)}")
    return wheels


def looked_at(wheel: Path) -> str:
    """What the tools say of a wheel's contents and of its compiled parts."""
    run(TOOLS / "check-wheel-contents", "--ignore", "W002", wheel)
    parts = run(TOOLS / "python", ROOT / "tools" / "compiled_parts.py", wheel)
    if "manylinux" not in wheel.name:
        return parts.strip()
    found = " ".join(run(TOOLS / "auditwheel", "show", wheel).split())
    policy = found.partition('following platform tag: "')[2].partition('"')[0]
    tagged = wheel.stem.split("-")[-1]
    if not policy.startswith("manylinux_") or glibc(policy) > glibc(tagged):
        raise Failed(f"auditwheel calls {wheel.name} {policy or 'not portable'}")
    return f"{parts.strip()}; auditwheel: would do for {policy}"


def glibc(tag: str) -> tuple[int, ...]:
    return tuple(int(part) for part in tag.split("_")[1:3])


def floor(name: str) -> str:
    """Whether pip finds all locked packages for the oldest system that a wheel is tagged for; asks the registry."""
    words = [
        sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps",
        "--only-binary=:all:", "--require-hashes", "-r", ROOT / "requirements.lock", "--target", tempfile.gettempdir(),
        "--implementation", "cp", "--python-version", PYTHONS[0], "--abi", "cp311", "--abi", "abi3", "--abi", "none",
    ]  # fmt: skip
    for tag in fits(PLATFORMS[name].tag):
        words += ["--platform", tag]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode == 0:
        return f"every locked package has a wheel for {PLATFORMS[name].tag}"
    if "No matching distribution" in done.stderr and "Retrying" not in done.stderr:
        raise Failed(f"{name} is tagged {PLATFORMS[name].tag}, and pip says: {done.stderr.strip().splitlines()[-1]}")
    return "NOT CHECKED whether the locked packages have wheels for it: no registry answers"


def fits(tag: str) -> list[str]:
    """The tags that a system takes whose newest one this is (PEP 600; the platform tags of macOS)."""
    if tag.startswith("manylinux"):
        _, _, minor, machine = tag.split("_", 3)
        older = [f"manylinux_2_{i}_{machine}" for i in range(5, int(minor) + 1)]
        return [*older, *(f"manylinux{year}_{machine}" for year in ("2014", "2010", "1"))]
    _, major, _, machine = tag.split("_", 3)
    versions = [f"10_{i}" for i in range(9, 17)] + [f"{i}_0" for i in range(11, int(major) + 1)]
    return [f"macosx_{version}_{kind}" for version in versions for kind in (machine, "universal2")]


if __name__ == "__main__":
    main()
