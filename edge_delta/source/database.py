"""One SQLite file, opened for reading only, through the one SQLite library of the process.

The connection stays open: on POSIX, closing any handle to a SQLite file drops the locks that the process holds on it,
and a kept connection is what sees another process's commits cheaply (``PRAGMA data_version``). The standard library's
``sqlite3`` must never touch the same file in this process: it brings a second copy of the library.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import adbc_driver_manager
from arro3.core import Table as ArrowTable

from edge_delta.core.errors import ConfigurationError, EdgeDeltaError, SourceUnavailable
from edge_delta.core.reach import is_there, refuse_barred
from edge_delta.source import columns, headers
from edge_delta.source.connections import Connections
from edge_delta.source.files import at_rest, is_mount_point, other_name, signature
from edge_delta.source.refusals import refused

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import polars as pl

BUSY_TIMEOUT_MS = 5_000
_ANY_LENGTH = 2**31
_MAGIC = b"SQLite format 3\x00"


def quoted(identifier: str) -> str:
    """An identifier as SQL writes it, whatever it holds.

    Not in double quotes: where there is no such column, SQLite takes those for a text (https://sqlite.org/quirks.html,
    8), and a column that was renamed would be read as its own old name. In backticks it is an error.
    """
    return "`" + identifier.replace("`", "``") + "`"


class Database:
    """A SQLite database that another process writes.

    Args:
        path: the database file.
        busy_timeout_ms: how long to wait for a lock before `Locked`.
        writes: whether it is opened for writing, which only `edge-delta purge` does.
        shared: the connections of all who read files in this thread; None for one of its own.

    Raises:
        ConfigurationError: if there is no such file, it is no database, or it is mounted in a way that hides its log.
        SourceUnavailable: if it cannot be opened now.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        writes: bool = False,
        shared: Connections | None = None,
    ) -> None:
        self.path = path
        self._shared = shared or Connections()
        self._key: object = None
        self._writes = writes
        self._busy_timeout_ms = busy_timeout_ms
        self._connection: adbc_driver_manager.AdbcConnection | None = None
        self.opened_as: tuple[int, int] = (0, 0)
        self._held = False
        self._immutable = False
        self._file: headers.Descriptor | None = None
        self._wal = path
        self._settled: object = None
        self._seen: object = None
        self._encoding: str | None = None
        self._longest: int | None = None
        self.traced: Callable[[str], None] = lambda _sql: None
        """Is given each statement before it runs."""
        self._refuse_what_cannot_work()

    def twin(self) -> Database:
        """The same file, over a connection of its own."""
        return Database(self.path, busy_timeout_ms=self._busy_timeout_ms)

    # -- opening

    def _refuse_what_cannot_work(self) -> None:
        if not is_there(self.path):
            refuse_barred(self.path)
            raise ConfigurationError(
                f"there is no database at {self.path}", "Check --sqlite, or that its directory is mounted"
            )
        if self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a directory", "Name the SQLite file inside it with --sqlite")
        header = headers.read(self.path)
        if header and not header.startswith(_MAGIC):
            raise ConfigurationError(f"{self.path} is not a SQLite database", "Check --sqlite")
        if headers.in_wal_mode(header) and is_mount_point(self.path):
            raise ConfigurationError(
                f"{self.path} is mounted as a single file, but it is in WAL mode: rows still in its -wal file would "
                "stay invisible",
                f"Mount its directory instead, for example -v {self.path.parent}:/data:ro with --sqlite "
                f"/data/{self.path.name}",
            )

    def _beside(self, suffix: str) -> Path:
        """A file beside the database: beside what a symbolic link leads to, as SQLite has it."""
        real = self.path.resolve()
        return real.with_name(real.name + suffix)

    def _open(self) -> adbc_driver_manager.AdbcConnection:
        """Open as SQLite can without writing a file beside the database.

        A WAL database whose last writer closed it has no -wal file. Opening it read-only would create one, or fail in
        a read-only directory; ``immutable=1`` reads it rightly for as long as that stays so (checked by `snapshot`).
        """
        with headers.OPENING:
            connection = self._connect()
        self.rows(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        self._limit()
        return connection

    def _connect(self) -> adbc_driver_manager.AdbcConnection:
        if self._file is not None:
            return self._connect_to_its_end(self._file)
        stat = self._stat()
        self._wal = self._beside("-wal")
        header = headers.read(self.path)
        self._immutable = headers.in_wal_mode(header) and not self._wal.exists() and not self._writes
        if self._immutable and stat.st_nlink > 1:
            raise other_name(self.path, stat)
        self._settled = self._signature() if self._immutable and at_rest(stat) else None
        mode = "rw" if self._writes else "ro&immutable=1" if self._immutable else "ro"
        uri = f"file:{quote(str(self.path.resolve()))}?mode={mode}"
        self.opened_as = (stat.st_dev, stat.st_ino)
        alike = self._settled is not None or not self._immutable  # else nobody can tell whether it is still the same
        key = (uri, *self.opened_as, self._settled, self._longest, None if alike else object())
        with self._errors():
            self._connection = connection = self._shared.of(uri, key)
        self._key = key
        if self._immutable:
            self._file = headers.descriptor(self.path, self.opened_as)
        else:
            headers.hold(self.opened_as, header)
            self._held = True
        return connection

    def _connect_to_its_end(self, file: headers.Descriptor) -> adbc_driver_manager.AdbcConnection:
        """Open a file again that has no name, or another one: it may have been written before it went."""
        stat = file.stat()
        self._settled = signature(stat, written=False) if at_rest(stat) else None
        self._key = object()
        with self._errors():
            self._connection = connection = self._shared.of(file.uri, self._key)
        return connection

    def limit(self, longest: int) -> None:
        """Have no text or blob loaded that is longer than so many bytes; a statement that needs one is `TooLong`."""
        self._longest = longest
        if self._connection is not None:
            self._limit()

    @property
    def longest_cell(self) -> int:
        """The longest text or blob whose hexadecimal digits may be asked for."""
        return _ANY_LENGTH if self._longest is None else self._longest // 2

    def _limit(self) -> None:
        if self._longest is None:
            return
        try:
            self.rows(f"SELECT arrow_limit({self._longest})")
        except SourceUnavailable as error:
            # A library from before there was a limit, in a checkout that was not built again: a giant row is rejected
            # all the same, but only after it was loaded. Wheels have both parts of one version.
            if "no such function" not in str(error):
                raise

    def _stat(self) -> os.stat_result:
        try:
            return self.path.stat()
        except OSError as error:
            raise SourceUnavailable(
                f"{self.path} is gone: {error.strerror}", "Nothing to do if the sensor's process makes it again"
            ) from error

    def close(self) -> None:
        """Close; the next call opens again, whatever file is there then."""
        self._leave()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._held:
            self._held = False
            headers.release(self.opened_as)

    def _leave(self) -> None:
        opened, self._connection = self._connection is not None, None
        self._seen = self._encoding = None
        if opened:
            self._shared.leave(self._key)

    # -- noticing change

    def moved(self) -> bool:
        """Whether the path now names another file than the one that is open.

        The open one can still be read to its end, even if it was deleted.
        """
        if self._connection is None:
            return False
        try:
            stat = self.path.stat()
        except OSError:
            return False
        return (stat.st_dev, stat.st_ino) != self.opened_as

    def gone(self) -> SourceUnavailable | None:
        """Why the path names no file now, while the one that is open can still be read to its end; None otherwise."""
        if self._connection is None:
            return None
        try:
            self._stat()
        except SourceUnavailable as error:
            return error
        return None

    def changed(self) -> bool:
        """Whether there may be something new since the last call; some 20 µs, whatever the size of the database."""
        if self._connection is None:
            return True
        before, self._seen = self._seen, self._signature()
        return self._seen != before

    def state(self) -> object:
        """What is another one whenever another process has written; None while the file is not open."""
        return None if self._connection is None else self._signature()

    def _signature(self) -> object:
        if not self._immutable:
            return (*self.opened_as, self.scalar("PRAGMA data_version"))
        if self._connection is not None and (self.moved() or self.gone()):  # its name tells nothing of it any more
            return self.opened_as if self._file is None else signature(self._file.stat(), written=False)
        return signature(self._stat(), written=self._wal.exists())

    # -- reading

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """One short read transaction, so that the statements inside see one state of the database.

        Raises:
            SourceUnavailable: if the file was written in a way that this transaction could not be shielded from.
        """
        self._reopen_if_a_writer_came()
        before = self._signature() if self._immutable else None
        self.rows("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(EdgeDeltaError):
                self.rows("COMMIT")
        if self._immutable and self._signature() != before:
            if not (self.moved() or self.gone()):  # else it is nowhere else
                self.close()
            raise SourceUnavailable(f"{self.path} was opened for writing while it was read")

    def _reopen_if_a_writer_came(self) -> None:
        if self._connection is None:
            self._open()
        elif self._immutable and self._unsettled():
            # An immutable connection never looks at the file again.
            seen, aside = self._seen, self.moved() or self.gone()
            if aside and self._file is None:
                return
            self._leave() if aside else self.close()
            self._open()
            self._seen = seen

    def _unsettled(self) -> bool:
        return self._settled is None or self._signature() != self._settled

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The result of a statement that returns few rows."""
        with self._statement(sql) as stream:
            table = ArrowTable.from_arrow(stream)
            values = [table.column(i).to_pylist() for i in range(table.num_columns)]
        return list(zip(*values, strict=True))

    def scalar(self, sql: str) -> Any:
        """The single value of a statement, None if it has no row."""
        return next((row[0] for row in self.rows(sql)), None)

    def execute(self, sql: str) -> None:
        """Run a statement that has no result, in a transaction of its own unless one is open."""
        connection = self._connection or self._open()
        self.traced(sql)
        with self._errors(), adbc_driver_manager.AdbcStatement(connection) as statement:
            statement.set_sql_query(sql)
            statement.execute_update()

    @property
    def encoding(self) -> str:
        """How its texts are stored: ``UTF-8``, ``UTF-16le`` or ``UTF-16be``."""
        self._encoding = self._encoding or str(self.scalar("PRAGMA encoding"))
        return self._encoding

    def frame(self, cells: Mapping[str, tuple[str, str]], source: str, *, rows: int) -> pl.DataFrame | None:
        """The rows of a source as a frame, None if a cell is not of its column's kind.

        Args:
            cells: by the column's name, its kind (`columns.KINDS`) and SQL for its cells.
            source: FROM and what follows.
            rows: how many are expected.
        """
        [results] = self.rows(columns.statement(cells, source, rows=rows))
        from edge_delta.source.frames import of_results  # noqa: PLC0415 - Polars, and the first rows are read by now

        return of_results(cells, results)

    @contextlib.contextmanager
    def _statement(self, sql: str) -> Iterator[Any]:
        connection = self._connection or self._open()
        self.traced(sql)
        with self._errors(), adbc_driver_manager.AdbcStatement(connection) as statement:
            statement.set_sql_query(sql)
            stream, _ = statement.execute_query()
            yield stream

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except EdgeDeltaError:
            raise
        except Exception as error:
            message = _first_line(error)
            if not isinstance(error, adbc_driver_manager.Error) and "[SQLite]" not in message:
                raise
            raise refused(self.path, self._beside, message, self._busy_timeout_ms) from error


def _first_line(error: Exception) -> str:
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    return message.split("[SQLite] ")[-1].removeprefix("Failed to prepare query: ")
