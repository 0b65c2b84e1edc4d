"""Opens connections, each once for all who read a file in one thread."""

from __future__ import annotations

import contextlib
from pathlib import Path

import adbc_driver_manager
import adbc_driver_sqlite

from edge_delta.source import columns


class Connections:
    """The connections of one source, or of all that a process reads.

    Each has a cache of pages of its own, 2 MB by SQLite's default, and open files.
    """

    def __init__(self) -> None:
        self._opened: dict[object, tuple[adbc_driver_manager.AdbcDatabase, adbc_driver_manager.AdbcConnection]] = {}
        self._users: dict[object, int] = {}

    def of(self, uri: str, key: object) -> adbc_driver_manager.AdbcConnection:
        """The connection for a key, opened if nobody has it open.

        Args:
            uri: what is opened.
            key: what makes two connections the same: the file, and how it is opened.
        """
        if key not in self._opened:
            database = adbc_driver_manager.AdbcDatabase(driver=_driver(), uri=uri)
            connection = adbc_driver_manager.AdbcConnection(database)
            columns.load(connection)
            self._opened[key], self._users[key] = (database, connection), 0
        self._users[key] += 1
        return self._opened[key][1]

    def leave(self, key: object) -> None:
        """One of its users goes; the last one closes it."""
        self._users[key] -= 1
        if not self._users[key]:
            for handle in reversed(self._opened.pop(key)):
                with contextlib.suppress(adbc_driver_manager.Error):
                    handle.close()


def _driver() -> str:
    """The driver's library; found beside its package, because asking the package costs an idle run 10 ms of imports."""
    beside = Path(adbc_driver_sqlite.__file__).with_name("libadbc_driver_sqlite.so")
    return str(beside) if beside.exists() else adbc_driver_sqlite._driver_path()  # noqa: SLF001
