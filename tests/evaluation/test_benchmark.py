"""Memory, energy and the machine's description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidcomp.evaluation import benchmark
from vidcomp.evaluation.benchmark import (
    EnergyMeter,
    PeakMemory,
    describe_machine,
    host_memory_bytes,
    is_busy,
    largest_that_fits,
)

CPU = torch.device("cpu")
MB = 10**6


@pytest.mark.parametrize("has_proc", [True, False])
def test_peak_memory_sees_what_was_freed_before_the_end(
    has_proc: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the kernel's high-water mark, and sampled where there is none."""
    if not has_proc:
        monkeypatch.setattr(benchmark, "PROC", tmp_path)
    before = np.ones(200 * MB, np.uint8)
    del before
    with PeakMemory(CPU) as peak:
        block = np.ones(60 * MB, np.uint8)
        # Something for the sampling thread to see.
        for _ in range(20):
            block += 1
        del block
    assert 55 * MB < peak.bytes < 90 * MB


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 8, 19, 4096])
def test_search_for_the_largest_that_fits(most: int) -> None:
    asked: list[int] = []

    def fits(number: int) -> bool:
        asked.append(number)
        return number <= most

    assert largest_that_fits(fits) == most
    assert len(asked) == len(set(asked)) <= 25


def test_the_search_stops_at_its_limit() -> None:
    assert largest_that_fits(lambda number: True, limit=100) == 100


def package(root: Path, name: str, microjoules: int) -> Path:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("10000000\n")
    return folder


def test_rapl_adds_packages_and_makes_up_for_counters_that_run_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcomp.evaluation.benchmark.SHORTEST_S", {"cpu": 0.0})
    package(tmp_path, "intel-rapl:0", 9_000_000)
    package(tmp_path, "intel-rapl:1", 0)
    package(tmp_path, "intel-rapl:0:0", 0)
    meter = EnergyMeter(CPU, tmp_path)

    def run() -> None:
        package(tmp_path, "intel-rapl:0", 1_000_000)  # over the top: 2 J
        package(tmp_path, "intel-rapl:1", 500_000)
        package(tmp_path, "intel-rapl:0:0", 7_000_000)  # a part of package 0, counted there already

    assert meter.available
    assert meter.measure(run)[1] == pytest.approx(2.5)
    assert meter.measure(lambda: None)[1] == 0


def test_where_energy_cannot_be_read_it_is_absent(tmp_path: Path) -> None:
    meter = EnergyMeter(CPU, tmp_path)
    assert not meter.available
    assert meter.measure(lambda: None)[1] is None


def test_host_memory_is_the_containers_limit_where_that_is_lower(tmp_path: Path) -> None:
    machine = host_memory_bytes(tmp_path)
    assert machine > 10**8
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory_bytes(tmp_path) == machine
    (tmp_path / "memory.max").write_text("5000\n")
    assert host_memory_bytes(tmp_path) == 5000


def test_the_machine_is_described_and_known_to_be_busy() -> None:
    described = describe_machine(CPU)
    assert described["torch"] == torch.__version__
    assert described["gpu"] is None
    assert is_busy({**described, "load_before": 3.0, "cores": 2})
    assert not is_busy({**described, "load_before": 0.1, "cores": 2})
    assert not is_busy({**described, "load_before": None})
