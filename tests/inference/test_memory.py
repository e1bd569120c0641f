"""What the C library is told about freed memory: by programs that ask for it alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import vidcomp
from tests.tiny_model import make_tiny_model
from vidcomp import memory


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
