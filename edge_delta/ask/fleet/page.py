"""A fleet as one page that needs nothing from elsewhere: styles and the few lines of script are in it."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from edge_delta.ask.fleet.devices import Verdict
from edge_delta.ask.fleet.text import HEADS, NUMBERS, cells, number_of, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_delta.ask.fleet.devices import Device

_BAD = {Verdict.UNREADABLE, Verdict.DEAD, Verdict.STOPPED, Verdict.BEHIND, Verdict.REJECTING}
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#59636e;--line:#d8dee4;--bad:#b3261e;--warn:#8a5a00;
--ok:#1a7f37}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--dim:#9aa4af;--line:#30363d;--bad:#ff8a80;
--warn:#e3b341;--ok:#56d364}}
*{box-sizing:border-box}
body{margin:0;padding:1rem;background:var(--bg);color:var(--fg);font:15px/1.4 system-ui,sans-serif}
h1{font-size:1.25rem;margin:0 0 .25rem}
p{margin:.25rem 0;color:var(--dim)}
ul{display:flex;flex-wrap:wrap;gap:.5rem;list-style:none;margin:.75rem 0;padding:0}
li{border:1px solid var(--line);border-radius:.5rem;padding:.25rem .6rem}
li b{font-variant-numeric:tabular-nums}
input{width:100%;max-width:24rem;font:inherit;padding:.4rem .6rem;border:1px solid var(--line);border-radius:.5rem;
background:var(--bg);color:var(--fg)}
table{border-collapse:collapse;width:100%;margin-top:.75rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{position:sticky;top:0;background:var(--bg);color:var(--dim);font-weight:600;white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bad{color:var(--bad);font-weight:600}.warn{color:var(--warn);font-weight:600}.ok{color:var(--ok)}
@media(max-width:60rem){
thead{display:none}table,tbody{display:block}
tr{display:grid;grid-template-columns:1fr 1fr;gap:.1rem .75rem;padding:.6rem 0;border-bottom:1px solid var(--line)}
td,td.n{display:flex;justify-content:space-between;gap:.5rem;border:0;padding:.1rem 0;text-align:left;
min-width:0;overflow-wrap:anywhere;white-space:normal}
td::before{content:attr(data-h);color:var(--dim);flex:none}
td:first-child{font-weight:600}td:first-child::before,td:nth-child(2)::before{content:none}
td:nth-child(2){justify-content:flex-end}
td:last-child{grid-column:1/-1}td:empty{display:none}
tr[hidden]{display:none}
}
"""
_SCRIPT = """
const field=document.querySelector('input'),rows=[...document.querySelectorAll('tbody tr')];
field.addEventListener('input',()=>{const words=field.value.toLowerCase().split(/\\s+/);
for(const row of rows){const text=row.textContent.toLowerCase();row.hidden=!words.every(w=>text.includes(w))}});
"""


def as_page(devices: Sequence[Device], at: float) -> str:
    """The page.

    Args:
        devices: who needs somebody most first.
        at: when they were looked at, seconds since 1970.
    """
    counts = Counter(device.verdict for device in devices)
    said = "".join(f'<li><b class="{_kind(v)}">{counts[v]:,}</b> {v}</li>' for v in Verdict if counts[v])
    heads = "".join(f"<th{_number(head)}>{head}</th>" for head in HEADS)
    lines = "\n".join(_line(device) for device in devices)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>edge-delta: {number_of(devices)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{number_of(devices)}</h1><p>As their tables' logs and heartbeats say at {written(at)}.</p>\n"
        f'<ul>{said}</ul><input type="search" placeholder="Find devices" aria-label="Find devices">\n'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{lines}\n</tbody></table>\n"
        "<p>A number with + is a lower bound: the device counts since less than a day ago.</p>\n"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _line(device: Device) -> str:
    kind = _kind(device.verdict)
    found = []
    for head, cell in zip(HEADS, cells(device), strict=True):
        classes = f' class="{kind}"' if head == "state" else _number(head)
        found.append(f'<td{classes} data-h="{head}">{escape(cell)}</td>')
    return f"<tr>{''.join(found)}</tr>"


def _kind(verdict: Verdict) -> str:
    if verdict in _BAD:
        return "bad"
    return "warn" if verdict is Verdict.SILENT else "ok"


def _number(head: str) -> str:
    return ' class="n"' if head in NUMBERS else ""
