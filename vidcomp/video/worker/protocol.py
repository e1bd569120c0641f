"""What a decoding process and its parent agree on: messages, and frames in shared memory.

Messages are lines of JSON, never pickles: the process handles files that may be hostile, and its parent must not have
to trust it. Frames lie in a small ring of slots, in shared memory or in a mapped file where that is short, as it is by
default within Docker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.frames import Layout
from vidcomp.video.reader import DecodeOptions
from vidcomp.video.sampling import Selection

Message = dict[str, Any]

_SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it; often small within containers


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
