"""What this user may see of a path. `Path.exists` raises where a folder on the way may not be entered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_delta.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether there is something at a path, as far as this user may look."""
    return os.access(path, os.F_OK)


def refuse_barred(path: Path) -> None:
    """Refuse a path about which nothing can be told.

    Raises:
        ConfigurationError: if a folder on the way may not be entered by this user.
    """
    barred = _barred(path)
    if barred is not None:
        raise ConfigurationError(
            f"{path} cannot be looked at: user {os.geteuid()} may not enter {os.path.normpath(barred)}",
            "Give that user permission to enter it, or run this as a user who may",
        )


def not_permitted(error: PermissionError) -> ConfigurationError:
    """What the system does not let this user do, for whoever did not expect it."""
    path = error.filename or "a file"
    return ConfigurationError(
        f"user {os.geteuid()} may not use {path}: {error.strerror or 'permission denied'}",
        "Give that user permission on it and its folder, or run this as a user who has it",
    )


def _barred(path: Path) -> Path | None:
    """The outermost folder on the way to a path that may not be entered; None if there is none."""
    folders = reversed(path.absolute().parents)
    return next((one for one in folders if one.is_dir() and not os.access(one, os.X_OK)), None)
