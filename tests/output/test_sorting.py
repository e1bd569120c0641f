"""Sorting by label neither deletes nor overwrites, however often it is done."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vidcomp.output import places
from vidcomp.output.places import Sorter, folder_name
from vidcomp.output.run import OutputError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def no_links(*_: object) -> None:
    raise OSError(18, "Invalid cross-device link")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "x.mp4"
    path.parent.mkdir()
    path.write_text("one")
    return path


def test_links_are_made_once(video: Path, tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", move=False)
    for _ in range(2):
        assert sorter.place(str(video), "run") == tmp_path / "out" / "run" / "x.mp4"
    assert [path.name for path in (tmp_path / "out" / "run").iterdir()] == ["x.mp4"]
    assert (tmp_path / "out" / "run" / "x.mp4").read_text() == "one"


@pytest.mark.parametrize("move", [True, False])
def test_a_name_that_is_taken_gets_a_number(move: bool, video: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "run").mkdir(parents=True)
    for name in ("x.mp4", "x (2).mp4"):
        (tmp_path / "out" / "run" / name).write_text("other")
    placed = Sorter(tmp_path / "out", move=move).place(str(video), "run")
    assert placed == tmp_path / "out" / "run" / "x (3).mp4"
    assert placed.read_text() == "one"
    assert (tmp_path / "out" / "run" / "x.mp4").read_text() == "other"
    assert video.exists() != move


@pytest.mark.parametrize("links", [True, False])
def test_moving(links: bool, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(places.os, "link", no_links)
    sorter = Sorter(tmp_path / "out", move=True)
    assert sorter.place(str(video), "run") == tmp_path / "out" / "run" / "x.mp4"
    assert not video.exists()
    assert (tmp_path / "out" / "run" / "x.mp4").read_text() == "one"
    assert sorter.place(str(video), "run") is None


def test_a_video_that_lies_there_already_stays(video: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "run").mkdir()
    video = video.rename(tmp_path / "in" / "run" / "x.mp4")
    (tmp_path / "alias").symlink_to(tmp_path / "in")
    for folder in ("in", "alias"):
        assert Sorter(tmp_path / folder, move=True).place(str(video), "run") is not None
        assert video.read_text() == "one"


def test_a_move_broken_off_halfway_is_finished(video: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "run").mkdir(parents=True)
    os.link(video, tmp_path / "out" / "run" / "x.mp4")
    Sorter(tmp_path / "out", move=True).place(str(video), "run")
    assert not video.exists()
    assert [path.name for path in (tmp_path / "out" / "run").iterdir()] == ["x.mp4"]


def test_a_copy_that_fails_leaves_the_original(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places.os, "link", no_links)
    monkeypatch.setattr(places.shutil, "copyfileobj", fail)
    with pytest.raises(OutputError, match="No space left"):
        Sorter(tmp_path / "out", move=True).place(str(video), "run")
    assert video.read_text() == "one"
    assert list((tmp_path / "out" / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("label", "name"), [("run", "run"), ("a/b", "a_b"), ("..", "_"), ("\0\n", "__"), ("tai chi", "tai chi")]
)
def test_labels_as_folders(label: str, name: str) -> None:
    assert folder_name(label) == name
