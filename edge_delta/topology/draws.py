"""Says at a start what a change of the displacement costs: every draw of a place that can be read tells more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_delta.core.errors import EdgeDeltaError
from edge_delta.core.events import Event
from edge_delta.modes.privacy.policy import cost_of, draw_of, policy_of
from edge_delta.settings.declaration import changed
from edge_delta.topology.tables import DeviceTables

if TYPE_CHECKING:
    from edge_delta.device.state import StateDirectory
    from edge_delta.modes.privacy.policy import Policy
    from edge_delta.settings.sections import Settings
    from edge_delta.topology.lanes import Session

_KEPT = "draw"


def say_what_is_published(settings: Settings, session: Session, state: StateDirectory) -> None:
    """Warn of old settings, of tables with exact places, and of draws that the tables show besides the one of now.

    Another secret is told before the first places that are displaced by it are committed, the rest at once.

    The tables' logs are only read where the state directory does not say that the draw is the one of the last start.
    """
    own = settings.gps_fuzzing
    details = []
    if own.strategy == "per_sensor":
        details.append(
            'strategy "per_sensor" is an old name of "per_place"; see docs/privacy.md, From earlier versions'
        )
    if own.cell_meters is not None and own.strategy != "planar_laplace":
        details.append("cell_meters is for planar_laplace only and has no effect")
    exact = [mode for mode in settings.processing_mode if mode not in own.modes]
    if exact:
        details.append(f"places are not displaced in the tables of {', '.join(exact)}")
    policy, kept = policy_of(changed(settings, node_id=session.node_id)), state.kept(_KEPT) or ""
    if policy.may_be(kept):
        # Only the secret or the device could be another. That is told before it publishes a place: a run that has no
        # row to deliver need not stretch the secret.
        session.left_to_say = lambda: _say(session, draw_of(policy), _of_draws(settings, session, state, policy))
        _say(session, kept, details)
    else:
        session.left_to_say = None
        _say(session, draw_of(policy), details + _of_draws(settings, session, state, policy))


def _say(session: Session, draw: str, details: list[str]) -> None:
    if details:
        session.log.warning(Event.PLACES, draw=draw, detail=details)


def _of_draws(settings: Settings, session: Session, state: StateDirectory, policy: Policy) -> list[str]:
    """What draws the tables show besides the one of now, if it is not that of the last start."""
    now = draw_of(policy)
    if state.kept(_KEPT) == now:
        return []
    earlier = _earlier(settings, session, now)
    state.keep(_KEPT, now)
    if not earlier:
        return []
    shown = ", ".join(draw or "exact places" for draw in sorted(earlier))
    told = (
        f"the tables show places in {len(earlier) + 1} draws, which together tell more than one: {shown}; "
        f"{cost_of(len(earlier) + 1, exact='' in earlier)}; edge-delta check --privacy says "
        "where they are, and docs/privacy.md how to remove them"
    )
    return [told]


def _earlier(settings: Settings, session: Session, now: str) -> set[str]:
    from edge_delta.sinks.delta.draws import published_in  # noqa: PLC0415 - delta-rs, and only after a change

    tables = DeviceTables(settings, session.node_id, session.source.table)
    found: set[str] = set()
    for mode in settings.processing_mode:
        sink = tables.of_mode(mode)
        try:
            if mode in settings.gps_fuzzing.modes and sink.exists():
                found |= set(published_in(sink.location, sink.options, None, session.node_id).draws)
        except (EdgeDeltaError, OSError):
            continue  # what cannot be reached now is told by the delivery itself
    return found - {now}
