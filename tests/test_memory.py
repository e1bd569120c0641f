"""What a process may take of memory; and what the C library is told about freed memory, by programs that ask alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import vidcomp
from tests.tiny_model import make_tiny_model
from vidcomp import memory
from vidcomp.memory import memory_at_hand

GIB = 2**30


class Library:
    """Stands for the C library and notes what it is told."""

    def __init__(self) -> None:
        self.told: dict[int, int] = {}

    def mallopt(self, parameter: int, size: int) -> int:
        self.told[parameter] = size
        return 1


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_blocks_are_kept_unless_the_user_has_settings_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    memory.tune_malloc()
    assert not library.told
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    memory.tune_malloc()
    threshold, kept = library.told[-3], library.told[-1]
    assert 0 < threshold < kept


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody is told anything")
def test_a_program_that_uses_the_library_keeps_its_allocator_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    with vidcomp.load(make_tiny_model(tmp_path), device="cpu"):
        assert not library.told


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody is told anything")
def test_a_library_without_such_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        def __getattr__(self, name: str) -> None:
            asked.append(name)
            raise AttributeError(name)

    asked: list[str] = []
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Bare())
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    memory.tune_malloc()
    memory.trim_memory()
    assert asked == ["mallopt", "malloc_trim"]


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 8 GiB left, of which the control group `/a/b` sees what its files say."""
    put(tmp_path, proc__meminfo=f"MemTotal: 16000000 kB\nMemAvailable: {8 * GIB >> 10} kB\n")
    return tmp_path


def test_memory_of_a_machine_without_limits(machine: Path) -> None:
    assert memory_at_hand(machine) == 8 * GIB
    assert memory_at_hand(machine / "nothing") is None


def test_memory_of_a_group_is_that_of_the_narrowest_around_it(machine: Path) -> None:
    group = machine / "sys/fs/cgroup"
    put(machine, proc__self__cgroup="0::/a/b\n")
    for inner, limit, used in (("a/b", "max", 0), ("a", str(3 * GIB), 2 * GIB), (".", str(6 * GIB), 2 * GIB)):
        put(group / inner, memory_DOT_max=f"{limit}\n", memory_DOT_current=f"{used}\n")
    assert memory_at_hand(machine) == GIB
    # What the cache of files takes can be had.
    put(group / "a", memory_DOT_stat=f"anon 7\ninactive_file {GIB}\nactive_file 5\n")
    assert memory_at_hand(machine) == 2 * GIB + 5
    # Within a container the path may be the host's; the container's own group is at the top.
    put(machine, proc__self__cgroup="0::/docker/123\n")
    assert memory_at_hand(machine) == 4 * GIB
    put(group, memory_DOT_current=f"{7 * GIB}\n")
    assert memory_at_hand(machine) == 0


def test_memory_of_a_group_of_the_first_kind(machine: Path) -> None:
    put(machine, proc__self__cgroup="9:name=systemd:/\n4:cpu,memory:/a\n")
    group = machine / "sys/fs/cgroup/memory/a"
    put(group, memory_DOT_limit_in_bytes=f"{2 * GIB}", memory_DOT_usage_in_bytes=f"{GIB}")
    put(group, memory_DOT_stat="inactive_file 1\ntotal_inactive_file 100\n")
    assert memory_at_hand(machine) == GIB + 100


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_memory_within_a_limit_of_the_address_space(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda kind: (5 * GIB, 5 * GIB))
    put(machine, proc__self__status=f"VmPeak: 9 kB\nVmSize: {2 * GIB >> 10} kB\n")
    assert memory_at_hand(machine) == 3 * GIB
