"""Where, in what precision and on how much at once a network is computed: as asked for, or what is fast and safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from vidcomp.memory import is_out_of_memory, trim_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

PRECISIONS: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Processors that multiply bfloat16 numbers by themselves, as Linux names it (x86, Arm). On others it is emulated, which
# was measured 250 times slower than float32.
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# Compute capability from which on NVIDIA's boards multiply bfloat16 (Ampere) and float16 (Volta) numbers fast.
_BF16_BOARDS, _FP16_BOARDS = (8, 0), (7, 0)


def choose_device(device: str | torch.device | None) -> torch.device:
    """Turn ``auto`` (or None), ``cpu``, ``cuda`` or a certain GPU, as ``cuda:1``, into a device.

    Raises:
        ValueError: there is no such device, or not here.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    name = "auto" if device is None else str(device).lower()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name != "cpu" and name not in (("cuda", *gpus) if gpus else ()):
        there = f"choose auto, cpu, cuda, {', '.join(gpus)}" if gpus else "use cpu or auto"
        if name.startswith("cuda") and not gpus:
            raise ValueError(f"device={name!r}: this machine has no usable CUDA device; {there}")
        raise ValueError(f"device={device!r}: there is no such device here; {there}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn ``auto``, ``fp32``, ``bf16`` or ``fp16`` into the type that products are computed in.

    ``auto`` is float32 on a CPU: bfloat16 is nearly three times faster, where the CPU has it, but moved a label in
    51 (docs/engine.md). On CUDA it is bfloat16, on older boards float16, on those before them float32.

    Raises:
        ValueError: there is no such precision, or the device computes in it only by slow emulation.
    """
    if name == "auto":
        return _auto(device)
    if problem := problem_with_precision(name):
        raise ValueError(f"precision={name!r}: {problem}")
    if device.type == "cpu" and name == "fp16":
        raise ValueError("precision='fp16': CPUs compute in it too slowly; use fp32, or bf16 where the CPU has it")
    if device.type == "cpu" and name == "bf16" and not cpu_has_bf16():
        raise ValueError("precision='bf16': this CPU would have to emulate it, many times slower; use fp32")
    if device.type == "cuda" and name == "bf16" and torch.cuda.get_device_capability(device) < _BF16_BOARDS:
        raise ValueError("precision='bf16': this GPU would have to emulate it; use fp16 or fp32")
    return PRECISIONS[name]


def problem_with_precision(name: str) -> str | None:
    """What is wrong with a precision's name: torch's names, which 0.1.0 took in recipes, are told the name of today."""
    if name == "auto" or name in PRECISIONS:
        return None
    today = {str(dtype).removeprefix("torch."): now for now, dtype in PRECISIONS.items()}
    return f"it is called {today[name]} now" if name in today else f"choose auto, {', '.join(PRECISIONS)}"


def precision_name(dtype: torch.dtype) -> str:
    """The name of what :func:`choose_precision` gave: ``fp32``, ``bf16`` or ``fp16``."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context in which products are computed in that type."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies bfloat16 numbers itself; False where that cannot be told."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features")))
    return not _BF16_FLAGS.isdisjoint(next(flags, ()))


def _auto(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    capability = torch.cuda.get_device_capability(device)
    if capability >= _BF16_BOARDS:
        return torch.bfloat16
    return torch.float16 if capability >= _FP16_BOARDS else torch.float32


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
