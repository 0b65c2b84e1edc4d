"""What becomes of columns that may tell a place, and what is published already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError
from edge_delta.doctor.findings import Finding, failed, ok, warning
from edge_delta.modes.privacy import audit
from edge_delta.modes.privacy.policy import cost_of, draw_of, policy_of
from edge_delta.settings.declaration import changed
from edge_delta.sinks import address as storage
from edge_delta.sinks.delta.draws import published_in
from edge_delta.topology.auditing import SAMPLED
from edge_delta.topology.tables import DeviceTables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_delta.doctor.rehearsal import Stage

_REMOVE = "Remove them as docs/privacy.md says under Removing what was published"


def columns(stage: Stage) -> Iterator[Finding]:
    """What becomes of each source column in tables whose places are displaced."""
    settings = stage.settings
    if not settings.gps_fuzzing.enabled:
        return
    sample = stage.source.sample(SAMPLED)
    for fate in audit.fates(settings, stage.source.layout, sample):
        fact = f"column {fate.column}: {fate.becomes}" + (f", {fate.why}" if fate.why else "")
        if fate.becomes == "undecided":
            cure = "Name it in gps_fuzzing.withhold or gps_fuzzing.harmless"
            yield failed("privacy", ConfigurationError(fact, cure))
        else:
            yield ok("privacy", fact)
    for problem in audit.problems(settings, stage.source.layout, sample):
        if "may tell a place" not in problem:
            yield failed("privacy", ConfigurationError(problem, "Correct [gps_fuzzing]"))
    exact = [mode for mode in settings.processing_mode if mode not in settings.gps_fuzzing.modes]
    if exact:
        yield warning(
            "privacy",
            f"places are not displaced in the tables of {', '.join(exact)}",
            "Add these modes to gps_fuzzing.modes, unless nobody but the owner reads the tables",
        )


def published(stage: Stage) -> Iterator[Finding]:
    """Which tables hold exact coordinates or those of earlier draws, and what to do about them."""
    settings = stage.settings
    tables = DeviceTables(settings, stage.node_id, stage.source.table)
    policy = policy_of(changed(settings, node_id=stage.node_id)) if settings.gps_fuzzing.enabled else None
    now = draw_of(policy) if policy is not None else ""
    sinks = [(mode, tables.of_mode(mode)) for mode in settings.processing_mode]
    for name, sink in [*sinks, ("rejected", tables.rejected(settings.processing_mode[0]))]:
        if not sink.exists():
            yield ok("privacy", f"{name}: {sink.uri} is not there yet")
            continue
        with storage.errors(sink.uri, "ask"):
            found = published_in(
                sink.location, sink.options, policy.decimals if policy is not None else None, stage.node_id
            )
        draws = ", ".join(f"{draw or 'not displaced'} in versions {a} to {b}" for draw, (a, b) in found.draws.items())
        yield ok("privacy", f"{name}: {draws or 'no commit with rows is left in the log'}")
        if found.others:
            yield ok(
                "privacy",
                f"{name}: {len(found.others)} other devices have draws of their own here, which tell more only of "
                "places that they share",
            )
        if found.cleaned:
            yield warning(
                "privacy", f"{name}: the log begins at version {found.first}; older rows may be of any draw", _REMOVE
            )
        earlier = [draw for draw in found.draws if draw != now]
        if earlier and policy is not None:
            yield warning(
                "privacy",
                f"{name}: {len(found.draws)} draws of a place can be read"
                + (", and exact places" if "" in earlier else "")
                + f"; the one of now is {now}; {cost_of(len(found.draws), exact='' in found.draws)}",
                _REMOVE,
            )
        if found.too_fine:
            yield warning(
                "privacy", f"{name}: {found.too_fine:,} coordinates have more digits than the draw of now", _REMOVE
            )
