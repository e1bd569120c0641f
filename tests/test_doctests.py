"""The examples in docstrings are true: every one is run, with a clip that is called as they call it."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest
import torch

import vidcomp
from tests import clips


def modules_with_examples() -> list[str]:
    names = ["vidcomp", *(module.name for module in pkgutil.walk_packages(vidcomp.__path__, "vidcomp."))]
    return [name for name in names if name != "vidcomp.__main__" and ">>>" in source_of(name)]


def source_of(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips.make_clip(tmp_path / "video.mp4", 20)
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(
        importlib.import_module(name), extraglobs={"vidcomp": vidcomp, "torch": torch}, optionflags=doctest.ELLIPSIS
    )
    assert found.attempted > 0
    assert found.failed == 0
