"""Decoding processes are lent, returned, shared by threads, and all end with their pool."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clips
from vidcomp.video import DecodeOptions, DecodePool, Selection, VideoError


@pytest.fixture(autouse=True, scope="module")
def quick_decoders() -> None:
    """None: these tests are of true processes."""


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    with DecodePool() as pool:
        yield pool


def test_an_idle_process_is_lent_again_and_a_busy_one_is_not(clip: Path, pool: DecodePool) -> None:
    assert pool.pids == []
    assert pool.count(str(clip)) == 60
    assert pool.count(str(clip), 5.0) == 12
    (first,) = pool.pids
    with pool.open(str(clip)) as one, pool.open(str(clip)) as other:
        assert len(set(pool.pids)) == 2
        assert sum(len(chunk) for chunk in one.chunks()) == sum(len(chunk) for chunk in other.chunks()) == 60
    assert clips.numbers(pool.frames(str(clip), DecodeOptions(selection=Selection(stride=30)))) == [0, 30]
    assert first in pool.pids
    assert len(pool.pids) == 2


def test_a_video_that_fails_leaves_a_process_for_the_next(clip: Path, pool: DecodePool, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        pool.frames(str(tmp_path / "gone.mp4"))
    assert len(pool.frames(str(clip))) == 60
    assert len(pool.pids) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_whichever_is_ready_first(clip: Path, tmp_path: Path, workers: int) -> None:
    short = clips.make_clip(tmp_path / "short.mp4", 5)
    with DecodePool(workers) as pool:
        assert len(pool.pids) == workers
        counts = pool.map(pool.count, [str(clip), str(short)] * 4)
        assert list(counts) == [60, 5] * 4
        assert len(pool.pids) == max(1, workers)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_closing_ends_all_processes_those_that_are_lent_too(clip: Path) -> None:
    pool = DecodePool(1)
    with pool.open(str(clip)) as reader:
        pids = pool.pids
        pool.close()
        pool.close()
        with pytest.raises(VideoError):
            list(reader.chunks())
    with pytest.raises(RuntimeError, match="closed"):
        pool.count(str(clip))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
