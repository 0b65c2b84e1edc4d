"""Batches made by a thread of their own.

delta-rs pulls rows inside its runtime, and what reads a store through the same library may not run in there.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_AHEAD = 4


class Ahead:
    """Batches, some ahead of who takes them.

    Args:
        batches: makes them.

    Attributes:
        count: how many rows were taken.
        failed: why there are no more, where it was an error: delta-rs does not pass on which.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.count = 0
        self.failed: Exception | None = None
        self._batches = batches
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(_AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._make, name="gathered-rows", daemon=True)
        self._thread.start()

    def _make(self) -> None:
        try:
            for batch in self._batches:
                if not self._put(batch):
                    return
        except Exception as error:  # noqa: BLE001 - raised where the rows are taken
            self.failed = error
        self._put(None)

    def _put(self, batch: pa.RecordBatch | None) -> bool:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(batch, timeout=0.1)
                return True
        return False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._queue.get()) is not None:
            self.count += batch.num_rows
            yield batch
        if self.failed is not None:
            raise self.failed

    def close(self) -> None:
        """End the thread, whether all was taken or not."""
        self._ended.set()
        self._thread.join()
