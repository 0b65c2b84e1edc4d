"""Runs the engine beside the signals: the first one lets the batch in flight finish, the second ends at once.

SIGHUP asks for the settings to be read again, as it does of every service. On a terminal it says that this is gone, and
ends the process as SIGTERM does.

The engine works in a thread of its own, because Python handles signals in the main thread only, and not while that is
inside a long call into SQLite or delta-rs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from msgspec import Struct

from edge_delta.device import library_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    Handler = Callable[[int, FrameType | None], None]

GRACE = 9.0
"""Seconds for the batch in flight. A commit cannot be torn: what is not in the log is read again at the next start."""
_DONE = b"\xff"  # above every signal's number


class Heard(Struct):
    """What is done when a signal comes; in the main thread, except for `late`.

    Args:
        stopping: called with the signal's name, once.
        late: the work did not end within `GRACE`; gives the exit code with which the process leaves at once.
        read_again: the settings are to be read again.
    """

    stopping: Callable[[str], None]
    late: Callable[[], int] = lambda: 0
    read_again: Callable[[], None] = lambda: None


def run_until_signal(work: Callable[[threading.Event], None], heard: Heard) -> bool:
    """Run the work until it returns or a signal comes.

    Args:
        work: gets the flag that asks it to stop.
        heard: what is done when a signal comes.

    Returns:
        Whether it was stopped by a signal.

    Raises:
        Exception: whatever the work raised.
    """
    stop = threading.Event()
    failure: list[BaseException] = []

    def body() -> None:
        try:
            work(stop)
        except KeyboardInterrupt as interrupt:
            # Polars hooks SIGINT and raises this in the thread that collects, beside the handler below.
            if not stop.wait(GRACE):
                failure.append(interrupt)
        except BaseException as error:  # noqa: BLE001 - handed on to the main thread
            failure.append(error)

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _leave(128 + number)
        stop.set()
        _after(GRACE, lambda: _leave(heard.late()))
        heard.stopping(signal.Signals(number).name)

    hang_up = handle if _on_a_terminal() else lambda _number, _frame: heard.read_again()
    with _handled_by({signal.SIGTERM: handle, signal.SIGINT: handle, signal.SIGHUP: hang_up}):
        _run_beside_signals(body)
    if failure:
        raise failure[0]
    return stop.is_set()


def _after(seconds: float, work: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


def _on_a_terminal() -> bool:
    """Whether the process goes with its terminal."""
    return any(os.isatty(descriptor) for descriptor in (0, 1, 2))


@contextlib.contextmanager
def _handled_by(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_beside_signals(body: Callable[[], None]) -> None:
    """Run the body in a thread; the main thread wakes for every signal, so that its handler runs at once.

    Waiting on a lock would not do: Polars takes SIGINT with a handler of its own, which passes the signal on but lets
    the wait go on (SA_RESTART).
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def body_and_ring() -> None:
        try:
            body()
        finally:
            os.write(writer, _DONE)

    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    engine = threading.Thread(target=body_and_ring, name="engine", daemon=True)
    engine.start()
    try:
        while _DONE not in os.read(reader, 64):
            pass
        engine.join()
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def _leave(code: int) -> None:
    library_output.end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
