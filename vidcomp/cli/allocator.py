"""The C library's allocator, told how the command line uses memory."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc's mallopt: which setting, to how many bytes. Blocks up to 32 MiB come from the heap, of which up to 256 MiB that
# are free at its end are kept. Larger ones are still mapped, and gone from resident memory as soon as they are freed.
_KEEP = {-3: 32 * 2**20, -1: 256 * 2**20, -2: 16 * 2**20}


def keep_freed() -> None:
    """Let the C library (glibc only) keep freed blocks for the next tensors instead of handing their pages back.

    Every layer makes a tensor of some megabytes and frees another; pages fetched from the system for each of them come
    as zeros that nobody wants, which took as long as the layers (docs/engine.md). Whoever sets glibc's own
    environment variables knows better, and nothing is changed. It is a setting of the whole process: a program that
    uses vidcomp as a library decides for itself.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        for parameter, size in _KEEP.items():
            setting(parameter, size)
