"""Which state directory a command is about, and whether it is of the source that the command line names.

`status` and `health` need no settings but the state directory. So a name that is wrong would show another source, or
nothing at all, and look fine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.core.errors import ConfigurationError
from edge_delta.device.state import MIRROR, directories_of_sources, named, read_mirror
from edge_delta.settings.load import file_of, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLACEHOLDERS = r"\\\{(?:node_id|table|source)\\\}"


def state_dir_of(flags: Mapping[str, Any]) -> Path:
    """The state directory, with the precedence of all settings, without checking the others.

    Raises:
        ConfigurationError: if the settings file that is named is not there, if it has to say which directory it is and
            cannot be read, or if the directory cannot be.
    """
    chosen: object = flags.get("state_dir")
    named_here = flags.get("config") is not None
    file = file_of(flags)
    if file is not None and (named_here or not chosen):
        chosen = chosen or os.environ.get("STATE_DIR")
        if not chosen:
            chosen = read_file(file).get("state_dir")
        elif not os.access(file, os.R_OK):
            read_file(file)  # says why
    place = Path(str(chosen or os.environ.get("STATE_DIR") or "state")).expanduser()
    for directory in (place, *directories_of_sources(place)):
        refuse_unreadable(directory)
    return place


def refuse_unreadable(directory: Path) -> None:
    """That nobody may read it must not look as if nothing ever ran.

    Raises:
        ConfigurationError: if a state directory is there and cannot be read.
    """
    try:
        (directory / MIRROR).open("rb").close()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(
            f"the state directory {directory} cannot be read: {error.strerror}",
            "Run this as the user that edge-delta runs as, or check --state-dir",
        ) from None


def choice_of(place: Path, flags: Mapping[str, Any]) -> Callable[[str, str], bool]:
    """Whether a command line is about a source, by what it is called and its table; "" for one that is not known.

    Args:
        place: the state directory of the process.
        flags: the command line.

    Raises:
        ConfigurationError: if there is a single source, and it is another one.
    """
    of_process = read_mirror(place)
    several = isinstance(of_process.get("sources"), list)
    if not several:
        refuse_other(of_process, flags, place)
    tables = [name.lower() for name in flags.get("sqlite_table_name") or ()]
    labels = flags.get("source") or ()
    own = {named(directory): read_mirror(directory) for directory in directories_of_sources(place)}
    missing = (of_process.get("not_found") or {}).values() if several else ()
    files = {one.get("label"): {"source": one.get("sqlite")} for one in missing}

    def takes(label: str, table: str) -> bool:
        by_name = (not labels or label in labels) and (not tables or not table or table.lower() in tables)
        return by_name and _other(own.get((label, table)) or files.get(label, {}), flags) is None

    return takes


def refuse_other(mirror: Mapping[str, Any], flags: Mapping[str, Any], place: Path) -> None:
    """Refuse a command line that names another source than the one that a state directory is of.

    Raises:
        ConfigurationError: with both.
    """
    if (other := _other(mirror, flags)) is not None:
        flag, wanted, known = other
        raise ConfigurationError(
            f"the state directory {place} is of {known}, not of {flag} {wanted}", f"Check {flag} and --state-dir"
        )
    if flags.get("source") and mirror.get("source"):
        raise ConfigurationError(
            f"the state directory {place} is of a single source, {mirror['source']}, which has no name",
            "Leave --source out, or check --state-dir",
        )


def of_other_tables(mirror: Mapping[str, Any], table_path: str) -> bool:
    """Whether none of the tables that a process wrote is at this address; False where it wrote none yet."""
    there = [str(table["table"]) for table in mirror.get("tables", {}).values() if table.get("table")]
    if table_path.startswith(("uc:", "file:")) or not there:
        return False
    if "://" in table_path:
        base = table_path.rstrip("/").replace("s3a://", "s3://")
    else:
        base = os.path.realpath(Path(table_path).expanduser())
    form = re.sub(_PLACEHOLDERS, "[^/]+", re.escape(base)) + r"_\d_[a-z]+"
    return not any(re.fullmatch(form, table) for table in there)


def _other(mirror: Mapping[str, Any], flags: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """A flag, what it names, and what the state directory is of instead; None where nothing contradicts."""
    file, table, node = (mirror.get(key) for key in ("source", "source_table", "node_id"))
    wanted, tables, of_node = (flags.get(name) for name in ("sqlite", "sqlite_table_name", "node_id"))
    if wanted and file and not _same_file(Path(wanted), Path(file)):
        return "--sqlite", wanted, file
    if tables and table and table.lower() not in [name.lower() for name in tables]:
        return "--table", ", ".join(tables), f"table {table} in {file}"
    if of_node and node and of_node != node:
        return "--node-id", of_node, f"device {node}"
    address = flags.get("table_path")
    if address and of_other_tables(mirror, address):
        first = next(str(own["table"]) for own in mirror["tables"].values() if own.get("table"))
        return "--table-path", address, f"the table {first}"
    return None


def _same_file(wanted: Path, known: Path) -> bool:
    """Whether a file is meant by a path, a name, or as one of those of a pattern."""
    whole = wanted.expanduser().absolute()
    if os.path.realpath(whole) == os.path.realpath(known):
        return True
    return known.match(str(wanted)) or whole.match(str(known))
