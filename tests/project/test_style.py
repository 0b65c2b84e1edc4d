"""What users read is written as docs/style.md says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "docs" / "style.md"
PAGES = [
    *ROOT.glob("*.md"),
    *(page for page in (ROOT / "docs").rglob("*.md") if page != STYLE),
    ROOT / "config.toml.example",
]
MODULES = sorted((ROOT / "edge_delta").rglob("*.py"))


def unwanted() -> list[str]:
    """The phrases of the right column of the page's first table."""
    table = STYLE.read_text(encoding="utf-8").partition("| write | not |")[2].partition("\n\n")[0]
    return [phrase.strip() for line in table.splitlines()[2:] for phrase in line.split("|")[2].split(",")]


def found(text: str) -> list[str]:
    """The unwanted phrases in a text, without regard to case and to line breaks."""
    plain = " ".join(text.split())
    return [phrase for phrase in unwanted() if re.search(rf"\b{re.escape(phrase)}\b", plain, re.IGNORECASE)]


def texts(module: Path) -> list[str]:
    """The strings in a module that are not docstrings: what may be printed."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]


def test_the_page_names_phrases_to_avoid():
    assert {"mend", "deaf", "rows a commit"} <= set(unwanted())


def test_an_unwanted_phrase_is_found_across_lines():
    assert found("131072 rows a\ncommit, and Mend it. To amend is something else.") == ["mend", "rows a commit"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_style_page(page):
    assert found(page.read_text(encoding="utf-8")) == []


def test_what_the_program_prints_uses_the_words_of_the_style_page():
    assert [f"{m.name}: {text}" for m in MODULES for text in texts(m) if found(text)] == []
