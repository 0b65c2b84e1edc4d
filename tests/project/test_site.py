"""The site has every page, and its drawings are those that are drawn; `make site` checks what is built of them."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
OUTSIDE = {"index.md", "changelog.md", "contributing.md"}  # README.md and others, by docs/site.py


def pictures():
    place = ROOT / "docs" / "pictures.py"
    spec = importlib.util.spec_from_file_location("docs_pictures", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pictures()


@pytest.mark.parametrize(("path", "text"), pictures().items(), ids=lambda value: getattr(value, "name", ""))
def test_drawings_are_up_to_date_and_fetch_nothing(path, text):
    assert path.read_text(encoding="utf-8") == text, "run: make docs"
    drawing = ET.fromstring(text)
    assert {element.tag.rpartition("}")[2] for element in drawing.iter()}.isdisjoint(
        {"script", "image", "style", "use"}
    )
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_every_page_has_its_place_on_the_site():
    listed = re.findall(r"^      - .*: (\S+\.md)$", CONFIGURATION, re.MULTILINE)
    there = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == there | OUTSIDE


def test_the_site_asks_no_other_address():
    assert "font: false" in CONFIGURATION
    assert re.findall(r"https?://\S+", CONFIGURATION) == []


def test_tests_named_on_the_page_of_how_it_works_exist():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named - written == set()
