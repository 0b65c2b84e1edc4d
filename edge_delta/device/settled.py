"""Up to where the sensor's rows may be purged: delivered in every mode, and in no open window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_delta.core.patterns import is_pattern
from edge_delta.device.state import directories_of_sources, named, read_mirror, settled_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_delta.device.state import StateDirectory


def set_back(state: StateDirectory, settled: Mapping[str, int]) -> None:
    """Say that rows are to be read again, so that nobody purges them by what was said before.

    Args:
        state: the state directory of the source.
        settled: the last row that nothing depends on any more, by mode.
    """
    content = state.mirror()
    known = content.get("tables", {})
    if content:
        tables = {
            mode: table | {"settled_id": settled.get(mode, table.get("settled_id"))} for mode, table in known.items()
        }
        content["tables"] = tables
        state.write_mirror(content | {"settled_id": settled_id(content)})


def settled_now(mirror: Mapping[str, Any]) -> dict[str, int | None]:
    """`settled_id` by source table, None also where the source is another one by now, which no cycle has noticed yet.

    Raises:
        EdgeDeltaError: if the database cannot be read.
    """
    known = mirror.get("known_rows")
    if known and not rotates(mirror):
        from edge_delta.source.glance import has_still  # noqa: PLC0415 - only where there is something to look at

        place = (Path(mirror["source"]), mirror.get("source_table"), mirror.get("timestamp_col"))
        if not has_still(*place, [(rowid, time) for rowid, time in known]):
            return dict.fromkeys(settled(mirror))
    return settled(mirror)


def settled(mirror: Mapping[str, Any]) -> dict[str, int | None]:
    """`settled_id` by source table; none of files that rotate, whose own ids are others: see `settled_files`."""
    table = mirror.get("source_table")
    if rotates(mirror):
        return {}
    return {} if table is None else {str(table): settled_id(mirror)}


def rotates(mirror: Mapping[str, Any]) -> bool:
    """Whether the source is files that rotate."""
    return bool(mirror.get("source")) and is_pattern(Path(mirror["source"]))


def settled_files(mirror: Mapping[str, Any], state_dir: Path) -> list[Path]:
    """Of files that rotate, those that may be removed: see `edge_delta.source.family.glancing.settled_files`."""
    from edge_delta.source.family import glancing  # noqa: PLC0415 - not where there is one file

    return glancing.settled_files(Path(mirror["source"]), state_dir, settled_id(mirror))


# -- of all sources of a process


def settled_of(
    state_dir: Path, choice: Callable[[str, str], bool] = lambda _label, _table: True
) -> dict[str, int | None]:
    """The id by source table up to which rows may be purged; None where that is not known."""
    if not (directories := directories_of_sources(state_dir)):
        return settled_now(read_mirror(state_dir))
    found: dict[str, int | None] = {}
    for directory in directories:
        label, table = named(directory)
        mirror = read_mirror(directory)
        if choice(label, table) and not rotates(mirror):
            number = settled_now(mirror).get(table)
            found[f"{label}/{table}"] = number
    return found


def settled_files_of(
    state_dir: Path, choice: Callable[[str, str], bool] = lambda _label, _table: True
) -> dict[str, list[Path]]:
    """Of sources that are files that rotate, by what they are called: the files that may be removed."""
    directories = directories_of_sources(state_dir)
    places = {"/".join(named(d)): d for d in directories if choice(*named(d))} if directories else {"": state_dir}
    mirrors = {key: (place, read_mirror(place)) for key, place in places.items()}
    return {key: settled_files(mirror, place) for key, (place, mirror) in mirrors.items() if rotates(mirror)}
