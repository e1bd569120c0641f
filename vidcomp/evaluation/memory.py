"""Peak memory of what runs between two points: of CUDA's allocator, or of this process.

On a CPU the kernel's own high-water mark is used (Linux: VmHWM of /proc/self/status, reset by /proc/self/clear_refs),
which misses nothing however short. Before the block begins, memory that the C library holds on to after earlier work
is given back, so that the block is charged for all that it uses. Where the mark cannot be reset, resident memory is
sampled every few milliseconds; where there is no /proc at all, nothing is known and the answer is ``None``. The process
that decodes is not counted: it is the same for every strategy.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from vidcomp.inference.memory import trim_memory

_SELF = Path("/proc/self")
_RESET_PEAK = "5"
_SAMPLING_S = 0.002


class PeakMemory:
    """Context manager; afterwards :attr:`bytes` is the peak above what was in use at its beginning, or ``None``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return self
        trim_memory()
        before = _status("VmRSS")
        self._before = before or 0
        self._sampler = None if before is None or _reset_high_water() else _Sampler()
        self._known = before is not None
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self._before
        elif self._known:
            peak = self._sampler.stop() if self._sampler is not None else _status("VmHWM")
            self.bytes = None if peak is None else max(0, peak - self._before)


def largest_that_fits(fits: Callable[[int], bool], limit: int = 4096) -> int:
    """The largest number up to ``limit`` for which ``fits`` is true, found by doubling and then halving the gap.

    ``fits`` must be true up to some number and false beyond it; 0 if it is false for 1.
    """
    good, bad = 0, 1
    while bad <= limit and fits(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, limit + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def _status(field: str) -> int | None:
    """Bytes of one field of /proc/self/status."""
    try:
        lines = (_SELF / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _reset_high_water() -> bool:
    """Set the high-water mark to the memory in use now; whether that worked."""
    try:
        (_SELF / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    peak, now = _status("VmHWM"), _status("VmRSS")
    # Some sandboxes take the request and ignore it.
    return peak is not None and now is not None and peak <= now * 1.05


class _Sampler:
    """Reads resident memory in a thread until stopped."""

    def __init__(self) -> None:
        self._peak = _resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return max(self._peak, _resident())

    def _run(self) -> None:
        while not self._over.wait(_SAMPLING_S):
            self._peak = max(self._peak, _resident())


def _resident() -> int:
    return int((_SELF / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
