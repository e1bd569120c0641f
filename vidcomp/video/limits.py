"""How long decoding may take before it is taken for hanging, and how much memory it may have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vidcomp.video.frames import VideoInfo

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


def cap_memory(more_bytes: int) -> None:
    """Let this process have so much more memory of its own than now; beyond it, the system refuses, and kills nothing.

    Shared memory and the address space that threads merely reserve do not count. Only Linux enforces it.
    """
    with contextlib.suppress(ImportError, OSError, ValueError, StopIteration):
        import resource

        lines = Path("/proc/self/status").read_text().splitlines()
        own = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = own + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
