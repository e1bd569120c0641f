"""`torch.compile` for a network that meets videos of any length, or a reason why it cannot be had here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vidcomp.nn.compressors.base import Features, pathways_of
from vidcomp.nn.video_model import VideoModel


@dataclass(frozen=True)
class Compilation:
    """Seconds that compiling took, warm-up included, and why it failed, if it did: the network then runs as it was."""

    seconds: float
    problem: str | None = None


class AnyLength(nn.Module):
    """A segment compiled for any number of frames, and anew for each size of picture.

    Were the size left open too, the arithmetic of all strided layers would be done in symbols, which for ``lite0``
    takes many minutes.
    """

    def __init__(self, segment: nn.Module) -> None:
        super().__init__()
        compiled: Any = torch.compile(segment, dynamic=False)
        self.segment = compiled

    def forward(self, features: Features) -> Features:
        """Run the segment on (N, C, T, H, W), or on one such tensor a pathway."""
        for part in pathways_of(features):
            torch._dynamo.maybe_mark_dynamic(part, 2)
        result: Features = self.segment(features)
        return result


def compile_segments(network: VideoModel, warm_up: Callable[[], object]) -> Compilation:
    """Compile the head and the tail, in place, for any number of frames.

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
            network.segments[place] = AnyLength(segment)
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
