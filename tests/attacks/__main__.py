"""Write what the attacks come to into docs/privacy.md: ``python -m tests.attacks``."""

from __future__ import annotations

import re
from pathlib import Path

from tests.attacks.score import publishing, scores

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"
STRATEGIES = {
    "per_place, radius 500 m": ("per_place", {"radius_meters": 500.0}, 500.0),
    "planar_laplace, epsilon 0.004": ("planar_laplace", {"epsilon": 0.004}, 500.0),
}


def table() -> str:
    lines = ["| strategy | attack | stands still | moves | best case |", "| --- | --- | --- | --- | --- |"]
    for label, (strategy, numbers, radius) in STRATEGIES.items():
        for s in scores(publishing(strategy, **numbers), radius, seeds=range(6), readings=120):
            cells = (f"{v * radius:.0f} m" for v in (s.stationary, s.movers, s.least))
            lines.append(f"| {label} | {s.attack} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    marked = re.compile(r"(<!-- attacks -->\n).*?(<!-- /attacks -->)", re.DOTALL)
    PAGE.write_text(marked.sub(lambda m: f"{m[1]}\n{table()}\n\n{m[2]}", text), encoding="utf-8")
