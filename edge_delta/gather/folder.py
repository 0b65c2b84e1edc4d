"""Files in a folder of this machine's, or of one that it has mounted, such as a volume of Databricks'."""

from __future__ import annotations

import os
from pathlib import Path


class FolderFiles:
    """Files below a folder; see `edge_delta.gather.logs.Files`.

    Args:
        root: the folder.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def get(self, path: str) -> bytes | None:
        """What a file holds; None if there is none."""
        try:
            return Path(self.root, path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, path: str) -> bool:
        """Whether there is a file."""
        return Path(self.root, path).exists()

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where it is not there."""
        try:
            return os.listdir(Path(self.root, folder))  # noqa: PTH208 - names, of maybe thousands of files
        except (FileNotFoundError, NotADirectoryError):
            return []
