"""Memory that is not in use, kept for the next tensor or given back; and what to do where it is lacking."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

# torch is imported where it is needed: the command line keeps what is freed from its first moment on, and helps
# without torch.

# glibc's mallopt: which setting, to how many bytes. Blocks up to 32 MiB come from the heap, of which up to 256 MiB that
# are free at its end are kept. Larger ones are still mapped, and gone from resident memory as soon as they are freed.
_KEEP = {-3: 32 * 2**20, -1: 256 * 2**20, -2: 16 * 2**20}

Item = TypeVar("Item")
Result = TypeVar("Result")

# What torch's RuntimeErrors say where memory was lacking.
_SIGNS = ("DefaultCPUAllocator", "out of memory", "_ALLOC_FAILED")


def tune_malloc() -> None:
    """Let the C library (glibc only) keep freed blocks for the next tensors instead of handing their pages back.

    Every layer makes a tensor of some megabytes and frees another; pages fetched from the system for each of them come
    as zeros that nobody wants, which took as long as the layers (docs/engine.md). Whoever sets glibc's own environment
    variables knows better, and nothing is changed. It is a setting of the whole process: programs call it, and the
    library never does.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        for parameter, size in _KEEP.items():
            setting(parameter, size)


def trim_memory() -> None:
    """Let the C library (glibc only) and CUDA's allocator return freed memory to the system.

    Every length of video asks for blocks of its own sizes. Kept for later, they add up over hundreds of videos, though
    nothing is in use: 300 clips of UCF101 grew by half a gigabyte.
    """
    import torch

    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that there was not memory enough, on a GPU or on the host."""
    import torch

    # On the CPU torch raises a plain RuntimeError that names its allocator; so do CUDA's libraries.
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


class BatchSize:
    """The number of items worked on together, halved for good whenever there is not memory enough."""

    def __init__(self, most: int) -> None:
        self.most = most

    def run(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Result]) -> Iterator[Result]:
        """Do all items, in order and in groups, yielding each group's result.

        Raises:
            Exception: what ``work`` raises; of lacking memory, if that is for a single item.
        """
        start = 0
        while start < len(items):
            group = items[start : start + self.most]
            done = False
            try:
                result = work(group)
                done = True
            except Exception as error:
                if len(group) == 1 or not is_out_of_memory(error):
                    raise
            # Beyond the except clause: within it, the traceback would keep alive what is to be given back.
            if done:
                yield result
                start += len(group)
            else:
                self.most = len(group) // 2
                trim_memory()
