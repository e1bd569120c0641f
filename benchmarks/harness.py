"""What the benchmarks share: rounds in turns, and where results are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.evaluation.statistics import ratio_of_medians, spread

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


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
    described = machine if machine is not None else describe_machine(torch.device("cpu"))
    text = json.dumps({"machine": dict(described), **results}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
