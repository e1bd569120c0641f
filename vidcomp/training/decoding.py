"""Frames of training videos, from decoding processes that several threads share."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import DecodeOptions, DecodeWorker, Selection

Item = TypeVar("Item")
Result = TypeVar("Result")


class Decoders:
    """Decoding processes, one for each thread that decodes ahead; with none, the caller's thread has its own."""

    def __init__(self, workers: int, timeout_s: float | None = None) -> None:
        """Start ``workers`` processes; decoding one video may take ``timeout_s``, by default scaled to the file."""
        self.workers = workers
        self._timeout_s = timeout_s
        self._all = [DecodeWorker() for _ in range(max(1, workers))]
        self._free: queue.SimpleQueue[DecodeWorker] = queue.SimpleQueue()
        for worker in self._all:
            worker.start()
            self._free.put(worker)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._all:
            worker.close()

    def count(self, path: str, fps: float | None = None) -> int:
        """Frames coded in a file, or samples at ``fps`` a second, at least 1.

        Raises:
            VideoError: it cannot be read.
        """
        with self._worker() as worker:
            return worker.count(path, fps, timeout_s=self._timeout_s)

    def chunks(self, path: str, short_side: int, selection: Selection) -> Iterator[NDArray[np.uint8]]:
        """The selected frames (t, H, W, 3) in chunks.

        Raises:
            VideoError: the file cannot be read.
        """
        with (
            self._worker() as worker,
            worker.open(path, DecodeOptions(short_side, selection), timeout_s=self._timeout_s) as reader,
        ):
            for chunk in reader.chunks():
                yield chunk.pixels

    def frames(self, path: str, short_side: int, selection: Selection) -> NDArray[np.uint8]:
        """The selected frames (T, H, W, 3) at once; raises as :meth:`chunks`."""
        return np.concatenate(list(self.chunks(path, short_side, selection)))

    def ahead(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
        """Apply ``function`` to the items in threads, one a worker; results come in the items' order."""
        if not self.workers:
            yield from map(function, items)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="vidcomp-load")
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    @contextmanager
    def _worker(self) -> Iterator[DecodeWorker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)
