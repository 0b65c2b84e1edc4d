"""The status page: what `edge-delta status --watch` shows, as one page of HTML that needs nothing else.

The page asks for its own middle part every two seconds. When no answer comes it says so in red, and greys what stands
there: a page that shows the last good state of a dead process would be worse than none. Without JavaScript the browser
loads all of it again, and shows its own error then.
"""

from __future__ import annotations

import re
import time
from html import escape
from typing import TYPE_CHECKING, Any

from edge_delta import __version__
from edge_delta.device.health import Verdict
from edge_delta.device.status import DOUBTFUL, GOOD, count, of_all, pairs
from edge_delta.device.watching import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_delta.device.looks import Looks, Seen

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PART = "part"
"""The query that asks for the middle alone."""
_LOUD = re.compile(r"[A-Z][A-Z ]{3,}:")

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5b6675; --ground: #f4f6f8; --card: #fff; --line: #dde3ea;
  --good: #1a7f45; --doubtful: #9a6200; --bad: #c02626; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --dim: #9aa6b4; --ground: #12161c; --card: #1b2129;
  --line: #2c3540; --good: #4cc38a; --doubtful: #f1b64c; --bad: #ff7b7b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.25rem; display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
h1 { font-size: 1.15rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
footer, .when { color: var(--dim); font-size: .85rem; }
footer { padding-bottom: 2rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 1rem 0; }
.head { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; margin-bottom: .75rem; }
.verdict { color: #fff; border-radius: 1rem; padding: .1rem .8rem; font-weight: 600; background: var(--bad); }
.verdict.good { background: var(--good); } .verdict.doubtful { background: var(--doubtful); }
@media (prefers-color-scheme: dark) { .verdict { color: #10141a; } }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .35rem 1rem; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.loud { color: var(--bad); font-weight: 600; }
.bar { height: .6rem; border-radius: .3rem; background: var(--line); overflow: hidden; margin: .45rem 0 .3rem; }
.bar i { display: block; height: 100%; background: var(--good); }
#lost { display: none; background: var(--bad); color: #fff; padding: .6rem 1rem; text-align: center; font-weight: 600; }
body.lost #lost { display: block; } body.lost main { opacity: .45; filter: grayscale(1); }
@media (max-width: 36rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; }
  section { padding: .8rem; } }
"""
_SCRIPT = """
let heard = new Date();
async function again() {
  try {
    const answer = await fetch("?part", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(answer.status);
    document.querySelector("main").innerHTML = await answer.text();
    heard = new Date();
    document.body.classList.remove("lost");
  } catch (error) {
    document.getElementById("lost").textContent =
      "No answer since " + heard.toLocaleTimeString() + ": the process ended, or the line is down";
    document.body.classList.add("lost");
  }
  setTimeout(again, 2000);
}
setTimeout(again, 2000);
"""


class Page:
    """The page of one process.

    Args:
        looks: at its state directory and its databases.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._progress: dict[str, Progress] = {}

    def whole(self) -> bytes:
        """The page."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edge-delta</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
            '<noscript><meta http-equiv="refresh" content="5"></noscript>'
            f'<style>{_STYLE}</style></head><body><div id="lost" role="alert"></div>'
            f"<header><h1>edge-delta</h1><span class=when>version {escape(__version__)}</span></header>"
            f"<main>{self._middle()}</main>"
            "<footer>What edge-delta status --watch shows, every two seconds. /metrics and /health are for programs."
            f"</footer><script>{_SCRIPT}</script></body></html>\n"
        ).encode()

    def part(self) -> bytes:
        """Its middle, by itself."""
        return self._middle().encode()

    def _middle(self) -> str:
        seen = self._looks.latest()
        if seen is None:
            return _badge(Verdict.SOURCE) + "<p>The state directory or a database has not answered yet.</p>"
        about = of_all(seen.sources, running=True)
        parts = [_stale(seen)]
        if "sources" in about:
            ill = sum(1 for one in about["sources"].values() if not one["ok"] or one["last_error_now"])
            words = f"{count(len(about['sources']), 'source')}, {ill} in trouble"
            parts.append(
                f'<section><div class="head" style="margin: 0">{_badge(about["verdict"])}{words}</div></section>'
            )
        ones = about.get("sources", {"": about})
        parts += [self._card(key, one) for key, one in ones.items()]
        return "".join(parts)

    def _card(self, key: str, about: Mapping[str, Any]) -> str:
        (_, first), *others = pairs(about)
        title = f"<h2>{escape(key or str(about['source']['table'] or 'this device'))}</h2>"
        process = first.removeprefix(str(about["verdict"])).strip(" ()")
        head = f'<div class="head">{_badge(about["verdict"])}{title}<span class="when">{escape(process)}</span></div>'
        return f"<section>{head}<dl>{''.join(_list(others))}{self._bar(key, about)}</dl></section>"

    def _bar(self, key: str, about: Mapping[str, Any]) -> str:
        done, words = self._progress.setdefault(key, Progress()).look(about)
        width = f'<div class="bar"><i style="width: {done:.1%}"></i></div>' if done is not None else ""
        return f"<dt>backlog</dt><dd>{width}{escape(words)}</dd>"


def _badge(verdict: str) -> str:
    kind = "good" if verdict in GOOD else "doubtful" if verdict in DOUBTFUL else "bad"
    return f'<span class="verdict {kind}">{escape(verdict)}</span>'


def _stale(seen: Seen) -> str:
    if not seen.stale:
        return ""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seen.at))
    words = f"What follows is of {at} UTC: since then the disk or a database does not answer."
    return f'<section class="loud">{words}</section>'


def _list(values: list[tuple[str, str]]) -> Iterator[str]:
    """Names with their values, all those of one name together."""
    open_ = False
    for name, value in values:
        if name:
            yield ("</dd>" if open_ else "") + f"<dt>{escape(name)}</dt><dd>"
            open_ = True
        yield f'<div class="loud">{escape(value)}</div>' if _LOUD.match(value) else f"<div>{escape(value)}</div>"
    if open_:
        yield "</dd>"
