"""The memory of this process: how much it may take, what of it is kept or given back, and whether it was lacking."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# torch is imported where it is needed: the command line keeps what is freed from its first moment on, and helps
# without torch.

# glibc's mallopt: which setting, to how many bytes. Blocks up to 32 MiB come from the heap, of which up to 256 MiB that
# are free at its end are kept. Larger ones are still mapped, and gone from resident memory as soon as they are freed.
_KEEP = {-3: 32 * 2**20, -1: 256 * 2**20, -2: 16 * 2**20}

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
    """The number behind a name in a file of one name and number per line; 0 where there is none."""
    return next((int(line.split()[1]) for line in _text(path).splitlines() if line.split()[:1] == [name]), 0)
