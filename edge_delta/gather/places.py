"""Where the devices' tables are, by their setting ``table_path``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NODE = "{node_id}"


@dataclass(frozen=True)
class Places:
    """Where the devices' tables are.

    Attributes:
        root: the address that has a folder for each device, or for each table of each.
        part: the name of such a folder, with ``{node_id}`` in it.
        rest: what comes after it, "" if nothing does.
    """

    root: str
    part: str
    rest: str

    @classmethod
    def of(cls, table_path: str) -> Places:
        """By the setting ``table_path``.

        Raises:
            ValueError: if it does not give each device its own tables.
        """
        if _NODE not in table_path:
            raise ValueError(f"{table_path!r} has no {_NODE}")
        before, _, after = table_path.partition(_NODE)
        folder, slash, start = before.rpartition("/")
        end, more, rest = after.partition("/")
        return cls(folder or slash or ".", f"{start}{_NODE}{end}", rest.rstrip("/") if more else "")

    def table(self, device: str, suffix: str) -> str:
        """A table of a device, below the root."""
        return "/".join(p for p in (self.part, self.rest) if p).replace(_NODE, device) + suffix

    def folders(self, names: Iterable[str], into: str) -> set[str]:
        """The folders in the root, without the one in which the fleet's tables are."""
        own = into.removeprefix(self.root + "/").partition("/")[0] if into.startswith(self.root + "/") else ""
        return set(names) - {own}

    def devices(self, folders: Iterable[str], suffix: str) -> Iterator[str]:
        """The devices that folders belong to."""
        pattern = re.escape(self.part).replace(re.escape(_NODE), "(.+)") + ("" if self.rest else re.escape(suffix))
        for name in folders:
            if found := re.fullmatch(pattern, name):
                yield found[1]
