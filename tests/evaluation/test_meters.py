"""Memory, energy and the machine's description."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vidcomp.evaluation import machine, memory
from vidcomp.evaluation.energy import EnergyMeter
from vidcomp.evaluation.machine import host_memory_bytes
from vidcomp.evaluation.memory import PeakMemory, largest_that_fits

CPU = torch.device("cpu")
MB = 10**6


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory on a CPU is known on Linux only")
@pytest.mark.parametrize("resettable", [True, False])
def test_peak_memory_sees_what_was_freed_before_the_end(resettable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not resettable:
        monkeypatch.setattr(memory, "_reset_high_water", lambda: False)
    before = np.ones(200 * MB, np.uint8)
    del before
    with PeakMemory(CPU) as peak:
        block = np.ones(60 * MB, np.uint8)
        # Something for the sampling thread to see.
        for _ in range(20):
            block += 1
        del block
    assert peak.bytes is not None
    assert 55 * MB < peak.bytes < 90 * MB


def test_without_proc_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_SELF", tmp_path)
    with PeakMemory(CPU) as peak:
        pass
    assert peak.bytes is None


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
    monkeypatch.setattr("vidcomp.evaluation.energy.SHORTEST_S", {"cpu": 0.0})
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
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemFree: 1 kB\n")
    assert host_memory_bytes(meminfo, tmp_path) == 1_024_000
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory_bytes(meminfo, tmp_path) == 1_024_000
    (tmp_path / "memory.max").write_text("5000\n")
    assert host_memory_bytes(meminfo, tmp_path) == 5000


def test_the_machine_is_described_and_known_to_be_busy() -> None:
    described = machine.describe(CPU)
    assert described["torch"] == torch.__version__
    assert described["gpu"] is None
    assert machine.busy({**described, "load_before": 3.0, "cores": 2})
    assert not machine.busy({**described, "load_before": 0.1, "cores": 2})
    assert not machine.busy({**described, "load_before": None})
