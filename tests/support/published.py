"""All that a run leaves behind, as text that two runs can be compared by: only ids and times are taken out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?")
_TIMED = (
    r"\w*seconds|\w*_per_second|\w*_ms|timestamp|modificationTime|deletionTimestamp|lastUpdated|createdTime|"
    r"at|since|pid"
)
_OF_TIME = re.compile(rf'((?:"(?:{_TIMED})": ?)|process )[\d.]+')
_METRIC = re.compile(r"(?m)^(edge_delta_\w*(?:seconds|timestamp|created|memory|cpu)\w*(?:\{[^}]*\})? )\S+")
_WRITTEN = re.compile(r'(?<="written": )(?:"[0-9a-f]{16}"|null)')  # made of when the file was written, and of its place
_OURS = "databricks_inserted_at"
_SERIES = ("hours", "parts")


def everything(folder: Path) -> dict[str, bytes]:
    """Each file's content, by its name without ids."""
    found: dict[str, list[bytes]] = {}
    for file in folder.rglob("*"):
        if file.is_file():
            content = parquet(file) if file.suffix == ".parquet" else without_times(_text(file)).encode()
            found.setdefault(_UUID.sub("(id)", str(file.relative_to(folder))), []).append(content)
    return {name: b"\n".join(sorted(contents)) for name, contents in sorted(found.items())}


def _text(file: Path) -> str:
    return "(random)" if file.suffix == ".key" else file.read_text(encoding="utf-8")


def without_times(text: str) -> str:
    """A text without ids and times; delta-rs writes the keys of its log in a random order."""
    if text.startswith("{\n"):
        text = _in_order(text)
    lines = (line for line in text.splitlines() if '"event": "statement"' not in line)  # some come by the clock
    text = "\n".join(_in_order(line) if line.startswith("{") else line for line in lines)
    text = _OF_TIME.sub(r"\1(n)", _TIME.sub("(time)", _UUID.sub("(id)", text)))
    return _WRITTEN.sub("(n)", _METRIC.sub(r"\1(n)", text))


def _in_order(line: str) -> str:
    try:
        return json.dumps(_plain(json.loads(line)), sort_keys=True)
    except json.JSONDecodeError:
        return line


def _counted(value: Any) -> Any:
    """How many there were: a series begins with the number of an hour, or of five minutes."""
    return sum(value[1:]) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """JSON in texts of JSON is taken apart, too."""
    if isinstance(value, dict):
        return {name: _counted(inner) if name in _SERIES else _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):  # maps, as Parquet has them
        return sorted((_plain(inner) for inner in value), key=str)
    return _plain(json.loads(value)) if isinstance(value, str) and value.startswith("{") else value


def parquet(file: Path) -> bytes:
    """The bytes of a file's columns and what its footer says of them, but for the column with the batch's time.

    Of a checkpoint its rows: they are full of ids.
    """
    if ".checkpoint" in file.name:
        return without_times(
            "\n".join(json.dumps(row, default=str) for row in pq.read_table(file).to_pylist())
        ).encode()
    raw, meta = file.read_bytes(), pq.read_metadata(file)
    parts = [str((meta.num_rows, meta.num_row_groups, len(raw), pq.read_schema(file))).encode()]
    for group in (meta.row_group(i) for i in range(meta.num_row_groups)):
        for column in (group.column(i) for i in range(group.num_columns)):
            if column.path_in_schema == _OURS:
                continue
            start = column.dictionary_page_offset or column.data_page_offset
            said = {k: v for k, v in column.to_dict().items() if not k.endswith("offset")}
            parts += [without_times(str(said)).encode(), raw[start : start + column.total_compressed_size]]
    return b"\n".join(parts)


def differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Where two runs differ, with the first lines that do."""
    found = [f"only in one: {name}" for name in sorted({*one} ^ {*other})]
    for name in sorted({*one} & {*other}):
        if one[name] == other[name]:
            continue
        lines = zip(one[name].split(b"\n"), other[name].split(b"\n"), strict=False)
        first = next((f"{a[-400:]!r}\n    {b[-400:]!r}" for a, b in lines if a != b), "its length")
        found.append(f"{name}:\n    {first}")
    return found
