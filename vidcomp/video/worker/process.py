"""The parent's hold on a decoding process, and what the two agree on: time limits, messages, frames in shared memory.

Messages are lines of JSON, never pickles: the process handles files that may be hostile, and its parent must not have
to trust it. Frames lie in a small ring of slots, in shared memory or in a mapped file where that is short, as it is by
default within Docker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import mmap
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.frames import DecodeOptions, Layout, VideoInfo
from vidcomp.video.sampling import Selection

Message = dict[str, Any]

OPEN_TIMEOUT_S = 30.0
"""Seconds that opening a video may take."""

MEMORY_LIMIT_BYTES = 8 << 30
"""Bytes that a decoding process may take for a video: three times what 16 reference frames of 64 Mpixel video need."""

_SLOWEST_PIXELS_PER_S = 4_000_000
_SLOWEST_BYTES_PER_S = 2_000_000


def default_timeout(info: VideoInfo) -> float:
    """Seconds that decoding a video may take: 30, and what it needs on a machine some 30 times slower than a laptop.

    That is a second for every 4 million pixels promised (320×240: 52 frames) and every 2 MB of file. Promises are not
    believed beyond what the file's bytes could hold: one frame for every 16 bytes.
    """
    frames = min(info.expected_frames or info.file_bytes // 1000, info.file_bytes // 16 + 1)
    pixels = frames * info.width * info.height
    return OPEN_TIMEOUT_S + pixels / _SLOWEST_PIXELS_PER_S + info.file_bytes / _SLOWEST_BYTES_PER_S


def probe_timeout(path: str) -> float:
    """Seconds that counting a file's frames may take: it is read once, and a little of it decoded."""
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - a path may hold what pathlib refuses
    except (OSError, ValueError):
        size = 0
    return OPEN_TIMEOUT_S + size / _SLOWEST_BYTES_PER_S


def watchdog(timeout_s: float) -> float:
    """Seconds after which the child ends itself, should its parent not have lived to do it at `timeout_s`."""
    return timeout_s + 15.0


_SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it; often small within containers
_START_LIMIT_S = 60.0
_DYING_LIMIT_S = 2.0
BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from vidcomp.video.worker.child import main; main({memory})"


class DecoderUnavailable(RuntimeError):  # noqa: N818 - says what happened, as the video errors do
    """No decoding process can be had: the machine's trouble, and no fault of the video."""


class ChildProcess:
    """The child, and the thread that turns its answers into a queue: pipes alone have no time limit on Windows.

    Raises:
        DecoderUnavailable: the system starts no further process.
    """

    def __init__(self, memory_bytes: int) -> None:
        # A session of its own: an interrupt from the keyboard is the parent's to handle.
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", BOOTSTRAP.format(path=sys.path, memory=memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise DecoderUnavailable(f"no decoding process can be started ({error.strerror})") from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self.pid = self._child.pid
        self._answers: queue.Queue[Message | None] = queue.Queue()
        self._listener = threading.Thread(target=_listen, args=(self._child.stdout, self._answers), daemon=True)
        self._listener.start()
        self._ready = False
        self.end = weakref.finalize(self, _end, self._child, self._listener, os.getpid())

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def send(self, message: Message) -> bool:
        """Tell the child, once it is ready. Whether it could be told.

        Raises:
            DecoderUnavailable: it does not start, which is not the video's fault.
        """
        assert self._child.stdin is not None
        if not self.end.alive:
            return False
        self._await_start()
        try:
            self._child.stdin.write(json.dumps(message).encode("ascii") + b"\n")
            self._child.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def receive(self, wait_s: float) -> Message | None:
        """The next answer, None if the child has died; raises TimeoutError after `wait_s` seconds."""
        try:
            return self._answers.get(timeout=wait_s)
        except queue.Empty:
            raise TimeoutError from None

    def exit_code(self) -> int | None:
        """How a dead child ended: its exit code, or minus the signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its pipes close a moment before the system knows how it ended.
            return self._child.wait(_DYING_LIMIT_S)
        return None

    def _await_start(self) -> None:
        if self._ready:
            return
        with contextlib.suppress(queue.Empty):
            self._ready = self._answers.get(timeout=_START_LIMIT_S) is not None
        if not self._ready:
            self.end()
            raise DecoderUnavailable(
                "the decoding process does not start; `import vidcomp.video.worker.child` may show why"
            )


def _listen(stream: IO[bytes], answers: queue.Queue[Message | None]) -> None:
    for line in stream:
        try:
            answers.put(json.loads(line))
        except ValueError:
            break  # a dying child's half line
    answers.put(None)


def _end(child: subprocess.Popen[bytes], listener: threading.Thread, owner: int) -> int | None:
    if os.getpid() != owner:
        return None  # a fork's copy, which ends before its owner does
    child.kill()
    code = child.wait()
    if listener is not threading.current_thread():
        listener.join()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError, AttributeError):
            pipe.close()  # type: ignore[union-attr]  # both are pipes
    return code


def slot_layout(size: tuple[int, int], beside: Layout) -> Layout:
    """All arrays of a slot: for a frame of `size` (width, height) its time and number, its pixels, what lies beside."""
    return {"seconds": ("f8", ()), "indices": ("i8", ()), "pixels": ("u1", (size[1], size[0], 3)), **beside}


def slot_bytes(frames: int, layout: Layout) -> int:
    """Bytes of shared memory for a chunk of so many frames."""
    return sum(_padded(frames * _bytes(form)) for form in layout.values())


def slot_arrays(buffer: memoryview, offset: int, frames: int, layout: Layout) -> dict[str, NDArray[Any]]:
    """The arrays (T, ...) of the slot that begins at `offset`, by their names."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, (kind, shape) in layout.items():
        # An array made by frombuffer keeps the memory from being unmapped under it, which np.ndarray(buffer=…) does
        # not.
        flat = np.frombuffer(buffer, kind, frames * math.prod(shape), offset)
        arrays[name] = flat.reshape(frames, *shape)
        offset += _padded(flat.nbytes)
    return arrays


def _bytes(form: tuple[str, tuple[int, ...]]) -> int:
    return np.dtype(form[0]).itemsize * math.prod(form[1])


def _padded(size: int) -> int:
    """A multiple of 8, where an array of any type may begin."""
    return -(-size // 8) * 8


def options_to_json(options: DecodeOptions) -> Message:
    """Options as JSON can carry them."""
    return dataclasses.asdict(options)


def options_from_json(message: Message) -> DecodeOptions:
    """The options that `options_to_json` was given."""
    indices = message["selection"]["indices"]
    selection = Selection(**{**message["selection"], "indices": None if indices is None else tuple(indices)})
    return DecodeOptions(**{**message, "selection": selection, "modalities": tuple(message["modalities"])})


class Ring:
    """A block of memory shared with the child: a file that both map, freed when closed, with its owner, or at exit.

    It lies in shared memory or, where that is short, in the folder for temporary files. `file` is where the child finds
    it; the child removes the name once it has mapped it, so that nothing is left whatever ends the two processes.

    Raises:
        OSError: there is no room for it in `folder`.
    """

    def __init__(self, size: int, folder: Path) -> None:
        handle, self.file = tempfile.mkstemp(prefix="vidcomp-", dir=folder)
        try:
            try:
                reserve(handle, size)
                self._block = mmap.mmap(handle, size)
            finally:
                os.close(handle)
        except BaseException:
            _remove(self.file)
            raise
        self.size = size
        self.buffer = memoryview(self._block)
        self.close: Any = weakref.finalize(self, _free, self.file, self._block, self.buffer, os.getpid())


def ring_for(slots: int, slot_bytes: Callable[[int], int], frames: int) -> tuple[Ring, int, str | None]:
    """A ring of so many slots, frames for each of them (`frames` or, where memory is short, fewer), and what to say.

    `slot_bytes` tells the bytes of a slot for so many frames.

    Raises:
        OSError: there is not even room for single frames.
    """
    places = [folder for folder in (_SHARED_MEMORY, _temporary()) if folder is not None and folder.is_dir()]
    wanted = frames
    while frames:
        size = slots * slot_bytes(frames)
        for folder in places:
            # Half of it at most: there are other workers, and other programs.
            if free_bytes(folder) < 2 * size:
                continue
            with contextlib.suppress(OSError):
                ring = Ring(size, folder)
                note = f"{_SHARED_MEMORY} is too small: frames pass through {folder}, {frames} at a time"
                return ring, frames, note if frames < wanted or folder is not places[0] else None
        frames //= 2
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written within a folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None  # a file system that nobody may write to


def reserve(handle: int, size: int) -> None:
    """Give a file its bytes now: a process that touches a mapped page for which there is no room is killed."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    zeros = memoryview(bytes(1 << 20))
    left = size
    while left:
        left -= os.write(handle, zeros[:left])


def _free(file: str, block: mmap.mmap, buffer: memoryview, owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked process: it is still the parent's
    _remove(file)
    with contextlib.suppress(BufferError):
        # Somebody may still look at uncopied pixels; the memory goes when they do.
        buffer.release()
        block.close()


def _remove(file: str) -> None:
    with contextlib.suppress(OSError):  # gone already or, on Windows, still in use
        os.unlink(file)  # noqa: PTH108
