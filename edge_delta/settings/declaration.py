"""What the settings are made of, and what each field says of itself: one place for all that follows from it.

A field's type carries an `about`: its description and bounds, and where else it can be set. Flags, environment, help,
the example file, the JSON schema and the documents are made from that.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MASK = "**********"
_SHORTEST_SECRET = 16
_LEAST_CHARACTERS = 6


class Secret:
    """A text that shows itself to nobody by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if len(text) < _SHORTEST_SECRET:
            msg = f"is too short: expected at least {_SHORTEST_SECRET} characters"
            raise ValueError(msg)
        if len(set(text)) < _LEAST_CHARACTERS or not text.strip():
            msg = "is easy to guess: use a random text, such as openssl rand -hex 32 prints"
            raise ValueError(msg)
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the settings. Each field's type carries an `about`.

    Modules of sections do without ``from __future__ import annotations``: every start would compile each type again.
    """


def about(  # noqa: PLR0913 - one argument a place that a setting shows in
    description: str,
    *,
    flag: str | tuple[str, ...] = (),
    metavar: str = "",
    env: str = "",
    fixed: bool = False,
    private: bool = False,
    example: str = "",
    prepare: Callable[[object], object] | None = None,
    **bounds: Any,
) -> Meta:
    """What a field says of itself.

    Args:
        description: what it is, in words, without a full stop.
        flag: the flag of the command line, then other spellings of it.
        metavar: what the flag's value is called in its help; none for a flag without a value.
        env: the environment variable; for a section the one that holds all of it as JSON.
        fixed: whether a change takes a restart, because it says what the process is about.
        private: whether the log masks it.
        example: what the example file shows where the default is nothing, or would show too little; TOML.
        prepare: brings other ways of writing the value into its form.
        bounds: msgspec's own, such as ``ge`` and ``pattern``.
    """
    extra = {
        "flags": (flag,) if isinstance(flag, str) else flag,
        "metavar": metavar,
        "env": env,
        "fixed": fixed,
        "private": private,
        "example": example,
        "prepare": prepare,
    }
    return Meta(description=description, extra=extra, **bounds)


class Field(Struct, frozen=True):
    """One setting, as its declaration says.

    Attributes:
        name: its TOML key, in its section.
        form: its type, with what is said of it.
        required: whether it has to be set.
        default: its default; None where there is none.
        description: what it is.
        flags: the flag, then other spellings of it; none for most.
        metavar: what the flag's value is called.
        variable: the environment variable, empty for none.
        fixed: whether a change takes a restart.
        private: whether the log masks it.
        example: what the example file shows, as TOML; empty for the default.
        prepare: brings other ways of writing the value into its form.
        section: the section that it is, for fields that are one.
    """

    name: str
    form: Any
    required: bool
    default: Any
    description: str
    flags: tuple[str, ...]
    metavar: str
    variable: str
    fixed: bool
    private: bool
    example: str
    prepare: Callable[[object], object] | None
    section: type[Section] | None

    @property
    def is_secret(self) -> bool:
        """Whether it may only come from the environment."""
        return any(part is Secret for part in _parts(self.form))


@cache
def fields(section: type[Section]) -> tuple[Field, ...]:
    """A section's settings, in their order."""
    return tuple(map(_field, msgspec.structs.fields(section)))


def _field(plain: msgspec.structs.FieldInfo) -> Field:
    form = plain.type
    meta = next((part for part in _parts(form) if isinstance(part, Meta) and part.extra), None)
    said: dict[str, Any] = dict(meta.extra or {}) if meta is not None else {}
    default = plain.default if plain.default_factory is msgspec.NODEFAULT else plain.default_factory()
    sections = [part for part in _parts(form) if isinstance(part, type) and issubclass(part, Section)]
    return Field(
        name=plain.name,
        form=form,
        required=plain.required,
        default=None if default is msgspec.NODEFAULT else default,
        description=(meta.description if meta is not None else None) or "",
        flags=said.get("flags", ()),
        metavar=said.get("metavar", ""),
        variable=said.get("env", ""),
        fixed=said.get("fixed", False),
        private=said.get("private", False),
        example=said.get("example", ""),
        prepare=said.get("prepare"),
        section=sections[0] if sections and isinstance(default, Section) else None,
    )


def _parts(form: Any) -> Iterator[Any]:
    """A type, and all that it is made of, what is said of it included."""
    yield form
    for part in get_args(form):
        yield from _parts(part)


def masked(section: Section, *, all_of_it: bool = False) -> dict[str, Any]:
    """A section as plain values for the log: secrets and the device's place masked, defaults left out.

    Args:
        section: the section.
        all_of_it: whether defaults are shown too.
    """
    values: dict[str, Any] = {}
    for field in fields(type(section)):
        value = getattr(section, field.name)
        if value == field.default and not all_of_it and not field.required:
            continue
        values[field.name] = _MASK if field.private and value is not None else _plain(value)
    return values


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return masked(value)
    if isinstance(value, Secret | Path):
        return repr(value) if isinstance(value, Secret) else str(value)
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def differing(before: Section, after: Section) -> list[str]:
    """The names of the settings that are not the same."""
    names = [field.name for field in fields(type(after))]
    return [name for name in names if getattr(after, name) != getattr(before, name)]


S = TypeVar("S", bound=Section)


def changed(section: S, **values: Any) -> S:
    """The same section with some other values.

    Raises:
        ConfigurationError: if they do not go together.
    """
    try:
        return msgspec.structs.replace(section, **values)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
