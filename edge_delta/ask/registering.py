"""The statements that register tables which have names in Unity Catalog, with what a device needs to write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.ask.tables import Tables
from edge_delta.core.errors import NotRegistered
from edge_delta.core.patterns import is_pattern
from edge_delta.modes import FILES_SUFFIX, REJECTED_SUFFIX, SUFFIXES, SUPERSEDED_SUFFIX
from edge_delta.sinks.unity import names
from edge_delta.sinks.unity.registering import grants, placeholder, statement
from edge_delta.sinks.unity.table import CatalogTable

if TYPE_CHECKING:
    from edge_delta.settings.sections import Settings

_HEAD = """-- Tables that edge-delta writes, by their names
--
-- They have to be there before a row comes. Each begins with few columns; edge-delta adds the others.
-- Put an address within an external location in the place of each <bucket>/<folder>.
-- Who: CREATE TABLE on the schema, CREATE EXTERNAL TABLE on the location; for the grants the catalog's owner."""


def script(settings: Settings) -> str:
    """The statements for the tables of these settings.

    Raises:
        EdgeDeltaError: if the catalog does not answer or refuses.
    """
    suffixes = [SUFFIXES[mode] for mode in settings.processing_mode] + [REJECTED_SUFFIX, SUPERSEDED_SUFFIX]
    suffixes += [FILES_SUFFIX] if is_pattern(settings.sqlite) else []
    sinks = [sink for sink in Tables(settings).sinks.values() if sink.uri.endswith(tuple(suffixes))]
    where: dict[str, str] = {}
    principal = ""
    for sink in sinks:
        if isinstance(sink.access, CatalogTable):
            principal = sink.access.catalog.principal
        try:
            where[sink.uri] = sink.location
        except NotRegistered:
            continue
    beside = next((location.rpartition("/")[0] for location in where.values()), None)
    made = [
        statement(
            sink.uri,
            where.get(sink.uri)
            or (f"{beside}/{names.last(sink.uri)}" if beside is not None else placeholder(sink.uri)),
            once=True,
        )
        for sink in sinks
    ]
    tables = [names.quoted(sink.uri) for sink in sinks]
    return "\n\n".join([_HEAD, *(f"{s};" for s in made + grants(names.schema_of(sinks[0].uri), principal, tables))])
