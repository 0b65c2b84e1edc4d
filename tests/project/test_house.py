"""The house: what CONTRIBUTING.md says of the folders is what the linter holds."""

from __future__ import annotations

import re
from pathlib import Path

import tomli
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "edge_delta"
LINTER = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def layers():
    [contract] = [c for c in LINTER["contracts"] if c["type"] == "layers"]
    assert contract["exhaustive"]
    return contract["layers"]


def test_contributors_read_the_layers_that_the_linter_holds():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The direction of imports")[2]
    block = re.findall(r"```\n(.*?)```", text, re.DOTALL)[0]
    lines = [re.split(r" {2,}", line, maxsplit=1) for line in block.splitlines()]
    assert [line[0] for line in lines] == layers()
    assert all(len(line) == 2 and line[1] for line in lines)


def test_every_folder_is_in_one_layer():
    rooms = [room for layer in layers() for room in layer.split(" | ")]
    there = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert sorted(rooms) == sorted({*there, "__main__"})
    assert len(rooms) <= 20


def test_the_linter_knows_no_exception():
    assert not LINTER.get("exclude_type_checking_imports", False)
    for contract in LINTER["contracts"]:
        assert "ignore_imports" not in contract, contract["name"]


def test_each_contract_about_a_package_names_every_folder_but_its_owners():
    owners = {"adbc_driver_manager": {"source"}, "sqlite3": {"demo"}, "deltalake": {"sinks", "ask", "demo"}}
    rooms = {f"edge_delta.{path.name}" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    for package, own in owners.items():
        [contract] = [
            c
            for c in LINTER["contracts"]
            if package in c.get("forbidden_modules", ()) and len(c["forbidden_modules"]) < 3
        ]
        assert rooms - set(contract["source_modules"]) == {f"edge_delta.{name}" for name in own}, package


def test_pre_commit_runs_what_make_lint_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[0]
    commands = [line.strip().replace("$(BIN)", ".venv/bin").replace("$(VENV)", ".venv") for line in recipe.splitlines()]
    [hooks] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert hooks["repo"] == "local"
    assert [hook["entry"] for hook in hooks["hooks"]] == commands
