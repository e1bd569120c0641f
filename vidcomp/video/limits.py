"""How long decoding may take before it is taken for hanging, and how much memory there is for it and what follows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vidcomp.video.frames import VideoInfo

OPEN_TIMEOUT_S = 30.0
"""Seconds that opening a video may take."""

MEMORY_LIMIT_BYTES = 8 << 30
"""Bytes that a decoding process may take for a video: three times what 16 reference frames of 64 Mpixel video need."""

MAX_ASPECT = 32
"""How many times longer than the other a side of a picture may be that is scaled: its short side decides its size."""

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
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        own = _field(Path("/proc/self/status"), "VmData:") << 10
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = own + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def memory_at_hand(root: Path = Path("/")) -> int | None:
    """Bytes that this process can take before it is refused more, or killed; None where the system does not tell.

    The least of what the machine, control groups (those of containers) and the limit of the address space leave. Only
    Linux tells; `root` is where its `proc` and `sys` are.
    """
    return min(_left(root), default=None)


def _left(root: Path) -> Iterator[int]:
    if available := _field(root / "proc/meminfo", "MemAvailable:"):
        yield available << 10
    with contextlib.suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - (_field(root / "proc/self/status", "VmSize:") << 10))
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            names, base = ("memory.max", "memory.current", ""), root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), root / "sys/fs/cgroup/memory"
        else:
            continue
        # A group's limit holds for those within it. In a container, the path may be one that only the host knows.
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):
            limit_text, used = _text(base / group / names[0]).strip(), _text(base / group / names[1]).strip()
            if limit_text.isdecimal() and used.isdecimal():
                stat = base / group / "memory.stat"
                cached = sum(_field(stat, f"{names[2]}{kind}_file") for kind in ("active", "inactive"))
                yield max(0, int(limit_text) - int(used) + cached)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _field(path: Path, name: str) -> int:
    """The number behind a name in a file of one name and number a line; 0 where there is none."""
    return next((int(line.split()[1]) for line in _text(path).splitlines() if line.split()[:1] == [name]), 0)
