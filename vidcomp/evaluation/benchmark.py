"""What a run takes of its machine, and which machine it was: time, energy and peak memory.

Peak memory on a CPU is the kernel's own high-water mark where it can be reset (Linux), which misses nothing however
short; elsewhere resident memory is sampled every few milliseconds. The processes that decode are not counted: they are
the same for every strategy. Energy is NVML's for an NVIDIA GPU and RAPL's for a processor: a whole board's or
package's, whatever else runs on it, and absent where neither can be read.

Where nobody brought a video, one is made on the spot.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from vidcomp import __version__
from vidcomp.memory import trim_memory

_GIB = 2**30
# Above this share of the cores busy with something else, timings are worth a warning.
_BUSY = 0.25
_SAMPLING_S = 0.002
PROC = Path("/proc")
_RESET_PEAK = "5"
_CGROUP = Path("/sys/fs/cgroup")
_POWERCAP = Path("/sys/class/powercap")
# RAPL's counters move about once per millisecond, NVML's some ten times per second: what is read must last longer.
SHORTEST_S = {"cpu": 0.02, "cuda": 0.5}


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Processor, memory, GPU, versions, the time, and how busy the machine is now; ``None`` for what is unknown."""
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(host_memory_bytes() / _GIB, 1),
        "device": device.type,
        "gpu": None if gpu is None else gpu.name,
        "gpu_memory_gib": None if gpu is None else round(gpu.total_memory / _GIB, 1),
        "cuda": torch.version.cuda if gpu is not None else None,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": _version("av"),
        "decord": _version("decord2"),
        "vidcomp": __version__,
        "load_before": round(psutil.getloadavg()[0], 2),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def is_busy(machine: dict[str, Any]) -> bool:
    """Whether something else kept the machine busy when it was described, so that timings may be off."""
    load, cores = machine["load_before"], machine["cores"]
    return load is not None and cores is not None and load > _BUSY * cores


def host_memory_bytes(limits: Path = _CGROUP) -> int:
    """Memory that this process may use: the machine's, or its container's limit if that is lower; bytes."""
    found = [_read(limits / name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([psutil.virtual_memory().total, *(limit for limit in found if limit is not None)])


class PeakMemory:
    """Context manager; afterwards :attr:`bytes` is the peak above what was in use at its beginning."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        else:
            # What the C library holds on to after earlier work is given back, and counts for nobody.
            trim_memory()
            self._before = _resident()
            self._sampler = None if _reset_high_water() else PeakSampler(_resident)
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            peak = torch.cuda.max_memory_allocated(self.device)
        else:
            peak = _high_water() if self._sampler is None else self._sampler.stop()
        self.bytes = max(0, peak - self._before)


class PeakSampler:
    """Reads a number in a thread until stopped, and keeps the greatest."""

    def __init__(self, read: Callable[[], int], every_s: float = _SAMPLING_S) -> None:
        self._read, self._every_s = read, every_s
        self._peak = read()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The greatest number until now."""
        self._over.set()
        self._thread.join()
        return max(self._peak, self._read())

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._peak = max(self._peak, self._read())


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
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


class EnergyMeter:
    """Measures calls in seconds, and in joules where this machine lets its energy be read."""

    def __init__(self, device: torch.device, powercap: Path = _POWERCAP) -> None:
        self._joules = _nvml(device) if device.type == "cuda" else _rapl(powercap)
        self._shortest = SHORTEST_S.get(device.type, 0.0)

    @property
    def available(self) -> bool:
        """Whether energy can be read."""
        return self._joules is not None

    def measure(self, run: Callable[[], None]) -> tuple[float, float | None]:
        """Call ``run``; returns its seconds, and its joules or ``None``.

        Where one call is too short for the meter, it is repeated, and the joules are the mean of the repetitions; the
        seconds are always the first call's.
        """
        before = self._joules() if self._joules is not None else 0.0
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        if self._joules is None:
            return seconds, None
        if seconds >= self._shortest:
            return seconds, self._joules() - before
        repeats = math.ceil(self._shortest / max(seconds, 1e-6))
        before = self._joules()
        for _ in range(repeats):
            run()
        return seconds, (self._joules() - before) / repeats


def _rapl(powercap: Path) -> Callable[[], float] | None:
    """Reader of all processor packages together; their counters run over, which is made up for."""
    # Folders with a second colon are parts of a package, which counts them already.
    folders = [folder for folder in sorted(powercap.glob("intel-rapl:*")) if folder.name.count(":") == 1]
    last = {folder: now for folder in folders if (now := _read(folder / "energy_uj")) is not None}
    total = 0.0

    def read() -> float:
        nonlocal total
        for folder, before in last.items():
            now = _read(folder / "energy_uj")
            if now is None:
                continue
            over = (_read(folder / "max_energy_range_uj") or 0) if now < before else 0
            total += (now - before + over) / 1e6
            last[folder] = now
        return total

    return read if last else None


def _nvml(device: torch.device) -> Callable[[], float] | None:
    """Reader of the board's energy counter, if the optional package pynvml is there and the board has one."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # CUDA may number boards in another order than NVML does; the UUID is the same in both.
        board: Any = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(board)
    except pynvml.NVMLError:
        return None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(board)) / 1e3


def _read(file: Path) -> int | None:
    """The number in a file of the system; ``None`` where there is no such file, or no number in it."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _high_water() -> int:
    """Bytes of the high-water mark of resident memory; 0 where the system has none."""
    try:
        lines = (PROC / "self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _reset_high_water() -> bool:
    """Set the high-water mark to the memory in use now; whether that worked."""
    try:
        (PROC / "self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    # Some sandboxes take the request and ignore it.
    return 0 < _high_water() <= 1.05 * _resident()


def _processor() -> str | None:
    try:
        lines = (PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# The papers' input: "288×1", read at stride 8, which is 36 frames; a video of about 10 s at 30 frames/s. At a short
# side of 256 these pictures become the papers' 256×312.
FRAMES = 288
FPS = 30
SIZE = (390, 320)

_TILE = 8
_PIXELS_PER_FRAME = 3  # that the picture moves
_ROOM = 64 * _PIXELS_PER_FRAME


def make_video(path: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE, codec: str | None = None) -> Path:
    """Write ``frames`` pictures of ``size`` (width, height) to ``path`` and return it: a view over a soft pattern.

    ``codec`` is an encoder of FFmpeg's; by default H.264 where that is there, else MPEG-4.
    """
    import av

    codec = codec or ("libx264" if "libx264" in av.codecs_available else "mpeg4")
    width, height = size
    pattern = _pattern(width, height)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            # There and back, along two ways of different length, so that no stretch of a video repeats another soon.
            left = _PIXELS_PER_FRAME * abs(number % 128 - 64)
            top = _PIXELS_PER_FRAME * abs(number % 90 - 45)
            picture = np.ascontiguousarray(pattern[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _pattern(width: int, height: int) -> NDArray[np.uint8]:
    """Tiles of random colors (H, W, 3), larger than the picture by the room that it moves in."""
    rows, columns = ((side + _ROOM) // _TILE + 2 for side in (height, width))
    tiles = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    return tiles.repeat(_TILE, axis=0).repeat(_TILE, axis=1)
