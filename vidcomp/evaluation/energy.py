"""Energy that a device took: NVML for an NVIDIA GPU, RAPL for a processor; absent where neither can be read.

RAPL counts a whole processor package and NVML a whole board, whatever runs on them: on a busy machine the energy is not
the model's alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_POWERCAP = Path("/sys/class/powercap")
# RAPL's counters move about once a millisecond, NVML's some ten times a second: what is read must last longer.
SHORTEST_S = {"cpu": 0.02, "cuda": 0.5}


class EnergyMeter:
    """Joules taken since some moment: :meth:`read` gives a number that only grows, or ``None`` if there is no meter."""

    def __init__(self, device: torch.device, powercap: Path = _POWERCAP) -> None:
        self._read = _nvml(device) if device.type == "cuda" else _rapl(powercap)
        self._shortest = SHORTEST_S.get(device.type, 0.0)

    @property
    def available(self) -> bool:
        """Whether this machine lets its energy be read."""
        return self._read is not None

    def measure(self, run: Callable[[], None]) -> tuple[float, float | None]:
        """Call ``run``; returns its seconds, and its joules or ``None``.

        Where one call is too short for the meter, it is repeated, and the joules are the mean of the repetitions; the
        seconds are always the first call's.
        """
        before = self._read() if self._read is not None else 0.0
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        if self._read is None:
            return seconds, None
        if seconds >= self._shortest:
            return seconds, self._read() - before
        repeats = math.ceil(self._shortest / max(seconds, 1e-6))
        before = self._read()
        for _ in range(repeats):
            run()
        return seconds, (self._read() - before) / repeats


def _rapl(powercap: Path) -> Callable[[], float] | None:
    """Reader of all processor packages together; their counters run over, which is made up for."""
    packages = [
        folder
        for folder in sorted(powercap.glob("intel-rapl:*"))
        if folder.name.count(":") == 1 and _number(folder / "energy_uj") is not None
    ]
    if not packages:
        return None
    last = {folder: _number(folder / "energy_uj") or 0 for folder in packages}
    total = 0.0

    def read() -> float:
        nonlocal total
        for folder in packages:
            now = _number(folder / "energy_uj")
            if now is None:
                continue
            step = now - last[folder]
            if step < 0:
                step += _number(folder / "max_energy_range_uj") or 0
            total += step / 1e6
            last[folder] = now
        return total

    return read


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


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
