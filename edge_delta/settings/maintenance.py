"""What can be set about the tables: how they are made, and how they are looked after."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edge_delta.settings.declaration import Section, about


class MaintenanceSettings(Section, frozen=True, kw_only=True):
    """Maintenance of the tables. Two compactors of one table would duplicate its rows, so each table has one keeper."""

    keeper: Annotated[
        bool | None,
        about("whether this device maintains the tables; default: if {node_id} makes them its own", example="true"),
    ] = None
    every_commits: Annotated[int, about("commits to the table between two compactions", ge=2)] = 100
    hours: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=23)], ...],
        about("hours of the day (UTC) for maintenance, instead of every_commits", example="[3]"),
    ] = ()
    target_file_mb: Annotated[int, about("size that compacted files grow to", ge=1, le=1024)] = 64
    retention_days: Annotated[
        Annotated[float, Meta(ge=1)] | None,
        about("days that older versions can be read; default: 7; in a folder 3, or 1,000 commits", example="7"),
    ] = None
    statistics_columns: Annotated[
        tuple[str, ...],
        about("columns whose limits new tables keep for each file, besides ids and times", example='["temperature"]'),
    ] = ()
    partition_by: Annotated[
        Literal["node_id", "date"] | None,
        about(
            "what new tables are partitioned by: node_id, or partition_date, the date of the reading or the window, or "
            "of its arrival where a table has no such time; default: nothing",
            example='"date"',
            fixed=True,
        ),
    ] = None


class PurgeSettings(Section, frozen=True, kw_only=True):
    """What `edge-delta purge` deletes of the source's delivered rows. No other command deletes any."""

    keep_days: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        about("days that delivered rows stay in the database; default: --keep has to say it", example="7"),
    ] = None
