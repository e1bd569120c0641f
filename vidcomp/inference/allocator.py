"""Memory that the C library keeps after videos of many lengths, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Let the C library return freed memory to the system (glibc only; elsewhere there is nothing to call).

    Every length of video asks for blocks of its own sizes. Kept for later, they add up over hundreds of videos, though
    nothing is in use: 300 clips of UCF101 grew by half a gigabyte.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
