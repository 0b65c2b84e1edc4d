"""What can be set about reading the source: what its times mean, what its columns hold."""

from __future__ import annotations

from typing import Annotated, Literal

from edge_delta.core.time_formats import AUTO, TimeForm, refusal
from edge_delta.settings.declaration import Section, about

ReadAs = Literal["text", "integer", "real", "boolean", "blob", "timestamp", "json"]


class TimeSettings(Section, frozen=True, kw_only=True):
    """How the times of one column are written, where it differs from the others."""

    format: Annotated[
        str | None,
        about("auto, s, ms, us, ns, days, julian, dotnet, apple or a strptime pattern", example='"ms"'),
    ] = None
    zone: Annotated[str | None, about("where text without an offset was written", example='"Europe/Helsinki"')] = None

    def __post_init__(self) -> None:
        refuse(self.format, self.zone)


def refuse(time_format: str | None, zone: str | None) -> None:
    """Refuse what is no form of times.

    Raises:
        ValueError: with the reason.
    """
    reason = refusal(TimeForm(time_format or AUTO, zone or "UTC"))
    if reason is not None:
        raise ValueError(reason)
