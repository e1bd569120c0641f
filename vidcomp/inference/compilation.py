"""`torch.compile` for a network that meets videos of any length, or a reason why it cannot be had here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from vidcomp.nn.compressed_model import CompressedModel


@dataclass(frozen=True)
class Compilation:
    """Seconds that compiling took, warm-up included, and why it failed, if it did: the network then runs as it was."""

    seconds: float
    problem: str | None = None


def compile_segments(network: CompressedModel, warm_up: Callable[[], object]) -> Compilation:
    """Compile the head and the tail, in place, for any number of frames and any size of picture.

    ``warm_up`` must run the network: compiling happens when it is first used. Compressors, whose work may depend on
    the video's content, are left as they are.
    """
    # Found by running the head on odd shapes, which need not be compiled.
    _ = network.head_field
    plain = list(network.segments)
    began = time.perf_counter()
    problem = None
    try:
        for place, segment in enumerate(plain):
            compiled: Any = torch.compile(segment, dynamic=True)
            network.segments[place] = compiled
        warm_up()
    except Exception as error:
        # A missing compiler, a full disk, an operator that is not supported: each has an exception of its own.
        for place, segment in enumerate(plain):
            network.segments[place] = segment
        problem = _reason(error)
    return Compilation(time.perf_counter() - began, problem)


def _reason(error: Exception) -> str:
    """The line of a compiler's message that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = (line for line in lines if "Error" in line or "No working" in line)
    return next(telling, lines[0] if lines else type(error).__name__)[:200]
