"""What the benchmarks share: rounds in turns, videos of any length and size, and where results are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from vidcomp.evaluation.machine import describe
from vidcomp.evaluation.statistics import ratio_of_medians, spread

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
FPS = 30
_PIXELS_PER_FRAME = 3  # that the picture moves


def moving_video(path: Path, frames: int, size: tuple[int, int], codec: str = "libx264") -> Path:
    """Write ``frames`` pictures of ``size`` (width, height): a view that wanders over a soft pattern."""
    width, height = size
    room = 64 * _PIXELS_PER_FRAME
    rough = np.random.default_rng(0).integers(0, 256, (height // 8 + room // 8 + 2, width // 8 + room // 8 + 2, 3))
    pattern = np.asarray(rough.repeat(8, axis=0).repeat(8, axis=1), np.uint8)
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


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, A B C A B C …, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def summary(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Median and range of each way, and how many times faster it is than the first."""
    first = next(iter(seconds.values()))
    rows = {}
    for name, values in seconds.items():
        middle = spread(values)
        ratio = ratio_of_medians(first, values, list(zip(first, values, strict=True)))
        assert middle is not None
        assert ratio is not None
        rows[name] = {
            "seconds": round(middle.median, 4),
            "range": [round(middle.least, 4), round(middle.greatest, 4)],
            "times_faster": round(ratio.value, 3),
            "interval": None
            if ratio.low is None or ratio.high is None
            else [round(ratio.low, 3), round(ratio.high, 3)],
        }
    return rows


def save(name: str, results: Mapping[str, Any], machine: Mapping[str, Any] | None = None) -> None:
    """Print the results and keep them, with the machine's description, in benchmarks/results."""
    described = machine if machine is not None else describe(torch.device("cpu"))
    text = json.dumps({"machine": dict(described), **results}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
