"""Builds the part of edge-delta that is C into the wheel, with the compiler that comes as a package of its own.

``EDGE_DELTA_PLATFORM`` names another platform than this machine's, one of `PLATFORMS`; ``make wheels`` builds all of
them. The compiler brings what it takes for each.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

LIBRARIES = {
    "edge_delta/source/columns.c": "edge_delta/source/libcolumns.so",
    "edge_delta/modes/privacy/places.c": "edge_delta/modes/privacy/libplaces.so",
    "edge_delta/device/last_words.c": "edge_delta/device/liblast_words.so",
}
VERSION = "edge_delta/_version.py"
FLAGS = ["-std=c11", "-O3", "-g0", "-fPIC", "-shared"]
VARIABLE = "EDGE_DELTA_PLATFORM"


class Platform(NamedTuple):
    """What the compiler calls a platform, and how a wheel for it is tagged."""

    target: str
    tag: str


# The oldest systems that the locked packages have wheels for, not those that our own part would run on: on an older one
# pip would find ours and not theirs. `make wheels` asks for them.
PLATFORMS = {
    "linux-x86_64": Platform("x86_64-linux-gnu.2.28", "manylinux_2_28_x86_64"),
    "linux-aarch64": Platform("aarch64-linux-gnu.2.28", "manylinux_2_28_aarch64"),
    "macos-x86_64": Platform("x86_64-macos.12.0", "macosx_12_0_x86_64"),
    "macos-arm64": Platform("aarch64-macos.12.0", "macosx_12_0_arm64"),
}


class CompiledPart(BuildHookInterface[Any]):
    """Compiles what is C, writes down the version, and makes the wheel one of its platform, for any Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make what a wheel has besides the sources.

        An editable install finds it beside them. For a wheel it is made elsewhere: one for another platform leaves
        nothing behind that this machine could not load.
        """
        editable = version == "editable"
        self._made = Path(tempfile.mkdtemp(prefix="edge-delta-"))
        place = Path(self.root) if editable else self._made
        chosen = _platform()
        kept = Path(self.root) / ".cache" / "zig"  # what the compiler makes for itself, for each system once
        with tempfile.TemporaryDirectory() as cache:
            for source, library in LIBRARIES.items():
                (place / library).parent.mkdir(parents=True, exist_ok=True)
                words = [*FLAGS, *chosen.target.split(), "-o", str(place / library), source, "-lm"]
                if (
                    "macos" in chosen.target
                ):  # the name that a library of macOS bears is else the place that it was made at
                    words += ["-install_name", f"@rpath/{Path(library).name}"]
                subprocess.run(  # noqa: S603 - nothing here is from outside
                    [sys.executable, "-m", "ziglang", "cc", *words],
                    cwd=Path(self.root),
                    env={"ZIG_GLOBAL_CACHE_DIR": str(kept), "ZIG_LOCAL_CACHE_DIR": cache} | os.environ,
                    check=True,
                )
        (place / VERSION).write_text(_version_file(self.metadata.version, editable=editable), encoding="utf-8")
        build_data["tag"] = f"py3-none-{chosen.tag}"
        build_data["pure_python"] = False
        if not editable:
            build_data["force_include"] |= {str(place / name): name for name in (*LIBRARIES.values(), VERSION)}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - the hook's signature
        """Remove what went into the wheel."""
        shutil.rmtree(self._made, ignore_errors=True)


def _platform() -> Platform:
    """The platform of the wheel: the one that was named, or this machine's."""
    machine = platform.machine()
    named = os.environ.get(VARIABLE) or f"{'macos' if sys.platform == 'darwin' else 'linux'}-{machine}"
    on_glibc = platform.libc_ver()[0] == "glibc"
    if os.environ.get(VARIABLE) or on_glibc or sys.platform == "darwin":
        if named in PLATFORMS:
            target, tag = PLATFORMS[named]
            return Platform(f"-target {target}", tag)
        if os.environ.get(VARIABLE):
            sys.exit(f"{VARIABLE}={named} is no platform that wheels are built for: {', '.join(PLATFORMS)}")
    return Platform("", sysconfig.get_platform().replace("-", "_").replace(".", "_"))


def _version_file(version: str, *, editable: bool) -> str:
    """The module that the program has its version from: reading it costs a start nothing, asking the metadata does.

    An editable install says so: what runs may be newer than the moment of its installation.
    """
    if editable:
        version += f"{'.' if '+' in version else '+'}editable"
    return f'"""Written by hatch_build.py."""\n\nfrom __future__ import annotations\n\nVERSION = "{version}"\n'


class Readme(MetadataHookInterface):
    """README.md as an index of packages shows it: there are no files beside it there, and no diagrams."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put it among the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": for_an_index(text, self.config.get("files", "")),
        }


def for_an_index(text: str, files: str) -> str:
    """README.md with links that lead somewhere, wherever it is read.

    Args:
        text: the page as it is in the repository.
        files: the address of a file of the repository, with ``{path}``; where it is empty, links become their text.
    """
    text = re.sub(r"```mermaid\n.*?```\n\n", "", text, flags=re.DOTALL)
    if files:
        return re.sub(r"(?<=\]\()(?!https?:|#)([^)]+)", lambda link: files.format(path=link[1]), text)
    text = re.sub(r"^!\[[^]]*\]\((?!https?:)[^)]+\)\n\n?", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]+\)", r"\1", text)
