"""``make site``: docs/ as a site, by mkdocs, with README.md as its first page; ends with 1 where a link leads nowhere.

As mkdocs' hooks: pages outside of docs/ become pages of the site, and other files that are linked become its files.
So no link of the site leads out of it but those that name another project. The repository has no public address that
they could lead to.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mkdocs.__main__ import cli
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SITE = ROOT / "build" / "site"
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
MERMAID = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)
PICTURE = re.compile(r"(?<=!)\[([^]]*)\]\((?!https?:)([^)\s]+)\)")
FENCE = re.compile(r"^( *```[a-z]+) [^\n]*$", re.MULTILINE)
ITEM = re.compile(r"(?:[-*]|\d+\.) +")
LOADS = {"src", "srcset", "data", "poster"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files that lie outside of docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    texts = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    linked = {_outside(page, link) for page, text in texts for link in LINK.findall(text)}
    for name in sorted(name for name in linked if name and name not in PAGES):
        if (ROOT / name).is_file():
            files.append(File.generated(config, f"files/{name}.txt", content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to what is on the site; one to a folder becomes its text. The drawing stands for its sketch."""
    markdown = MERMAID.sub("![What comes from where](docs/pictures/overview.svg)\n", markdown)
    markdown = _lists(FENCE.sub(r"\1", markdown))  # what tests read behind the language is not for readers
    here = page.file.src_uri

    def led(link: re.Match[str]) -> str:
        return f"[{link[1]}]({target})" if (target := _target(here, link[2])) else link[1]

    return re.sub(
        r"(?<!!)\[((?:[^][]|\[[^]]*\])*)\]\((?!https?:|#)([^)\s]+)\)", led, PICTURE.sub(_shown(here), markdown)
    )


def _shown(page: str) -> Callable[[re.Match[str]], str]:
    """A picture of docs/, as the page shows it; mkdocs says where there is none."""
    return lambda found: f"[{found[1]}]({_target(page, found[2]) or found[2]})"


def _lists(markdown: str) -> str:
    """The page with what belongs to an item four blanks in, as Python-Markdown wants it, not by its marker's width."""
    width, fenced, lines = 0, False, []
    for line in markdown.split("\n"):
        inside = width and line.startswith(" " * width)
        if line.startswith("```"):
            fenced = not fenced
        if not fenced and line.strip() and not inside:
            item = ITEM.match(line)
            width = len(item[0]) if item else width if line.startswith(" ") else 0
        lines.append(f"    {line[width:]}" if inside and not fenced else line)
    return "\n".join(lines)


def _target(page: str, link: str) -> str:
    """Where a link of a page leads on the site; empty where there is no such file."""
    path, mark, anchor = link.partition("#")
    name = _outside(page, path)
    if name is None:
        inside = (_folder(page) / path).resolve()
        return f"{inside.relative_to(DOCS).as_posix()}{mark}{anchor}"
    if name in PAGES:
        return f"{PAGES[name]}{mark}{anchor}"
    return f"files/{name}.txt{mark}{anchor}" if (ROOT / name).is_file() else ""


def _folder(page: str) -> Path:
    return ROOT if page in PAGES.values() else DOCS


def _outside(page: str, link: str) -> str | None:
    """The path in the repository that a link leads to; None if that is a page or picture of docs/."""
    there = (_folder(page) / link).resolve()
    return None if there.is_relative_to(DOCS) else there.relative_to(ROOT).as_posix()


# -- what was built


class _Page(HTMLParser):
    """The anchors of a page, where its links lead, and what a browser loads with it."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.anchors.add(value)
            elif name == "href" and value and tag == "a":
                self.links.append(value)
            elif value and (name in LOADS or (name == "href" and tag == "link")):
                self.loaded.append(value)


def checked() -> list[str]:
    """What is wrong with the site: links and pictures that lead nowhere, and what is loaded from another address."""
    pages = {path: _Page() for path in sorted(SITE.rglob("*.html"))}
    for path, page in pages.items():
        page.feed(path.read_text(encoding="utf-8"))
    wrong = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                wrong += [f"{path.name} loads {link}"] if link in page.loaded and to.scheme != "data" else []
                continue
            top = SITE if to.path.startswith("/") else path.parent  # 404.html does not know where it is shown
            there = (top / unquote(to.path).lstrip("/")).resolve() if to.path else path
            if there.is_dir():
                there /= "index.html"
            if not there.exists() or (to.fragment and there in pages and to.fragment not in pages[there].anchors):
                wrong.append(f"{path.name} links {link}, which is not there")
    for path in [*SITE.rglob("*.css"), *SITE.rglob("*.svg")]:
        asked = re.findall(r"""(?:url\(|@import |href=)["']?(https?:[^"')]+)""", path.read_text(encoding="utf-8"))
        wrong += [f"{path.name} loads {address}" for address in asked]
    return wrong


def main() -> int:
    """Build the site and check it, or show it."""
    words = sys.argv[1:] or ["build"]
    words += ["--config-file", str(ROOT / "mkdocs.yml"), "--strict"] + (["--quiet"] if words == ["build"] else [])
    cli.main(args=words, standalone_mode=False)
    wrong = checked()
    print(
        "\n".join(wrong)
        if wrong
        else f"build/site: {len(list(SITE.rglob('*.html')))} pages, every link leads somewhere"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
