"""The house: what CONTRIBUTING.md says of the folders is what the linter holds."""

from __future__ import annotations

import ast
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
    owners = {"adbc_driver_manager": {"source"}, "sqlite3": {"demo"}, "deltalake": {"sinks", "ask", "gather", "demo"}}
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


# -- the rooms

MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE = 350
LONGEST_FUNCTION = 40
MOST_PARAMETERS = 6
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def functions():
    """Every function: its module, its lines, and itself."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, FUNCTIONS):
                yield path.relative_to(PACKAGE), text.splitlines(), node


def parameters(node):
    """Those that a caller gives."""
    arguments = node.args
    placed = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    own = placed[:1] in (["self"], ["cls"])
    return len(placed) - own + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)


def test_no_module_is_longer_than_a_reader_keeps_in_mind():
    lengths = {path.relative_to(PACKAGE): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_a_screen():
    lengths = {(path, node.name): node.end_lineno - node.lineno + 1 for path, _, node in functions()}
    assert {where: lines for where, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_many_parameters_have_their_reason_beside_them():
    many = {
        (path, node.name): parameters(node)
        for path, lines, node in functions()
        if parameters(node) > MOST_PARAMETERS and not re.search(r"noqa: PLR0913 - \w", lines[node.lineno - 1])
    }
    assert many == {}


def test_each_import_inside_a_function_has_its_reason_beside_it():
    """Or beside the one just before it."""
    without = []
    for path, lines, node in functions():
        for block in (getattr(n, "body", []) for n in ast.walk(node)):
            explained = False
            for statement in block if isinstance(block, list) else []:
                if not isinstance(statement, ast.Import | ast.ImportFrom):
                    explained = False
                    continue
                said = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
                explained = explained or bool(re.search(r"noqa: [\w, ]*PLC0415 - \w", said))
                if not explained:
                    without.append(f"{path}:{statement.lineno}")
    assert sorted(set(without)) == []


LINUX_ONLY = re.compile(
    r"sched_\w+|memfd_create|posix_fadvise|fdatasync|pidfd_\w+|eventfd|sendfile|splice|SOCK_CLOEXEC|O_(TMPFILE|DIRECT|PATH)"
    r"|CLOCK_BOOTTIME|F_OFD_\w+|syncfs|mallopt|malloc_trim|prctl|epoll|setns|unshare|madvise"
)
PLACES_OF_LINUX = re.compile(r"/proc\b|/sys/|/dev/shm")


def linux_only(tree):
    """Names and places that Linux alone has, where the code uses them; a text for people may speak of them."""
    documents = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        word = node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else None
        if not isinstance(word, str) or id(node) in documents:
            continue
        if LINUX_ONLY.fullmatch(word) or (isinstance(node, ast.Constant) and PLACES_OF_LINUX.match(word)):
            yield node.lineno


def test_one_module_makes_the_calls_that_linux_alone_has():
    found = {
        (path.relative_to(PACKAGE).as_posix(), line)
        for path in MODULES
        for line in linux_only(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert {path for path, _ in found} == {"core/machine.py"}, found
