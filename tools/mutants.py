"""Mutation tests of the modules that decide: each small change of theirs has to make one of their own tests fail.

``make mutants`` copies the project, and for each mutant of a module in ``tools/mutants.toml`` runs the tests that are
named there in a forked process, which has the large packages loaded already; those that ``slow`` matches only where all
others passed, and those that ``never`` matches not at all. What survives is a behaviour that no test claims: write the
claim, or say in that file why nothing can be seen of it. Ends with 1 if fewer than nine in ten are killed.

What is mutated: comparisons, arithmetic, ``and`` and ``or``, conditions, numbers, ``True`` and ``False``, comparisons
and functions inside SQL, results, and calls for their effect, which are left out. What is said and not done
(docstrings, messages of errors, the log, annotations) is left alone.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tomli

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
PLAN = ROOT / "tools" / "mutants.toml"
_COPIED = ("edge_delta", "tests", "tools", "sql", "pyproject.toml", "config.toml.example")
_PRELOADED = ("pytest", "hypothesis", "polars", "deltalake", "arro3.core", "msgspec", "duckdb", "adbc_driver_manager")
_ENOUGH = 0.9
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
}
_IN_SQL = {" > ": " >= ", " >= ": " > ", " < ": " <= ", " <= ": " < ", "min(": "max(", "max(": "min(", " AND ": " OR "}
_SAID = ("info", "warning", "error", "debug")


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        name: where it is and what it changes, the same as long as the line is.
        line: the line.
        source: the whole module with it.
    """

    name: str
    line: int
    source: str


@dataclass
class Tested:
    """What became of a module's mutants.

    Attributes:
        killed: by a test that failed, or did not end.
        ended: how many of them by a test that did not end.
        accepted: those that are explained.
        survived: all others.
    """

    killed: int = 0
    ended: int = 0
    accepted: int = 0
    survived: list[Mutant] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them."""
        return self.killed + self.accepted + len(self.survived)


# -- making them


def mutants_of(text: str) -> list[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(text)
    made = []
    for scope, node in _mutable(tree, ""):
        for change in _changes(node):
            before = ast.unparse(node).splitlines()[0]
            with _changed(node, change):
                source = ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
                after = ast.unparse(node).splitlines()[0]
            made.append(Mutant(f"{scope}: {before} -> {after}", getattr(node, "lineno", 0), source))
    return _numbered(made)


def _numbered(made: list[Mutant]) -> list[Mutant]:
    """With different names."""
    times: dict[str, int] = {}
    named = []
    for mutant in made:
        times[mutant.name] = times.get(mutant.name, 0) + 1
        again = f" ({times[mutant.name]})" if times[mutant.name] > 1 else ""
        named.append(Mutant(mutant.name + again, mutant.line, mutant.source))
    return named


def _mutable(node: ast.AST, scope: str) -> Iterator[tuple[str, ast.AST]]:
    """The nodes below one that do something, with the function that they are in."""
    for name, value in ast.iter_fields(node):
        of_class = isinstance(node, ast.ClassDef) and name == "keywords"  # how it is made, as a decorator says
        if name in ("annotation", "returns", "decorator_list", "type_params") or of_class or _is_said(node, name):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_docstring(child) or _is_for_types(child):
                continue
            inside = scope
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inside = f"{scope}.{child.name}".lstrip(".")
            yield inside or "module", child
            yield from _mutable(child, inside)


def _is_said(node: ast.AST, name: str) -> bool:
    """Whether a field only holds words for people: what an error or the log says."""
    if isinstance(node, ast.Raise):
        return name == "exc"
    if isinstance(node, ast.Call) and name in ("args", "keywords"):
        function = node.func
        return isinstance(function, ast.Attribute) and function.attr in _SAID
    return False


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_for_types(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom | ast.alias)


def _changes(node: ast.AST) -> Iterator[dict[str, object]]:  # noqa: C901, PLR0912 - a case for each kind of node
    """The fields that a mutant of the node has; "" stands for the statement that does nothing."""
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                if type(op) in _COMPARED:
                    yield {"ops": [*ops[:i], _COMPARED[type(op)](), *ops[i + 1 :]]}
        case ast.BinOp(op=op) if type(op) in _COUNTED:
            yield {"op": _COUNTED[type(op)]()}
        case ast.BoolOp(op=op):
            yield {"op": ast.And() if isinstance(op, ast.Or) else ast.Or()}
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield {"op": ast.Not(), "operand": ast.UnaryOp(ast.Not(), operand)}
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if _is_plain(test):
            yield {"test": ast.UnaryOp(ast.Not(), test)}
        case ast.Constant(value=bool(value)):
            yield {"value": not value}
        case ast.Constant(value=int(value) | float(value)):
            yield {"value": value + 1}
        case ast.Constant(value=str(value)):
            for old, new in _IN_SQL.items():
                if old in value:
                    yield {"value": value.replace(old, new, 1)}
        case ast.AugAssign(op=op) if type(op) in _COUNTED:
            yield {"op": _COUNTED[type(op)]()}
        case ast.Expr(value=ast.Call(func=function)):
            if not (isinstance(function, ast.Attribute) and function.attr in _SAID):
                yield {"value": ast.Constant(None)}
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield {"value": ast.Constant(None)}


def _is_plain(test: ast.expr) -> bool:
    """Whether nothing inside a condition is mutated by itself."""
    return isinstance(test, ast.Name | ast.Attribute | ast.Call)


@contextlib.contextmanager
def _changed(node: ast.AST, change: dict[str, object]) -> Iterator[None]:
    before = {name: getattr(node, name) for name in change}
    for name, value in change.items():
        setattr(node, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(node, name, value)


# -- trying them


class Trial:
    """A copy of the project, in which a module is another one for a while.

    Args:
        folder: where the copy goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def tried(self, module: str, source: str, tests: Sequence[str], patience: float) -> int:
        """What pytest ends with when this text is the module; -1 where it does not end in time."""
        file = self._folder / module
        before = file.read_text(encoding="utf-8")
        file.write_text(source, encoding="utf-8")
        try:
            return self._run(tests, patience)
        finally:
            file.write_text(before, encoding="utf-8")

    def said(self) -> str:
        """What pytest said last."""
        return (self._folder / "pytest.log").read_text(encoding="utf-8", errors="replace")

    def _run(self, tests: Sequence[str], patience: float) -> int:
        """The exit code of pytest, in a process of its own group."""
        child = os.fork()
        if not child:
            code = 3
            try:
                code = self._tested(tests)
            except BaseException:  # noqa: BLE001 - told in the log, like all that pytest says
                traceback.print_exc()
            finally:  # what the parent would do at its end is not for the child
                os._exit(code)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return -1

    def _tested(self, tests: Sequence[str]) -> int:
        os.setsid()
        os.chdir(self._folder)
        log = os.open(self._folder / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # A mutant may have its predecessor's size and time.
        sys.dont_write_bytecode = True
        os.environ |= {"PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.path.insert(0, str(self._folder))
        for name in [n for n in sys.modules if n.split(".")[0] in ("edge_delta", "tests", "tools")]:
            del sys.modules[name]
        import pytest  # noqa: PLC0415 - where it is loaded already

        words = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--hypothesis-seed=1",
            "-m",
            "not slow",
            "-W",
            "ignore::pytest.PytestAssertRewriteWarning",
        ]
        return int(pytest.main([*words, f"--basetemp={self._folder / 'tmp'}", *tests]))


def tried(module: str, plan: dict[str, object], trial: Trial, *, only: str = "", every: int = 1) -> Tested:
    """Try the mutants of one module."""
    rounds = _rounds(plan)
    excused = {str(one["mutant"]) for one in _listed(plan.get("accepted", [])) if isinstance(one, dict)}
    text = (ROOT / module).read_text(encoding="utf-8")
    patience = [_patience(module, text, tests, trial) for tests in rounds]
    result, made = Tested(), mutants_of(text)
    for mutant in [m for m in made if re.search(only, m.name)][::every]:
        if mutant.name in excused:
            result.accepted += 1
            continue
        codes = (trial.tried(module, mutant.source, *one) for one in zip(rounds, patience, strict=True))
        if code := next((code for code in codes if code), 0):
            result.killed += 1
            result.ended += code < 0
        else:
            result.survived.append(mutant)
            _say(f"survived  {module}:{mutant.line}  {mutant.name}")
    gone = excused - {mutant.name for mutant in made}
    for name in sorted(gone):
        _say(f"accepted, but not there  {module}  {name}")
    return result


def _rounds(plan: dict[str, object]) -> list[list[str]]:
    """The words for pytest of each round: the quick tests, and the slow ones if any are named."""
    tests = [str(word) for word in _listed(plan["tests"])]
    left_out = [str(plan[name]) for name in ("never", "slow") if name in plan]
    quick = [*tests, *(["-k", f"not ({' or '.join(left_out)})"] if left_out else [])]
    return [quick, [*tests, "-k", str(plan["slow"])]] if "slow" in plan else [quick]


def _patience(module: str, text: str, tests: Sequence[str], trial: Trial) -> float:
    """Seconds that tests may take with a mutant: far more than they take without."""
    started = time.monotonic()
    if trial.tried(module, text, tests, patience=600):
        raise SystemExit(f"{' '.join(tests)} fail without a mutant:\n{trial.said()}")
    return 10 + 4 * (time.monotonic() - started)


def _listed(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Try all of them, or those of some modules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", help="parts of the modules' paths; default: all in tools/mutants.toml")
    parser.add_argument("--only", default="", metavar="PATTERN", help="mutants whose names have it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one of N, for an estimate")
    parser.add_argument("--list", action="store_true", help="name them, and try none")
    arguments = parser.parse_args()
    plans = tomli.loads(PLAN.read_text(encoding="utf-8"))
    picked = {m: plan for m, plan in plans.items() if not arguments.modules or any(w in m for w in arguments.modules)}
    if arguments.list:
        for module in picked:
            for mutant in mutants_of((ROOT / module).read_text(encoding="utf-8")):
                _say(f"{module}:{mutant.line}  {mutant.name}")
        return 0
    for name in _PRELOADED:
        __import__(name)
    results: dict[str, Tested] = {}
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        for module, plan in picked.items():
            started = time.monotonic()
            results[module] = tried(module, plan, trial, only=arguments.only, every=arguments.every)
            one = results[module]
            _say(
                f"{module:<36} {one.total:>4} mutants, {one.killed:>4} killed ({one.ended} by time), "
                f"{one.accepted:>3} explained, {len(one.survived):>3} survived, {time.monotonic() - started:.0f} s"
            )
    total, killed = sum(r.total for r in results.values()), sum(r.killed for r in results.values())
    survived = sum(len(r.survived) for r in results.values())
    _say(f"{'all':<36} {total:>4} mutants, {killed:>4} killed ({killed / max(1, total):.0%}), {survived} survived")
    return 0 if killed >= _ENOUGH * total else 1


if __name__ == "__main__":
    sys.exit(main())
