"""Fixtures that several folders of tests share."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.testing

from tests import clips

# While tests are collected next to nothing is thrown away.
gc.disable()


def pytest_collection_finish() -> None:
    """What is imported by now stays: no garbage is looked for in it."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def quick_decoders() -> Iterator[None]:
    """Decoding processes that are forked, where the system forks; tests of these processes have true ones."""
    if sys.platform != "linux":
        yield
        return
    from tests.decoders import forking

    with forking():
        yield


@pytest.fixture(autouse=True, scope="session")
def no_power_cut() -> Iterator[None]:
    """Files are not waited for until they are on the disk, which takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def commands_built_once() -> Iterator[None]:
    """Typer would build all commands anew for each one that a test runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.testing._get_command))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The team's shared videos: VIDCOMP_SHARED_DATA, or `shared/data` beside the checkout or further up."""
    named = os.environ.get("VIDCOMP_SHARED_DATA")
    root = Path(__file__).resolve().parent.parent
    candidates = [Path(named)] if named else [parent / "shared" / "data" for parent in (root, *root.parents)]
    for candidate in candidates:
        if (candidate / "odd" / "expected.csv").is_file():
            return candidate
    pytest.skip("the shared videos are not here (set VIDCOMP_SHARED_DATA)")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty numbered frames, 128×96, 25 frames/s, H.264 with B-frames and two open groups of pictures or more."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return clips.make_clip(path, 60, options={"g": "24", "bf": "2", "x264-params": "open-gop=1"})
