"""Write what the attacks come to into docs/privacy.md: ``python -m tests.attacks``."""

from __future__ import annotations

import re
from pathlib import Path

from tests.attacks.attacks import GUESSES
from tests.attacks.score import of_draws, publishing, scores

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"
STRATEGIES = {
    "per_place, radius 500 m": ("per_place", {"radius_meters": 500.0}, 500.0),
    "planar_laplace, epsilon 0.004": ("planar_laplace", {"epsilon": 0.004}, 500.0),
}


DRAWS = (1, 2, 3, 5, 10)


def single() -> str:
    """Each attack on one draw."""
    lines = [
        "| strategy | attack | stands still: median | best case | moves: median | best case | nearer than 0.1 R |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for label, (strategy, numbers, radius) in STRATEGIES.items():
        publish = publishing(strategy, **numbers)
        for s in [
            *scores(publish, radius, seeds=range(6), readings=120),
            *scores(publish, radius, seeds=range(6), readings=12, attacks=GUESSES),
        ]:
            errors = (s.stationary, s.least_stationary, s.movers, s.least_movers)
            cells = [f"{v * radius:.0f} m" for v in errors] + [f"{s.lucky:.1%}"]
            lines.append(f"| {label} | {s.attack} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def several() -> str:
    """The best attack on several draws."""
    lines = ["| strategy | " + " | ".join(f"{n} draws" for n in DRAWS) + " |", "| --- " * (len(DRAWS) + 1) + "|"]
    for label, (strategy, numbers, radius) in STRATEGIES.items():
        found = [of_draws(publishing(strategy, **numbers), radius, count=n) for n in DRAWS]
        cells = (f"{s.stationary * radius:.0f} m, best {s.least_stationary * radius:.0f} m" for s in found)
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines).replace("| 1 draws", "| 1 draw")


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    for name, made in (("attacks", single), ("draws", several)):
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        lines = made()
        text = marked.sub(lambda m, lines=lines: f"{m[1]}\n{lines}\n\n{m[2]}", text)
    PAGE.write_text(text, encoding="utf-8")
