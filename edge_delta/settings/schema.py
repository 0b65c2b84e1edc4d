"""The JSON schema of config.toml, for editors that complete and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edge_delta.settings.declaration import Field, Secret, Section, fields
from edge_delta.settings.sections import OF_THE_PROCESS, Settings

_SHORTHANDS: dict[str, dict[str, Any]] = {
    "processing_mode": {"type": "string"},
    "tables": {"type": "string"},
    "max_memory": {"type": "string"},
    "severity_thresholds": {"type": "object", "additionalProperties": {"type": ["number", "object"]}},
}
"""What a field's ``prepare`` takes besides its own form."""


def json_schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12, of what `edge_delta.settings.load` takes from a file.

    Secrets are not in it: they never belong in the file. Nothing is required, because flags and the environment can
    give it as well.
    """
    definitions: dict[str, Any] = {}
    whole = _section(Settings, definitions)
    one = {n: form for n, form in whole["properties"].items() if n not in OF_THE_PROCESS}
    [about] = [field.description for field in fields(Settings) if field.name == "sources"]
    entry = {"type": "object", "properties": one, "additionalProperties": False}
    whole["properties"]["sources"] = {"type": "array", "items": entry, "description": about}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "config.toml of edge-delta",
        **whole,
        "$defs": definitions,
    }


def _section(section: type[Section], definitions: dict[str, Any]) -> dict[str, Any]:
    shown = [field for field in fields(section) if not field.is_secret and field.name != "sources"]
    return {
        "description": section.__doc__,
        "type": "object",
        "properties": {field.name: _field(field, definitions) for field in shown},
        "additionalProperties": False,
    }


def _field(field: Field, definitions: dict[str, Any]) -> dict[str, Any]:
    if field.section is not None:
        return _section(field.section, definitions)
    form = msgspec.json.schema(field.form, schema_hook=_text)
    definitions |= form.pop("$defs", {})
    form["description"] = field.description
    if field.name in _SHORTHANDS:
        own = {key: value for key, value in form.items() if key != "description"}
        form = {"description": field.description, "anyOf": [own, _SHORTHANDS[field.name]]}
    if field.default is not None:
        form["default"] = str(field.default) if isinstance(field.default, Path) else field.default
    return form


def _text(form: type) -> dict[str, Any]:
    if form in (Path, Secret):
        return {"type": "string"}
    raise NotImplementedError(form)
