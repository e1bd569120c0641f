"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import clips


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
