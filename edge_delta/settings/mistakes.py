"""What people write who come from another tool or another format, and what they are told."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    import json
    from pathlib import Path

OF_THE_UPLOADER = frozenset(
    {"databricks_table", "databricks_host", "databricks_http_path", "databricks_database", "sqlite_table"}
    | {"enable_sanitize", "enable_filter", "enable_aggregate"}
    | {"sanitize_config", "filter_config", "aggregate_config", "emergency_config"}
)
"""Its keys, which docs/from-the-uploader.md has."""
_YAML = r"\s*[A-Za-z_][\w-]*:(\s|$)"


def not_toml(path: Path, error: Exception) -> ConfigurationError:
    """Why a settings file cannot be read, in the words of what it is instead."""
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        return ConfigurationError(
            f"{path} is not TOML, and settings are read from TOML only",
            "Write them as in config.toml.example, key = value, and name that file with --config"
            + _from_the_uploader(path),
        )
    with contextlib.suppress(OSError, UnicodeDecodeError):
        first = next((line for line in path.read_text(encoding="utf-8").splitlines() if re.match(_YAML, line)), None)
        if first is not None:
            return ConfigurationError(
                f"{path} is not TOML but YAML, as its line {first.strip().partition(':')[0]}: … shows: {error}",
                "Write key = value, as in config.toml.example" + _from_the_uploader(path),
            )
    twice = re.match(r"Cannot overwrite a value \(at line (\d+)", str(error))
    if twice is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError, IndexError):
            key = path.read_text(encoding="utf-8").splitlines()[int(twice[1]) - 1].partition("=")[0].strip()
            return ConfigurationError(f"{path} sets {key} twice, again in line {twice[1]}", "Remove one of the two")
    return ConfigurationError(f"{path} is not valid TOML: {error}", "Fix that line")


def _from_the_uploader(path: Path) -> str:
    """Where its keys are those of the original uploader, the page that has them."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        keys = re.findall(r"(?m)^\s*\"?([A-Za-z_]\w*)\"?\s*[:=]", path.read_text(encoding="utf-8"))
        found = [key for key in keys if key in OF_THE_UPLOADER]
        if found:
            return f"; {found[0]} is a key of the original uploader: docs/from-the-uploader.md says what replaces each"
    return ""


def beside(default: Path) -> str:
    """A file that was meant to be read, perhaps."""
    if default.exists():
        return ""
    found = next((f for s in (".yaml", ".yml", ".json") if (f := default.with_suffix(s)).is_file()), None)
    return f" ({found} is here, and settings are read from TOML only)" if found is not None else ""


def not_json(text: str, error: json.JSONDecodeError) -> str:
    """What is wrong and after which key; values are not quoted, they may be places."""
    keys = re.findall(r"[\"']?([A-Za-z_]\w*)[\"']?\s*:", text[: error.pos])
    where = f"after the key {keys[-1]}" if keys else f"at character {error.pos + 1}"
    cure = "; keys and texts are in double quotes" if "double quotes" in error.msg else ""
    return (
        f"is not JSON {where}: {error.msg[0].lower()}{error.msg[1:]} (line {error.lineno}, column {error.colno}){cure}"
    )
