"""``compiled_parts.py WHEEL`` looks at the compiled parts of a wheel, and ends with 1 if one is not right."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import lief

LIBRARIES = {"libc.so.6", "libm.so.6", "/usr/lib/libSystem.B.dylib"}
MACHINES = {
    "x86_64": (lief.ELF.ARCH.X86_64, lief.MachO.Header.CPU_TYPE.X86_64),
    "aarch64": (lief.ELF.ARCH.AARCH64, None),
    "arm64": (None, lief.MachO.Header.CPU_TYPE.ARM64),
}
PARTS = 3


def main(wheel: Path) -> str:
    lief.logging.disable()
    system, major, minor, machine = re.findall(r"(manylinux|macosx)_(\d+)_(\d+)_(\w+)$", wheel.stem)[0]
    with zipfile.ZipFile(wheel) as file:
        parts = {name: file.read(name) for name in file.namelist() if name.endswith(".so")}
    assert len(parts) == PARTS, f"{len(parts)} compiled parts: {sorted(parts)}"
    for name, contents in parts.items():
        oldest = (int(major), int(minor))
        (elf if system == "manylinux" else macho)(name, contents, machine, oldest)
        assert b"/tmp/" not in contents, f"{name} holds the place that it was made at"
    return f"{PARTS} parts for {system} {major}.{minor} or newer, {machine}, and any Python"


def elf(name: str, contents: bytes, machine: str, oldest: tuple[int, int]) -> None:
    part = lief.ELF.parse(list(contents))
    assert part is not None, f"{name} is no ELF"
    assert part.header.machine_type == MACHINES[machine][0], f"{name} is for {part.header.machine_type}"
    assert set(part.libraries) <= LIBRARIES, f"{name} needs {part.libraries}"
    asked = [v.name for need in part.symbols_version_requirement for v in need.get_auxiliary_symbols()]
    newer = [v for v in asked if tuple(map(int, v.removeprefix("GLIBC_").split("."))) > oldest]
    assert not newer, f"{name} needs {newer}, and is tagged for {oldest}"
    no_python(name, [symbol.name for symbol in part.imported_symbols])


def macho(name: str, contents: bytes, machine: str, oldest: tuple[int, int]) -> None:
    whole = lief.MachO.parse(list(contents))
    assert whole is not None, f"{name} is no Mach-O"
    assert whole.size == 1, f"{name} is for several processors"
    part = whole.at(0)
    assert part.header.cpu_type == MACHINES[machine][1], f"{name} is for {part.header.cpu_type}"
    assert part.header.file_type == lief.MachO.Header.FILE_TYPE.DYLIB, f"{name} is no library"
    made_for = tuple(part.build_version.minos[:2])
    assert made_for == oldest, f"{name} is for macOS {made_for}, and is tagged for {oldest}"
    [itself] = [library.name for library in part.libraries if library.command == lief.MachO.LoadCommand.TYPE.ID_DYLIB]
    assert itself == f"@rpath/{Path(name).name}", f"{name} calls itself {itself}"
    needed = {library.name for library in part.libraries} - {itself}
    assert needed <= LIBRARIES, f"{name} needs {needed}"
    # A Mac with an M processor ends a program that loads code without a signature; the linker's own is enough.
    assert machine != "arm64" or part.has_code_signature, f"{name} is not signed"
    no_python(name, [symbol.name for symbol in part.imported_symbols])


def no_python(name: str, symbols: list[str]) -> None:
    asked = [symbol for symbol in symbols if symbol.lstrip("_").startswith("Py")]
    assert not asked, f"{name} needs {asked} of Python, and is tagged for any"


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]))}\n")
