"""What can be set about reading the source: what its times mean, what its columns hold."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_delta.core.time_formats import AUTO, TimeForm, refusal
from edge_delta.settings.declaration import Section, about

DEFAULT_WINDOW = 1_000
"""Ids behind the cursor that are compared where no column says what was updated."""

_JOKERS = r"\[[^]]*\]|[*?]"

ReadAs = Literal["text", "integer", "real", "boolean", "blob", "timestamp", "json"]


class TimeSettings(Section, frozen=True, kw_only=True):
    """How the times of one column are written, where it differs from the others."""

    format: Annotated[
        str | None,
        about("auto, s, ms, us, ns, days, julian, dotnet, apple or a strptime pattern", example='"ms"'),
    ] = None
    zone: Annotated[str | None, about("where text without an offset was written", example='"Europe/Helsinki"')] = None

    def __post_init__(self) -> None:
        refuse(self.format, self.zone, ("format", "zone"))


def refuse(time_format: str | None, zone: str | None, names: tuple[str, str]) -> None:
    """Refuse what is no form of times.

    Args:
        time_format: how they are written; None for the default.
        zone: where they were written; None for the default.
        names: what the settings call the two.

    Raises:
        ValueError: with the setting that is wrong, and the reason.
    """
    for name, form in zip(names, (TimeForm(time_format or AUTO), TimeForm(zone=zone or "UTC")), strict=True):
        if (reason := refusal(form)) is not None:
            msg = f"{name} {reason}"
            raise ValueError(msg)


def listed(value: object) -> object:
    """Names as a list, without repetitions; a text has commas between them."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return list(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


def as_path(value: object) -> object:
    """A path, with the home directory for ``~``."""
    return Path(value).expanduser() if isinstance(value, str) else value


_SIZE = r"(?i)\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)\s*"
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def as_bytes(value: object) -> object:
    """A size such as ``128 MiB`` or ``0.5 GB`` as bytes."""
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    return value if found is None else round(float(found[1]) * _UNITS[found[2].lower()])


class SourceSettings(Section, frozen=True, kw_only=True):
    """What is read, and how; a part of `edge_delta.settings.sections.Settings`."""

    sqlite: Annotated[
        Path,
        about(
            "the SQLite database file, or a pattern for files that rotate",
            flag="--sqlite",
            metavar="FILE",
            env="SQLITE_PATH",
            fixed=True,
            example='"/data/sensor.db"',
            prepare=as_path,
        ),
    ]
    sqlite_table_name: Annotated[
        str | None,
        about(
            "the table to read; default: the only one",
            flag="--table",
            metavar="NAME",
            env="SQLITE_TABLE_NAME",
            fixed=True,
            example='"sensor_readings"',
        ),
    ] = None
    tables: Annotated[
        tuple[str, ...],
        about(
            'several tables, each by its name or a pattern; "*" is every table that can be read in order',
            fixed=True,
            example='["sensor_readings", "events"]',
            prepare=listed,
        ),
    ] = ()
    name: (
        Annotated[
            str,
            about(
                "the source's name: {source} in table_path, and part of what its cursors are kept under",
                fixed=True,
                example='"plant"',
                pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
            ),
        ]
        | None
    ) = None
    timestamp_col: Annotated[
        str | None,
        about(
            "the column with the reading's time; default: detected",
            flag=("--timestamp-field", "--timestamp-col"),
            metavar="NAME",
            env="TIMESTAMP_COL",
            fixed=True,
            example='"timestamp"',
        ),
    ] = None
    source_time_zone: Annotated[
        str,
        about(
            "where times without an offset were written, such as Europe/Helsinki",
            env="SOURCE_TIME_ZONE",
            fixed=True,
            example='"UTC"',
        ),
    ] = "UTC"
    timestamp_format: Annotated[
        str,
        about(
            "what times are: auto, s, ms, us, ns, days, julian, dotnet, apple or a strptime pattern",
            env="TIMESTAMP_FORMAT",
            fixed=True,
            example='"auto"',
        ),
    ] = "auto"
    times: Annotated[
        dict[str, TimeSettings],
        about("format and zone of single columns", fixed=True, example='{ made = { format = "ms" } }'),
    ] = msgspec.field(default_factory=dict)
    columns: Annotated[
        dict[str, ReadAs],
        about(
            "what columns hold, against their declaration: text, integer, real, boolean, blob, timestamp, json",
            fixed=True,
            example='{ payload = "json" }',
        ),
    ] = msgspec.field(default_factory=dict)
    max_row_bytes: (
        Annotated[
            int,
            about(
                "a larger row is rejected unread; default: 8 MiB, or what max_memory allows",
                env="MAX_ROW_BYTES",
                fixed=True,
                example="8388608",
                ge=1024,
                le=1_000_000_000,
            ),
        ]
        | None
    ) = None
    on_update: Annotated[
        Literal["ignore", "append"],
        about(
            "updates of delivered rows: count those that are seen, or append the new state with a higher row_version",
            env="ON_UPDATE",
            fixed=True,
            example='"append"',
        ),
    ] = "ignore"
    updated_column: Annotated[
        str | None,
        about(
            "for append: the column with the time of a row's last change; an index on it keeps looks cheap",
            env="UPDATED_COLUMN",
            fixed=True,
            example='"updated_at"',
        ),
    ] = None
    update_window: (
        Annotated[
            int,
            about(
                "for append: ids behind the cursor that are compared; default: 1000, or 0 with an updated_column",
                env="UPDATE_WINDOW",
                fixed=True,
                example="1000",
                ge=0,
                le=1_000_000,
            ),
        ]
        | None
    ) = None
    settle: Annotated[
        float,
        about("seconds that a row must have been there before it is delivered", env="SETTLE", fixed=True, ge=0),
    ] = 0.0

    @property
    def label(self) -> str:
        """What the source is called: its name, or that of its file without the ending and what stands for others."""
        return self.name or label_of(self.sqlite)

    @property
    def window(self) -> int:
        """How many ids are compared."""
        if self.update_window is not None:
            return self.update_window
        return DEFAULT_WINDOW if self.updated_column is None else 0

    def refuse_no_updates(self) -> None:
        """Refuse what would find no update.

        Raises:
            ValueError: with the reason.
        """
        named = [n for n in ("updated_column", "update_window") if getattr(self, n) is not None]
        if self.on_update == "ignore" and named:
            msg = (
                f'{named[0]} finds updated rows, which on_update = "ignore" does not deliver: set on_update = "append"'
            )
            raise ValueError(msg)
        if self.on_update == "append" and not (self.window or self.updated_column):
            msg = "on_update = 'append' with update_window = 0 needs an updated_column"
            raise ValueError(msg)


def label_of(file: Path) -> str:
    """What a source without a name is called."""
    return re.sub(_JOKERS, "", file.stem).strip("-_. ") or "source"
