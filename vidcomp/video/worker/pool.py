"""Decoding processes that are lent out, so that whoever wants frames need not own one."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.frames import DEFAULTS, DecodeOptions, VideoInfo
from vidcomp.video.inspection import Inspection
from vidcomp.video.worker.worker import DecodeWorker, IsolatedReader

_MOST_WORKERS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """Decoding processes to run side by side: one for every two cores, at most eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, max(1, cores // 2))


class DecodePool:
    """Decoding processes for any number of threads: an idle one is lent, or another is started where none is idle.

    There are never more of them than videos that were open at once. Use it as a context manager, or call
    :meth:`close`; the processes end with the program anyway.
    """

    def __init__(self, workers: int = 0, *, timeout_s: float | None = None) -> None:
        """Make a pool.

        Args:
            workers: processes to start now, and threads of :meth:`map`.
            timeout_s: seconds that decoding one video may take; by default scaled to the file.
        """
        self.workers = workers
        self._timeout_s = timeout_s
        self._idle = [DecodeWorker() for _ in range(workers)]
        self._lent: set[DecodeWorker] = set()
        # An abandoned generator returns its worker whenever it is collected, in whichever thread.
        self._lock = threading.RLock()
        self._closed = False
        for worker in self._idle:
            worker.start()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; one that is lent stops at once, and ends when it is returned. May be called again."""
        with self._lock:
            self._closed = True
            idle, lent = self._idle, self._lent
            self._idle, self._lent = [], set()
        for worker in lent:
            worker.interrupt()
        for worker in idle:
            worker.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run."""
        with self._lock:
            return [worker.pid for worker in (*self._idle, *self._lent) if worker.pid is not None]

    @contextmanager
    def worker(self) -> Iterator[DecodeWorker]:
        """A process of one's own, within the context.

        Raises:
            RuntimeError: the pool is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool of decoding processes is closed")
            worker = self._idle.pop() if self._idle else DecodeWorker()
            self._lent.add(worker)
        try:
            yield worker
        finally:
            with self._lock:
                kept = worker in self._lent
                if kept:
                    self._lent.remove(worker)
                    self._idle.append(worker)
            if not kept:
                worker.close()

    @contextmanager
    def open(self, path: str, options: DecodeOptions = DEFAULTS) -> Iterator[IsolatedReader]:
        """Open a video; raises as :meth:`DecodeWorker.open`."""
        with self.worker() as worker, worker.open(path, options, timeout_s=self._timeout_s) as reader:
            yield reader

    def probe(self, path: str, *, count: bool = True) -> VideoInfo:
        """What a file says of itself; raises as :meth:`DecodeWorker.probe`."""
        with self.worker() as worker:
            return worker.probe(path, count=count, timeout_s=self._timeout_s)

    def inspect(self, path: str) -> Inspection:
        """What a file holds; raises as :meth:`DecodeWorker.inspect`."""
        with self.worker() as worker:
            return worker.inspect(path, timeout_s=self._timeout_s)

    def count(self, path: str, fps: float | None = None) -> int:
        """Frames coded in a file, or samples at ``fps`` a second, at least 1; raises as :meth:`DecodeWorker.count`."""
        with self.worker() as worker:
            return worker.count(path, fps, timeout_s=self._timeout_s)

    def frames(self, path: str, options: DecodeOptions = DEFAULTS) -> NDArray[np.uint8]:
        """The selected frames (T, H, W, 3) at once; raises as :meth:`DecodeWorker.open`."""
        with self.open(path, options) as reader:
            return np.concatenate([chunk.pixels for chunk in reader.chunks()])

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
        """Apply ``function``, which opens videos, to the items in ``workers`` threads, ahead of who takes the results.

        Results come in the items' order. Without workers, the caller's own thread does it.
        """
        if not self.workers:
            yield from map(function, items)
            return
        threads = ThreadPoolExecutor(self.workers, thread_name_prefix="vidcomp-load")
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)
