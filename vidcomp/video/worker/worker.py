"""Decode in a child process that can be killed: a crash or a hang of the decoder is one file's error, nothing more.

The child is a fresh interpreter, never a fork (a decoder's threads do not survive one), without torch, so that it
starts in a fraction of a second; it serves one video after another. Frames arrive through a small ring of shared
memory, or of a mapped file where shared memory is short, as it is by default within Docker.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from numpy.typing import NDArray

from vidcomp.video.errors import ERRORS, DecodeFailed, VideoCrashed, VideoError, VideoTimeout
from vidcomp.video.frames import (
    DEFAULTS,
    MAX_PIXELS,
    DecodeOptions,
    DecodeReport,
    Frames,
    Layout,
    ReaderBase,
    VideoInfo,
)
from vidcomp.video.inspection import Inspection
from vidcomp.video.sampling import count_samples
from vidcomp.video.worker.process import (
    MEMORY_LIMIT_BYTES,
    OPEN_TIMEOUT_S,
    ChildProcess,
    Message,
    Ring,
    default_timeout,
    options_to_json,
    probe_timeout,
    ring_for,
    slot_arrays,
    slot_bytes,
    slot_layout,
    watchdog,
)

_SLOTS = 2  # one being filled while the other is being read
_STOP_LIMIT_S = 10.0


class DecodeWorker:
    """A decoding process of one's own, reused from video to video and replaced whenever it dies.

    It starts with the first video, or earlier by `start()`. One video is open at a time; for decoding ahead, own
    several. It ends with `close()`, with this object, or with this process, however that ends. No video
    takes more than `memory_bytes` of the child's own memory: decoders report it, or take the frame for damaged.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._process: ChildProcess | None = None
        self._ring: Ring | None = None
        self._reader: IsolatedReader | None = None
        self._starting = threading.Lock()
        self._interrupted = False

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is no child."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the child now, and return at once: it gets ready by itself."""
        with self._starting:
            if self._interrupted:
                raise RuntimeError("the worker was interrupted for good")
            if self._process is not None and not self._process.alive:
                self._discard()
            if self._process is None:
                self._process = ChildProcess(self._memory_bytes)

    def interrupt(self) -> None:
        """Stop, from another thread, whatever the worker is doing: it fails there, and nothing is begun any more.

        The thread that uses the worker is still the one to `close()` it, or whoever has waited for it to end.
        """
        with self._starting:
            self._interrupted = True
            if self._process is not None:
                self._process.end()

    def open(
        self, path: str, options: DecodeOptions = DEFAULTS, *, timeout_s: float | None = None, copy: bool = True
    ) -> IsolatedReader:
        """Open a video in the child. The result offers what `Reader` does.

        `timeout_s` limits the time spent opening, and then that spent decoding, not what the caller takes between
        chunks; by default it is `default_timeout`. Without `copy`, the pixels of a chunk are shared memory, valid only
        until the next chunk.

        Raises:
            VideoError: the file cannot be read, took too long, or crashed the decoder.
            RuntimeError: the previous video is still open.
        """
        if self._reader is not None:
            raise RuntimeError("the worker's previous video is still open")
        reader = IsolatedReader(self, path, options, timeout_s, copy)
        self._reader = reader
        try:
            reader._open()
        except BaseException:
            reader.close()
            raise
        return reader

    def probe(
        self, path: str, *, count: bool = True, timeout_s: float | None = None, max_pixels: int = MAX_PIXELS
    ) -> VideoInfo:
        """What the file says of itself; with `count`, its coded frames are counted, which reads the whole file once.

        Raises:
            VideoError: as `open`.
            RuntimeError: a video is open.
        """
        limit_s = probe_timeout(path) if timeout_s is None else timeout_s
        message = {"probe": path, "count": count, "max_pixels": max_pixels, "limit_s": watchdog(limit_s)}
        return VideoInfo(**self._answer(message, path, limit_s)["info"])

    def inspect(self, path: str, *, timeout_s: float | None = None) -> Inspection:
        """What the file holds, found by decoding it from end to end, however damaged it is.

        Raises:
            VideoError, RuntimeError: as `probe`.
        """
        limit_s = timeout_s or default_timeout(self.probe(path, count=False))
        message = {"inspect": path, "limit_s": watchdog(limit_s)}
        return Inspection.from_dict(self._answer(message, path, limit_s)["inspection"])

    def count(self, path: str, fps: float | None = None, *, timeout_s: float | None = None) -> int:
        """Frames coded in a file, or samples at `fps` a second, at least 1; raises as `probe`."""
        info = self.probe(path, timeout_s=timeout_s)
        frames = max(1, info.frame_count or 0)
        # What the header says of the rate may be far from the truth: a time-lapse may have a frame in two seconds.
        return count_samples(frames, frames / info.duration_s if info.duration_s else info.fps, fps)

    def close(self) -> None:
        """End the child and free its memory. May be called more than once."""
        if self._reader is not None:
            self._reader._ended = True
            self._reader = None
        self._discard()

    def __enter__(self) -> DecodeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, message: Message, path: str, limit_s: float) -> Message:
        """The one answer to a message that opens no video."""
        if self._reader is not None:
            raise RuntimeError("close the worker's video before probing another")
        try:
            return self._begin(message, path, limit_s)
        except VideoError:
            raise
        except BaseException:
            self._discard()
            raise

    def _begin(self, message: Message, path: str, limit_s: float) -> Message:
        """Send a video's first message and return the answer.

        A child that died while it had nothing to do is not this video's fault: a new one gets a try.
        """
        idle = self._process is not None
        self.start()
        try:
            self._send(message, path)
            return self._receive(path, limit_s, limit_s)
        except VideoCrashed:
            if not idle:
                raise
        return self._begin(message, path, limit_s)

    def _send(self, message: Message, path: str) -> None:
        if self._process is None or not self._process.send(message):
            self._crashed(path)

    def _receive(self, path: str, wait_s: float, limit_s: float) -> Message:
        """The child's next answer; its errors are raised, its silence and its death too."""
        assert self._process is not None
        try:
            answer = self._process.receive(wait_s)
        except TimeoutError:
            self._discard()
            reason = f"decoding was stopped after {round(limit_s, 1):g} s; the file is damaged, or the limit too short"
            raise VideoTimeout(path, reason) from None
        if answer is None:
            self._crashed(path)
        if error := answer.get("error"):
            raise ERRORS.get(error["kind"], DecodeFailed)(path, error["reason"])
        return answer

    def _crashed(self, path: str) -> NoReturn:
        code = self._process.exit_code() if self._process is not None else None
        self._discard()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise VideoCrashed(path, f"the decoder crashed on it ({how}); the file is damaged, or memory ran out")

    def _discard(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None
        self._free_ring()  # only the child that has mapped it knows it

    def _memory(self, frames: int, layout: Layout, path: str) -> tuple[Ring, int, str | None]:
        """The ring for chunks of `frames` frames, how many it has room for, and what to say of that."""
        if self._ring is not None and self._ring.size >= _SLOTS * slot_bytes(frames, layout):
            return self._ring, frames, None
        self._free_ring()
        try:
            self._ring, room, note = ring_for(_SLOTS, lambda count: slot_bytes(count, layout), frames)
        except OSError as error:
            least = _SLOTS * slot_bytes(1, layout) / 2**20
            reason = (
                f"decoding it takes {least:.1f} MiB of shared memory or temporary files, and neither has room; "
                "make /dev/shm larger, or point TMPDIR to a folder with room"
            )
            raise DecodeFailed(path, reason) from error
        return self._ring, room, note

    def _free_ring(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None


class IsolatedReader(ReaderBase[DecodeReport]):
    """The chosen frames of one video, decoded by a worker: the same interface as `Reader`."""

    def __init__(
        self, worker: DecodeWorker, path: str, options: DecodeOptions, timeout_s: float | None, copy: bool
    ) -> None:
        self._worker = worker
        self._path = path
        self._options = options
        self._timeout_s = timeout_s
        self._copy = copy
        self._spent_s = 0.0
        self._started = False
        self._ended = False
        self._info: VideoInfo | None = None
        self.size: tuple[int, int] = (0, 0)
        self._beside: Layout = {}
        self.decode_s = 0.0
        """Seconds that the decoder has worked so far."""

    @property
    def info(self) -> VideoInfo:
        """What the file claims."""
        assert self._info is not None
        return self._info

    def chunks(self) -> Iterator[Frames]:
        """The selected frames, in chunks, as `Reader.chunks`.

        Raises:
            VideoTimeout, VideoCrashed: decoding was stopped, or died; a later video gets a new process.
            VideoError: as `Reader.chunks`.
        """
        if self._started or self._ended:
            raise RuntimeError("chunks() can be read once; open the file again")
        self._started = True
        wanted = self._options.frames_per_chunk(self.size, self._beside)
        layout = slot_layout(self.size, self._beside)
        try:
            ring, capacity, note = self._worker._memory(wanted, layout, self._path)
        except VideoError:
            self.close()
            raise
        try:
            one = slot_bytes(capacity, layout)
            given = {"memory": ring.file, "slots": _SLOTS, "slot_bytes": one, "frames": capacity}
            self._tell({**given, "limit_s": watchdog(self._limit_s)})
            for slot in range(_SLOTS):
                self._tell({"slot": slot})
            while "slot" in (answer := self._ask()):
                self.decode_s = answer["spent_s"]
                arrays = slot_arrays(ring.buffer, answer["slot"] * one, capacity, layout)
                yield self._frames(arrays, answer["frames"])
                self._tell({"slot": answer["slot"]})
        except VideoError:
            self._release()
            raise
        report = answer["report"]
        self.decode_s = answer["spent_s"]
        self._report = DecodeReport(**{**report, "notes": (*report["notes"], *([note] if note else []))})
        self._release()

    def close(self) -> None:
        """Stop decoding, whether or not all frames were read. May be called more than once."""
        if self._ended:
            return
        process = self._worker._process
        try:
            if process is not None and process.send({"stop": True}):
                while (answer := process.receive(_STOP_LIMIT_S)) is not None:
                    if not {"stopped", "report", "error"}.isdisjoint(answer):
                        return
            self._worker._discard()
        except BaseException as error:
            self._worker._discard()
            if not isinstance(error, TimeoutError):
                raise
        finally:
            self._release()

    @property
    def _limit_s(self) -> float:
        if self._timeout_s is not None:
            return self._timeout_s
        return default_timeout(self.info) if self._info is not None else OPEN_TIMEOUT_S

    def _open(self) -> None:
        message = {"decode": self._path, "options": options_to_json(self._options), "limit_s": watchdog(self._limit_s)}
        try:
            answer = self._worker._begin(message, self._path, self._limit_s)
        except VideoError:
            self._release()
            raise
        self._info = VideoInfo(**answer["info"])
        width, height = answer["size"]
        self.size = (width, height)
        self._beside = {name: (kind, tuple(shape)) for name, (kind, shape) in answer["layout"].items()}

    def _frames(self, arrays: dict[str, NDArray[Any]], count: int) -> Frames:
        small = {"seconds", "indices"}
        values = {
            name: array[:count].copy() if self._copy or name in small else array[:count]
            for name, array in arrays.items()
        }
        seconds, indices, pixels = values.pop("seconds"), values.pop("indices"), values.pop("pixels")
        whole = self._options.modalities == ("rgb",)
        return Frames(pixels, seconds, indices, self.info, None if whole else values)

    def _tell(self, message: Message) -> None:
        if self._ended:
            raise RuntimeError("the video was closed while it was being read")
        self._worker._send(message, self._path)

    def _ask(self) -> Message:
        begun = time.monotonic()
        try:
            return self._worker._receive(self._path, max(0.0, self._limit_s - self._spent_s), self._limit_s)
        finally:
            self._spent_s += time.monotonic() - begun

    def _release(self) -> None:
        self._ended = True
        if self._worker._reader is self:
            self._worker._reader = None


@contextlib.contextmanager
def decode(path: str, options: DecodeOptions = DEFAULTS, *, timeout_s: float | None = None) -> Iterator[IsolatedReader]:
    """Decode one video in a child process of its own. For many videos, own a `DecodeWorker`: it is reused.

    Raises:
        VideoError: as `DecodeWorker.open`.
    """
    with DecodeWorker() as worker, worker.open(path, options, timeout_s=timeout_s) as reader:
        yield reader


def probe(path: str, *, count: bool = True, timeout_s: float | None = None) -> VideoInfo:
    """`DecodeWorker.probe` in a child process of its own."""
    with DecodeWorker() as worker:
        return worker.probe(path, count=count, timeout_s=timeout_s)
