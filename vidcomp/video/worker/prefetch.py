"""Decode the next videos while the device computes this one, in bounded memory.

Threads, each with a decoding process, open the videos that are expected, in their order, and hold their frames until it
is their turn. Nothing else about a video changes: its errors are raised when it is asked for, and the time for which
its frames wait is none of its decoding time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from vidcomp.video.frames import DecodeReport, Frames, VideoInfo
from vidcomp.video.memory import MemoryReader
from vidcomp.video.worker.pool import DecodePool
from vidcomp.video.worker.worker import DecodeWorker, IsolatedReader

MAX_BYTES_PER_VIDEO = 32 * 2**20
"""Pixels held of a video whose turn has not come, in bytes; decoding it then waits. Some 200 frames of 192×256."""

Item = TypeVar("Item")


def lookahead(
    items: Iterable[Item], depth: int, dropped: Callable[[Item], object] = lambda item: None
) -> Generator[Item]:
    """The same items in the same order, each drawn from ``items`` up to ``depth`` turns before it is given out.

    Where nobody wants the rest, ``dropped`` is told of each item that was drawn and not given out.
    """
    drawn: deque[Item] = deque()
    try:
        for item in items:
            drawn.append(item)
            if len(drawn) > depth:
                yield drawn.popleft()
        while drawn:
            yield drawn.popleft()
    finally:
        for item in drawn:
            dropped(item)


AnyReader: TypeAlias = "IsolatedReader | MemoryReader | PrefetchedReader[Any]"
"""The frames of a video that was opened, wherever they come from."""


class HasReader(Protocol):
    """What opening a video gives: its reader, and whatever else its owner noted."""

    @property
    def reader(self) -> AnyReader:
        """The video's frames, to be closed when done."""
        ...


Opened = TypeVar("Opened", bound=HasReader)


class Prefetcher(Generic[Opened]):
    """Works through the videos that it is told to expect, each thread with a process of the pool.

    ``open_video`` opens a video with a worker; it is called in other threads than the caller's. Threads end when there
    is nothing to decode; :meth:`close` closes the pool too.
    """

    def __init__(self, open_video: Callable[[DecodeWorker, str], Opened], pool: DecodePool, threads: int) -> None:
        self._open = open_video
        self._pool = pool
        self._most_threads = threads
        self._threads: set[threading.Thread] = set()
        self._filling: set[PrefetchedReader[Opened]] = set()
        self._lock = threading.Lock()
        self._expected: deque[PrefetchedReader[Opened]] = deque()
        self._waiting: deque[PrefetchedReader[Opened]] = deque()
        self._closed = False

    def expect(self, path: str) -> None:
        """Decode this video when the ones before it are, or at once if a thread has nothing to do."""
        with self._lock:
            if self._closed:
                return
            video = PrefetchedReader[Opened](path)
            self._expected.append(video)
            self._waiting.append(video)
            if len(self._threads) < self._most_threads:
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.add(thread)
                thread.start()

    def take(self, path: str) -> PrefetchedReader[Opened] | None:
        """The video, if it was expected; those expected before it are given up. Close it when done."""
        with self._lock:
            if all(video.path != path for video in self._expected):
                return None
            while (video := self._expected.popleft()).path != path:
                self._give_up(video)
            return video

    def forget(self, path: str) -> None:
        """Do not expect this video any more: its frames are let go."""
        with self._lock:
            video = next((video for video in self._expected if video.path == path), None)
            if video is not None:
                self._expected.remove(video)
                self._give_up(video)

    def close(self) -> None:
        """Stop all decoding and end the processes. May be called more than once."""
        with self._lock:
            self._closed = True
            # Those that were taken and are not yet closed wait for room, too.
            for video in (*self._expected, *self._filling):
                video.close()
            self._expected.clear()
            self._waiting.clear()
            threads = list(self._threads)
        self._pool.close()
        for thread in threads:
            thread.join()

    def _give_up(self, video: PrefetchedReader[Opened]) -> None:
        if video in self._waiting:
            self._waiting.remove(video)
        video.close()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._closed:
                    self._threads.discard(threading.current_thread())
                    return
                video = self._waiting.popleft()
                self._filling.add(video)
            video.fill(self._pool, self._open)
            with self._lock:
                self._filling.discard(video)


class PrefetchedReader(Generic[Opened]):
    """A video's frames, held from when they were decoded until they are asked for: read as an ``IsolatedReader`` is.

    One thread fills it, another reads it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.decode_s = 0.0
        """Seconds that the decoder has worked so far."""
        self._changed = threading.Condition()
        self._opened: Opened | None = None
        self._chunks: deque[Frames] = deque()
        self.bytes_held = 0
        """Bytes of the frames that wait to be asked for."""
        self._report: DecodeReport | None = None
        self._error: BaseException | None = None
        self._closed = False

    def wait_until_open(self) -> Opened:
        """What opening it gave, this being the reader to use; raises what opening it raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._error or self._closed)
            if self._opened is None:
                raise self._error or RuntimeError("the video was closed before it was opened")
            return self._opened

    @property
    def info(self) -> VideoInfo:
        """What the file claims."""
        assert self._opened is not None
        return self._opened.reader.info

    @property
    def report(self) -> DecodeReport:
        """How it went; raises RuntimeError before `chunks()` has ended."""
        if self._report is None or self._chunks:
            raise RuntimeError("the report is there once all was read")
        return self._report

    def chunks(self) -> Iterator[Frames]:
        """The selected frames; whatever decoding raised is raised after the frames that came before it."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks or self._report or self._error or self._closed)
                if not self._chunks:
                    if self._report is None:
                        raise self._error or RuntimeError("the video was closed while it was being read")
                    return
                chunk = self._chunks.popleft()
                self.bytes_held -= chunk.nbytes
                self._changed.notify_all()
            yield chunk

    def close(self) -> None:
        """Nobody wants the rest: decoding stops at the next chunk. May be called more than once."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self.bytes_held = 0
            self._changed.notify_all()

    def __enter__(self) -> PrefetchedReader[Opened]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fill(self, pool: DecodePool, open_video: Callable[[DecodeWorker, str], Opened]) -> None:
        """Decode the video, waiting whenever as much is held as may be; never raises."""
        try:
            with pool.worker() as worker, (opened := open_video(worker, self.path)).reader as reader:
                with self._changed:
                    self._opened = opened
                    self._changed.notify_all()
                for chunk in reader.chunks():
                    self.decode_s = reader.decode_s
                    if not self._hold(chunk):
                        return
                self.decode_s = reader.decode_s
                with self._changed:
                    self._report = reader.report
                    self._changed.notify_all()
        except BaseException as error:
            # It belongs to whoever asks for this video.
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _hold(self, chunk: Frames) -> bool:
        """Keep a chunk once there is room; whether anybody still wants it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.bytes_held < MAX_BYTES_PER_VIDEO)
            if not self._closed:
                self._chunks.append(chunk)
                self.bytes_held += chunk.nbytes
                self._changed.notify_all()
            return not self._closed
