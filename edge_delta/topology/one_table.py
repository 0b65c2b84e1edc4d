"""One table of one source, and which of them must not be read together: their rows would come to one table."""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_delta.settings.sections import Settings

_NO_NAME_OF_A_FOLDER = r"[^A-Za-z0-9_.-]"


class OneTable(Struct, frozen=True):
    """One table of one file, as if it were all that the process reads.

    Attributes:
        label: what its source is called.
        table: its table.
        settings: its settings; the state directory in them is its own.
        trouble: why nothing can be done with it; None where there is no such reason.
    """

    label: str
    table: str
    settings: Settings
    trouble: EdgeDeltaError | None = None

    @property
    def key(self) -> str:
        """What it is called in the log and in errors."""
        return f"{self.label}/{self.table}"

    def refuse_trouble(self) -> None:
        """Stop where nothing can be done with it.

        Raises:
            EdgeDeltaError: its trouble.
        """
        if self.trouble is not None:
            raise self.trouble


def in_path(name: str) -> str:
    """A name as a part of an address, without what stores and Spark do not find again."""
    return re.sub(_NO_NAME_OF_A_FOLDER, "_", name)


def names_tables(table_path: str) -> bool:
    """Whether an address is another one for each table or source."""
    return "{table}" in table_path or "{source}" in table_path


def filled(table_path: str, label: str, table: str) -> str:
    """The address of one table of a source."""
    return table_path.replace("{table}", in_path(table)).replace("{source}", in_path(label))


def refuse_mixing(tables: Iterable[OneTable]) -> None:
    """Refuse sources whose rows would come to one table without being told apart, and two of one name.

    Raises:
        ConfigurationError: with what to do.
    """
    for mixed, error in _mixed(list(tables)):
        if any(one.trouble is None for one in mixed):
            raise error


def apart(every: Sequence[OneTable], searched: Sequence[OneTable]) -> list[OneTable]:
    """All of them. Where an application made a table that another's rows would be mixed with, both have that trouble.

    Args:
        every: those that there are.
        searched: those of them that were found by a pattern.

    Raises:
        ConfigurationError: if the settings name those that would be mixed, or name one twice.
    """
    found = {id(one): one for one in every}
    for mixed, error in _mixed(every):
        keys = {one.key.lower() for one in mixed}
        if not any(one is other for one in mixed for other in searched) or len(keys) < len(mixed):
            raise error
        found |= {id(one): replace(one, trouble=error) for one in mixed}
    return [*found.values()]


def _mixed(tables: Sequence[OneTable]) -> Iterator[tuple[list[OneTable], ConfigurationError]]:
    """Those of which no two may be together, and why."""
    targets: dict[str, list[OneTable]] = defaultdict(list)
    called: dict[str, list[OneTable]] = defaultdict(list)
    for one in tables:
        targets[_place(one.settings.table_path)].append(one)
        called[one.key.lower()].append(one)
    for mixed in (some for some in targets.values() if len(some) > 1):
        names, target = " and ".join(one.key for one in mixed[:3]), mixed[0].settings.table_path
        yield (
            mixed,
            ConfigurationError(
                f"rows of {names} would come to the same tables at {target}, where nothing tells them apart",
                _cure(mixed),
            ),
        )
    for mixed in (some for some in called.values() if len(some) > 1):
        first, *_, last = mixed
        yield (
            mixed,
            ConfigurationError(
                f"table {last.table!r} is read from {first.settings.sqlite} and from {last.settings.sqlite}, and both "
                f"sources are called {last.label!r}",
                "Give one of them a name of its own in [[sources]]",
            ),
        )


def _place(table_path: str) -> str:
    """What two spellings of one address have in common."""
    scheme, separator, path = table_path.partition("://")
    return f"{scheme}://{posixpath.normpath(path)}" if separator else os.path.realpath(table_path)


def _cure(mixed: Sequence[OneTable]) -> str:
    """What keeps the tables of these apart."""
    one, other = mixed[:2]
    if one.key == other.key and one.settings.sqlite == other.settings.sqlite:
        return "Name each table in one entry of [[sources]] alone"
    if one.key.lower() == other.key.lower():
        return "Give each of the files a name of its own in [[sources]], and put {source} into table_path"
    if in_path(one.key) == in_path(other.key):
        return "Their names are the same in an address: give one of them a table_path of its own in [[sources]]"
    return "Put {table}, and {source} where two files have a table of one name, into table_path"
