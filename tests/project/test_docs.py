"""The documents say what the program does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import tomli

from edge_delta.cli.parser import COMMANDS, whole_parser
from edge_delta.core.events import EVENTS, Event
from edge_delta.device.declared_metrics import METRICS
from edge_delta.device.health import Verdict
from edge_delta.settings import load as config
from edge_delta.settings import sections as settings
from edge_delta.settings.declaration import fields

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.toml.example"

FLAGS = [flag for field in fields(settings.Settings) for flag in field.flags[:1]]
_spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


def prose() -> str:
    return "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


@pytest.mark.parametrize("path", generate.pages(), ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path):
    assert path.read_text() == generate.pages()[path], "run: make docs"


def test_the_example_loads_as_it_stands(monkeypatch):
    for variable in config.variables():
        monkeypatch.delenv(variable, raising=False)
    settings = config.load({"config": EXAMPLE}, environment={})
    assert str(settings.sqlite) == "/data/sensor.db"


def test_the_example_loads_with_every_key_uncommented(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(uncommented())
    config.load({"config": file}, environment={})


def test_every_setting_is_in_the_example():
    there = tomli.loads(uncommented())
    for name, field in generate.all_settings():
        section, _, key = name.rpartition(".")
        assert field.is_secret or key in (there[section] if section else there), name


def test_the_example_shows_the_defaults_where_there_are_any():
    shown = dict(re.findall(r"^#(\w+) = (.*)$", EXAMPLE.read_text(), re.MULTILINE))
    for name, field in generate.settings_of("", settings.Settings):
        value = generate.default(field)
        if value is not None and not field.example:
            assert shown[name] == value


def test_no_secret_is_in_the_example():
    assert not [name for name, field in generate.all_settings() if field.is_secret and name in EXAMPLE.read_text()]


def test_every_log_event_is_described():
    assert set(EVENTS) == set(Event)
    log = (ROOT / "docs" / "log.md").read_text()
    assert [event for event in Event if f"`{event}`" not in log] == []


def test_every_command_and_flag_is_documented():
    text = (ROOT / "docs" / "commands.md").read_text()
    assert [name for name in COMMANDS if f"## `edge-delta {name}`" not in text] == []
    assert [flag for flag in FLAGS if f"`{flag}`" not in text] == []


def test_every_flag_of_the_settings_is_on_the_command_line():
    help_text = whole_parser()._subparsers._group_actions[0].choices["run"].format_help()
    assert [flag for flag in FLAGS if flag not in help_text] == []


def test_every_environment_variable_is_documented():
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert [name for name in config.variables() if f"`{name}`" not in text] == []


def test_links_between_documents_lead_somewhere():
    broken = [
        f"{path.name}: {target}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_flags_and_commands_in_the_documents_exist():
    """What a person copies from a document is understood by the program."""
    known = set(re.findall(r"--[a-z][a-z-]+", (ROOT / "docs" / "commands.md").read_text())) | {"--version"}
    for block in re.findall(r"```(?:sh|console)[^\n]*\n(.*?)```", prose(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if "edge-delta " in line and not line.lstrip().startswith("#"):
                assert set(re.findall(r"--[a-z][a-z-]+", line.split("edge-delta ", 1)[1])) <= known, line


def test_every_kind_of_error_has_its_cure_in_the_runbook():
    runbook = (ROOT / "docs" / "operations.md").read_text()
    kinds = {name for path in (ROOT / "edge_delta").rglob("*.py") for name, _, _ in generate.raised_in(path)}
    assert len(kinds) > 8
    assert [kind for kind in kinds if not re.search(rf"\b{kind}\b", runbook)] == []


def test_every_verdict_of_status_is_in_the_runbook():
    runbook = (ROOT / "docs" / "operations.md").read_text()
    assert [verdict for verdict in Verdict if f"| {verdict} |" not in runbook] == []


def test_every_metric_is_documented():
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_tests_named_in_the_design_exist():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "design.md").read_text()))
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - written == set()
    assert named


def test_each_row_of_what_an_application_may_do_names_a_test_that_exists():
    files = list((ROOT / "tests").rglob("test_*.py"))
    written = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    modules = {path.stem for path in files}
    rows = [line for line in (ROOT / "docs" / "source.md").read_text().splitlines() if re.match(r"\| (?!---)", line)]
    cells = [row.rstrip("| ").rsplit(" | ", 1)[-1] for row in rows if not re.search(r"\| test[^|]*\|$", row)]
    assert len(cells) > 60
    for cell in cells:
        named = [re.split("::|/", word)[-1].removesuffix(".py") for word in re.findall(r"`([^`]+)`", cell)]
        assert named or cell == "the same", cell
        for name in named:
            known = name in written | modules or any(one.endswith(name.lstrip("…")) for one in written)
            assert known, f"{name}: no test has that name"


def test_the_changelog_has_this_version_or_unreleased_changes():
    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def uncommented() -> str:
    """The example with the # removed before every key; prose has a blank after it."""
    return re.sub(r"^#(?![ :])", "", EXAMPLE.read_text(), flags=re.MULTILINE)
