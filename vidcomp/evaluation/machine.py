"""The machine and the software that numbers were measured on; they are stored beside the numbers."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vidcomp import __version__

_GIB = 2**30
# Above this share of the cores busy with something else, timings are worth a warning.
_BUSY = 0.25


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, memory, GPU, versions, the time, and how busy the machine is now; ``None`` for what is unknown."""
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    memory = host_memory_bytes()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": None if memory is None else round(memory / _GIB, 1),
        "device": device.type,
        "gpu": None if gpu is None else gpu.name,
        "gpu_memory_gib": None if gpu is None else round(gpu.total_memory / _GIB, 1),
        "cuda": torch.version.cuda if gpu is not None else None,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": _version("av"),
        "decord": _version("decord"),
        "vidcomp": __version__,
        "load_before": _load(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def busy(machine: dict[str, Any]) -> bool:
    """Whether something else kept the machine busy when it was described, so that timings may be off."""
    load, cores = machine["load_before"], machine["cores"]
    return load is not None and cores is not None and load > _BUSY * cores


def host_memory_bytes(meminfo: Path = Path("/proc/meminfo"), limits: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that this process may use: the machine's, or its container's limit if that is lower; bytes."""
    amounts = []
    try:
        total = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemTotal:"))
        amounts.append(int(total.split()[1]) * 1024)
    except (OSError, StopIteration):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            amounts.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = (limits / name).read_text().strip()
        except OSError:
            continue
        if limit.isdecimal():
            amounts.append(int(limit))
    return min(amounts, default=None)


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
