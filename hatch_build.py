"""Builds the part of edge-delta that is C into the wheel, with the compiler that comes as a package of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARIES = {
    "edge_delta/source/columns.c": "edge_delta/source/libcolumns.so",
    "edge_delta/modes/privacy/places.c": "edge_delta/modes/privacy/libplaces.so",
    "edge_delta/device/last_words.c": "edge_delta/device/liblast_words.so",
}
FLAGS = ["-std=c11", "-O3", "-g0", "-fPIC", "-shared"]
GLIBC = "2.17"  # the oldest that the wheels of Polars and delta-rs run on


class CompiledPart(BuildHookInterface[Any]):
    """Compiles what is C and makes the wheel one of this platform, for any Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Compile before the wheel is put together; an editable install finds the library beside its source."""
        machine = platform.machine()
        on_glibc = platform.libc_ver()[0] == "glibc"
        target = ["-target", f"{machine}-linux-gnu.{GLIBC}"] if on_glibc else []
        with tempfile.TemporaryDirectory() as cache:
            for source, library in LIBRARIES.items():
                subprocess.run(  # noqa: S603 - nothing here is from outside
                    [sys.executable, "-m", "ziglang", "cc", *FLAGS, *target, "-o", library, source, "-lm"],
                    cwd=Path(self.root),
                    env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
                    check=True,
                )
        system = f"manylinux_{GLIBC.replace('.', '_')}_{machine}" if on_glibc else sysconfig.get_platform()
        build_data["tag"] = f"py3-none-{system.replace('-', '_').replace('.', '_')}"
        build_data["pure_python"] = False
        build_data["artifacts"] += LIBRARIES.values()
