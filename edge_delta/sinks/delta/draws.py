"""Which displacements a table shows, told by its commits' notes and by the digits of its coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import DeltaTable, QueryBuilder
from msgspec import Struct, field

from edge_delta.core.places import NODE

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "gps_fuzzing"


class Published(Struct):
    """What a table shows.

    Attributes:
        first: the first version that the log still has.
        cleaned: whether older versions were cleaned from the log.
        draws: the first and the last version of each draw; an empty text for commits whose places were not displaced.
        others: devices, other than the one that asked, whose commits with displaced places the log has.
        too_fine: coordinates with more decimals than those of now have.
    """

    first: int = 0
    cleaned: bool = False
    draws: dict[str, tuple[int, int]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    too_fine: int = 0


def published_in(uri: str, options: Mapping[str, str], decimals: int | None, node_id: str) -> Published:
    """Look at a table's log and at its coordinates.

    Args:
        uri: the table.
        options: how its store is reached.
        decimals: those that coordinates have now; None where they are not displaced.
        node_id: whose draws are looked for. A commit that does not say whose it is counts as its.
    """
    table = DeltaTable(uri, storage_options=dict(options))
    found = Published()
    commits = sorted(table.history(), key=lambda c: c["version"])
    found.first = commits[0]["version"] if commits else table.version()
    found.cleaned = found.first > 0
    for commit in commits:
        if commit.get("operation") != "WRITE":
            continue
        node = commit.get(NODE, node_id)
        if node != node_id:
            found.others.add(node)
            continue
        draw = " ".join(value for key, value in sorted(commit.items()) if key.startswith(_PREFIX))
        first, _ = found.draws.get(draw, (commit["version"], 0))
        found.draws[draw] = (first, commit["version"])
    names = {f.name for f in table.schema().fields} & {"latitude", "longitude"}
    if decimals is not None and len(names) == 2:  # noqa: PLR2004 - both
        step = 10**decimals
        off = " OR ".join(f"abs({n} * {step} - round({n} * {step})) > 1e-4" for n in sorted(names))
        sql = f"SELECT count(*) AS n FROM t WHERE {off}"
        batch = QueryBuilder().register("t", table).execute(sql).read_all()
        found.too_fine = int(batch.column("n")[0].as_py())
    return found
