"""Figures that a run measured, in the pages that show them."""

from __future__ import annotations

import re


def with_figures(text: str, target: str, figures: str) -> str:
    """A page with the figures of a make target between its two markers.

    Args:
        text: the page.
        target: the make target.
        figures: what stands between the markers.

    Raises:
        ValueError: if the page has no place for them.
    """
    begin, end = f"<!-- figures of `make {target}` -->", "<!-- end of the figures -->"
    replaced, places = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n\n{figures}\n\n{end}", text, flags=re.DOTALL
    )
    if places != 1:
        raise ValueError(f"{places} places for the figures of make {target}")
    return replaced
