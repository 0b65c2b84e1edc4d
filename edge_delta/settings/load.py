"""Reading the settings: one frozen value, once, from flags, environment and TOML, in that order of precedence.

Every problem is reported at once, with the place it came from. A key that nothing reads is an error.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from edge_delta.core.errors import ConfigurationError, Problem, nearest
from edge_delta.settings import mistakes
from edge_delta.settings.declaration import Field, S, Secret, changed, fields
from edge_delta.settings.sections import OF_THE_PROCESS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_FILE = Path("config.toml")
_SECRET_WORDS = ("secret", "password", "token", "account_key", "access_key", "sas")


def load(flags: Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process.

    Args:
        flags: settings given on the command line, by name; ``config`` is the file's path. None means not given.
        environment: the environment variables, by default the process's own.

    Raises:
        ConfigurationError: with every problem found.
    """
    environment = os.environ if environment is None else environment
    file = file_of(flags, environment)
    values: dict[str, Any] = read_file(file) if file is not None else {}
    entries = values.pop("sources", None)
    places = dict.fromkeys(values, str(file))
    problems: list[Problem] = []
    for name, variable in (("gps_fuzzing_secret", "GPS_FUZZING_SECRET"), ("witness_key", "EDGE_DELTA_WITNESS_KEY")):
        if values.pop(name, None) is not None:
            problems.append(Problem(str(file), name, "", f"is a secret: set {variable} instead"))
    before: dict[str, Any] = {}
    problems += _from_environment(environment, before, places)
    given = _from_flags(flags, places)
    if flags.get("database_not_needed"):
        values.setdefault("sqlite", os.devnull)
    report = _Report(places, file, problems)
    if entries is None:
        settings = _section(Settings, _overridden(values, before, given), report)
    else:
        settings = _several(values, entries, (before, given), report)
    if settings is None or problems:
        raise ConfigurationError.of(problems)
    return settings


_TABLES = ("sqlite_table_name", "tables")
_CHOICE = ("sqlite", *_TABLES)
"""What names one source; where there are several, a flag chooses among them, and the environment is for those that do
not say it themselves."""


def _from_flags(flags: Mapping[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """What the command line sets; `--table` more than once, and `--all-tables`, as the tables that are meant."""
    given: dict[str, Any] = {}
    for field in fields(Settings):
        if field.flags and flags.get(field.name) is not None:
            given[field.name] = flags[field.name]
            places[field.name] = f"flag {field.flags[0]}"
    names = given.pop("sqlite_table_name", None)
    if flags.get("all_tables"):
        given["tables"], places["tables"] = ["*"], "flag --all-tables"
    elif names is not None and not isinstance(names, str) and len(names) > 1:
        given["tables"], places["tables"] = names, "flag --table"
    elif names:
        given["sqlite_table_name"] = names if isinstance(names, str) else names[0]
    return given


def _overridden(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Values, the later ones before the earlier ones; who names tables in one way unsays the other way."""
    values: dict[str, Any] = {}
    for layer in layers:
        if any(name in layer for name in _TABLES):
            values = {name: value for name, value in values.items() if name not in _TABLES}
        values |= layer
    return values


def _several(
    values: dict[str, Any], entries: object, over: tuple[dict[str, Any], dict[str, Any]], report: _Report
) -> Settings | None:
    """The settings where there is a list of sources: each entry takes what it does not say from the top level.

    Args:
        values: the top level of the file.
        entries: what it has under ``sources``.
        over: what the environment and the command line say.
        report: gathers the problems.
    """
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        report.add("sources", None, "expected a list of sources, each begun by a line [[sources]]")
        return None
    early = {name: value for name, value in over[0].items() if name in _CHOICE}
    late = _overridden(*({n: v for n, v in layer.items() if n not in _CHOICE} for layer in over))
    base = _overridden(values, early)
    first = {name: entries[0][name] for name in ("sqlite", "table_path") if name in entries[0]}
    whole = _section(Settings, {**first, **base, **late}, report)
    known = {field.name: field for field in fields(Settings)}
    built = []
    for number, entry in enumerate(entries):
        path, sound = f"sources[{number}].", True
        for name in entry.keys() & OF_THE_PROCESS:
            report.add(f"{path}{name}", None, "is the same for all sources: set it at the top level, before them")
            sound = False
        if whole is None:  # what is wrong for all is told once
            for name in entry.keys() & known.keys() - OF_THE_PROCESS:
                _field(known[name], entry[name], report, f"{path}{name}")
        elif sound:
            built.append(_section(Settings, _overridden(_merged(base, entry), late), report, path))
    complete = whole is not None and len(built) == len(entries) and None not in built
    return changed(whole, sources=tuple(built)) if whole is not None and complete else None


def _merged(base: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with what it does not say; of a section, key by key."""
    both = {n: {**base[n], **v} for n, v in entry.items() if isinstance(v, dict) and isinstance(base.get(n), dict)}
    return _overridden(base, {**entry, **both})


def _from_environment(environment: Mapping[str, str], values: dict[str, Any], places: dict[str, str]) -> list[Problem]:
    """Put what the environment sets into the values; returns what cannot be read."""
    problems = []
    for field in fields(Settings):
        text = environment.get(field.variable) if field.variable else None
        if not text:
            continue
        values[field.name], places[field.name] = text, f"environment variable {field.variable}"
        if field.section is not None:
            try:
                values[field.name] = json.loads(text)
            except json.JSONDecodeError as error:
                del values[field.name]
                problems.append(Problem(places[field.name], field.name, "", mistakes.not_json(text, error)))
    return problems


def variables() -> tuple[str, ...]:
    """The environment variables that are settings."""
    return ("EDGE_DELTA_CONFIG", *(field.variable for field in fields(Settings) if field.variable))


def file_of(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Path | None:
    """The settings file that is read, None if there is none."""
    path = flags.get("config") or environment.get("EDGE_DELTA_CONFIG")
    if path is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    return Path(path)


def read_file(path: Path) -> dict[str, Any]:
    """What a settings file says, unchecked.

    Raises:
        ConfigurationError: if it cannot be read, or is no TOML.
    """
    import tomli  # noqa: PLC0415 - only where there is a file

    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no settings file at {path}", "Check --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error}", "Check --config") from None
    except tomli.TOMLDecodeError as error:
        raise mistakes.not_toml(path, error) from None


class _Report:
    """Gathers the problems, each with the place that its value came from."""

    def __init__(self, places: Mapping[str, str], file: Path | None, problems: list[Problem]) -> None:
        self._places = places
        self._file = file
        self._problems = problems

    def add(self, key: str, value: object, expected: str) -> None:
        """One problem. Only values that cannot be secret are shown."""
        plain = isinstance(value, str | int | float) and not is_secret(key)
        place = self._places.get(key.split(".", maxsplit=1)[0], str(self._file or "settings"))
        self._problems.append(Problem(place, key, repr(value) if plain else "", expected))

    def missing(self, key: str) -> None:
        """A required setting is not there."""
        field = next((field for field in fields(Settings) if field.name == key), None)
        ways = [*field.flags[:1], field.variable] if field is not None else []
        ways.append(f"{key} in {self._file or DEFAULT_FILE}")
        expected = "is required: set " + ", ".join(way for way in ways if way)
        if self._file is None:
            expected += mistakes.beside(DEFAULT_FILE)
        self._problems.append(Problem("settings", key, "", expected))


def _section(section: type[S], values: object, report: _Report, path: str = "") -> S | None:
    """A section out of plain values; None, and every problem reported, if they do not make one."""
    if not isinstance(values, dict):
        name = path.rstrip(".")
        report.add(name, values, f"expected a table of settings, like [{name}], or a JSON object in the environment")
        return None
    known = {field.name: field for field in fields(section)}
    built: dict[str, Any] = {}
    complete = True
    for name in values:
        if name not in known:
            report.add(f"{path}{name}", None, _unknown(name, list(known)))
            complete = False
    for name, field in known.items():
        if name in values:
            built[name] = _field(field, values[name], report, f"{path}{name}")
            complete &= built[name] is not _BROKEN
        elif field.required:
            report.missing(f"{path}{name}")
            complete = False
    return _constructed(section, built, report, path) if complete else None


_BROKEN = object()


def _field(field: Field, value: object, report: _Report, key: str) -> object:
    if field.section is not None:
        inner = _section(field.section, value, report, f"{key}.")
        return _BROKEN if inner is None else inner
    prepared = field.prepare(value) if field.prepare is not None else value
    try:
        return msgspec.convert(prepared, field.form, strict=False, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        # Neither a place nor a secret is quoted: errors are sent around.
        _explain(str(error), field.form, None if field.private or field.is_secret else value, report, key)
        return _BROKEN


def _constructed(section: type[S], built: dict[str, Any], report: _Report, path: str) -> S | None:
    try:
        return section(**built)
    except ValueError as error:
        first, _, rest = str(error).partition(" ")  # what goes together with others is named first
        if first in {field.name for field in fields(section)}:
            report.add(f"{path}{first}", None, rest if rest.startswith("'") else str(error))
        else:
            report.add(path.rstrip(".") or "settings", None, str(error))
        return None


def _decoded(wanted: type, value: object) -> object:
    if wanted is Secret and isinstance(value, str):
        return Secret(value)
    if wanted is Path and isinstance(value, Path):
        return value
    msg = f"expected a {'text' if wanted is Secret else 'path'}"
    raise ValueError(msg)


def _explain(message: str, form: Any, value: object, report: _Report, key: str) -> None:
    """Report msgspec's message, which names the inner place as a path that begins with a dollar sign."""
    text, _, inner = message.partition(" - at `$")
    for part in inner.rstrip("`").replace("[...]", "").split("."):
        if part:
            key, value = f"{key}.{part}", value.get(part) if isinstance(value, dict) else value
    if text.startswith("Invalid enum value"):
        text = "expected one of " + ", ".join(repr(choice) for choice in _choices(form))
    if "unknown field" in text:
        text = "no such setting: " + text.partition("unknown field ")[2]
    report.add(key, value, text[0].lower() + text[1:])


def _choices(form: Any) -> Iterator[str]:
    for part in get_args(form):
        if isinstance(part, str):
            yield part
        elif part is not Ellipsis:
            yield from _choices(part)


def _unknown(name: str, names: list[str]) -> str:
    if is_secret(name):
        return "is a secret: set it in the environment, never in the file"
    if name in mistakes.OF_THE_UPLOADER:
        return "is a key of the original uploader; docs/from-the-uploader.md says what replaces it"
    close = nearest(name, names)
    return "no such setting" + (f", did you mean {close}?" if close else f"; there are: {', '.join(names)}")


def is_secret(key: str) -> bool:
    """Whether a name is one that secrets have."""
    return any(word in key.lower() for word in _SECRET_WORDS)
