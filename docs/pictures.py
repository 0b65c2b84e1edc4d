"""The drawings of docs/pictures, made of what they show: `make docs` writes them, and a test compares them.

They are plain SVG with a light ground of their own, so that they look the same on a forge, on the site by day and by
night, and on paper. Nothing is fetched, and there is no script in them.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

PLACE = Path(__file__).parent / "pictures"
INK, SOFT, LINE, GROUND = "#1f2933", "#52606d", "#9aa5b1", "#ffffff"
BLUE, GREEN, RED, AMBER, GREY = "#d6e8fb", "#d5f2dd", "#c62828", "#fdeec8", "#eef1f4"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
HEAD = (
    '<defs><marker id="to" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path d="M0 0 10 5 0 10z" fill="{SOFT}"/></marker></defs>'
)
STROKE = f'fill="none" stroke="{SOFT}" stroke-width="1.5"'
DASHED = ' stroke-dasharray="5 4"'


class Drawing:
    """An SVG of a size, drawn from the back to the front."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="{FONT}">',
            f"<title>{escape(title)}</title>",
            HEAD,
            f'<rect width="{width}" height="{height}" rx="10" fill="{GROUND}" stroke="{LINE}" stroke-width="1"/>',
        ]

    def box(self, at: tuple[int, int], size: tuple[int, int], fill: str, *lines: str, dashed: bool = False) -> None:
        """Draw a rectangle with lines of text in its middle, the first of several bold."""
        (x, y), (width, height) = at, size
        dash = DASHED if dashed else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{LINE}"{dash}/>'
        )
        top = y + height / 2 - 9 * (len(lines) - 1)
        for i, line in enumerate(lines):
            self.text((x + width // 2, round(top + 18 * i + 5)), line, anchor="middle", bold=i == 0 and len(lines) > 1)

    def text(  # noqa: PLR0913 - how a line may look
        self,
        at: tuple[int, int],
        line: str,
        *,
        anchor: str = "start",
        bold: bool = False,
        size: int = 14,
        fill: str = INK,
    ) -> None:
        """Draw a line of text."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{at[0]}" y="{at[1]}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{weight}>'
            f"{escape(line)}</text>"
        )

    def arrow(self, start: tuple[int, int], end: tuple[int, int], *, dashed: bool = False, to: bool = True) -> None:
        """Draw a line with an arrow's head."""
        dash = DASHED if dashed else ""
        head = ' marker-end="url(#to)"' if to else ""
        line = f"M{start[0]} {start[1]} L{end[0]} {end[1]}"
        self._parts.append(f'<path d="{line}" {STROKE}{dash}{head}/>')

    def path(self, line: str) -> None:
        """Draw a dashed arrow along a path."""
        self._parts.append(f'<path d="{line}" {STROKE}{DASHED} marker-end="url(#to)"/>')

    def bolt(self, x: int, y: int) -> None:
        """Where the process dies."""
        self._parts.append(f'<path d="M{x + 4} {y - 17} l-11 19 h8 l-5 15 l14 -20 h-8 l6 -14z" fill="{RED}"/>')

    def done(self) -> str:
        """The text of the file."""
        return "\n".join([*self._parts, "</svg>\n"])


def overview() -> str:
    """What comes from where."""
    drawing = Drawing(
        1010, 250, "Rows go from SQLite through edge-delta into a Delta table; the table says where to continue"
    )
    drawing.box((20, 90), (130, 60), GREY, "sensor", "your application")
    drawing.box((215, 90), (120, 60), BLUE, "SQLite", "file, WAL")
    drawing.box((385, 65), (260, 130), GROUND, dashed=True)
    drawing.text((515, 182), "edge-delta", anchor="middle", bold=True)
    for x, name in ((400, "source"), (480, "mode"), (560, "sink")):
        drawing.box((x, 90), (70, 60), AMBER, name)
    drawing.box((710, 90), (130, 60), GREEN, "Delta table", "rows + cursor")
    drawing.box((710, 175), (130, 55), GREEN, "…_rejected", "row + reason")
    drawing.box((895, 90), (100, 60), GREY, "readers", "Spark, …")
    flow = ((150, 213, "INSERT"), (335, 398, "read"), (470, 478, ""), (550, 558, ""), (630, 708, "commit"))
    for start, end, said in (*flow, (840, 893, "query")):
        drawing.arrow((start, 120), (end, 120))
        drawing.text(((start + end) // 2 - 2, 112), said, anchor="middle", size=11, fill=SOFT)
    drawing.path("M600 150 V203 H708")
    drawing.path("M775 90 V40 H435 V88")
    drawing.text((605, 30), "where to continue: the cursor in the table's log", anchor="middle", size=12, fill=SOFT)
    return drawing.done()


LIFELINES = (("SQLite", 110), ("edge-delta", 510), ("Delta table", 900))
MESSAGES = (
    # from, to, what is said, what comes of it
    (1, 2, "1  where did I end?", "the cursor is the version of a txn action in the table's log"),
    (2, 1, "rows up to id 4,000 are in version 17", ""),
    (
        1,
        0,
        "2  rows with id > 4,000, in the order of their ids",
        "one short read transaction: the writer's WAL can be checkpointed",
    ),
    (0, 1, "ids 4,001 to 5,000", ""),
    (1, 1, "3  apply the mode, cast strictly", "rows that do not fit go to …_rejected, first and by the same protocol"),
    (1, 2, "4  write the Parquet file", "no reader sees it: no log entry names it"),
    (1, 2, "5  put log entry 18, if there is none", "file and cursor 5,000, in one entry: both are there, or neither"),
    (2, 1, "it is written, or another one was first", "then: read the log again (1)"),
    (1, 1, "6  mirror the cursor in the state directory", "for people and health checks: losing it loses nothing"),
)


def commit() -> str:
    """What is said between SQLite, edge-delta and the Delta table, in the order of time."""
    step = 62
    height = 110 + step * len(MESSAGES)
    drawing = Drawing(1010, height, "The steps of a commit, between SQLite, edge-delta and the Delta table")
    for name, x in LIFELINES:
        drawing.arrow((x, 60), (x, height - 20), dashed=True, to=False)
        drawing.box((x - 70, 20), (140, 40), {"SQLite": BLUE, "Delta table": GREEN}.get(name, AMBER), name)
    for i, (start, end, said, note) in enumerate(MESSAGES):
        y = 105 + step * i
        x, to = LIFELINES[start][1], LIFELINES[end][1]
        if x == to:
            drawing.box((x - 175, y - 20), (350, 26), AMBER, said)
        else:
            middle, gap = (x + to) // 2, 3 if to > x else -3
            drawing.arrow((x + gap, y), (to - gap, y), dashed=start != 1)
            drawing.text((middle, y - 7), said, anchor="middle")
        if note:
            drawing.text(((x + to) // 2, y + (22 if x == to else 17)), note, anchor="middle", size=11, fill=SOFT)
    return drawing.done()


class Crash(NamedTuple):
    """A point at which the process dies: how many steps are done, what is left of it, and what becomes of that."""

    letter: str
    done: int
    there: str
    then: str


STEPS = ("read cursor", "read rows", "mode", "Parquet file", "log entry", "mirror")
CRASHES = (
    Crash("A", 1, "version 17, cursor 4,000", "reads the rows again"),
    Crash("B", 2, "version 17, cursor 4,000", "reads the rows again"),
    Crash("C", 3, "version 17; rejected rows perhaps", "reads again, skips these"),
    Crash("D", 4, "version 17, and a file unseen", "writes its own file"),
    Crash("E", 5, "version 18, cursor 5,000", "continues after 5,000"),
    Crash("F", 6, "version 18, cursor 5,000", "continues after 5,000"),
    Crash("G", -1, "version 17 or 18: no answer came", "asks the log, as always"),
)
WIDTH = 74


def crashes() -> str:
    """Each point at which the process may die, what is there then, and what the next start does."""
    drawing = Drawing(
        1010, 90 + 54 * len(CRASHES), "What a crash at each step leaves behind, and what the next start does"
    )
    for i, name in enumerate(STEPS):
        drawing.text((60 + WIDTH * i + WIDTH // 2, 40), name, anchor="middle", size=11, fill=SOFT)
    drawing.text((530, 40), "what is there then", size=12, bold=True)
    drawing.text((770, 40), "the next start", size=12, bold=True)
    for row, crash in enumerate(CRASHES):
        y = 60 + 54 * row
        drawing.text((30, y + 23), crash.letter, bold=True, size=16)
        reached = crash.done if crash.done >= 0 else STEPS.index("log entry")
        for i in range(len(STEPS)):
            fill = (GREEN if i >= STEPS.index("log entry") else BLUE) if i < reached else GROUND
            drawing.box((60 + WIDTH * i, y), (WIDTH - 8, 34), fill, dashed=i >= reached)
        at = reached + 0.5 if crash.done < 0 else reached
        drawing.bolt(round(60 + WIDTH * at) - 4, y + 17)
        drawing.text((530, y + 22), crash.there, size=12)
        drawing.text((770, y + 22), crash.then, size=12)
    return drawing.done()


def pictures() -> dict[Path, str]:
    """Each file of docs/pictures with what is in it."""
    return {PLACE / f"{draw.__name__}.svg": draw() for draw in (overview, commit, crashes)}


if __name__ == "__main__":
    for path, text in pictures().items():
        path.write_text(text, encoding="utf-8")
