"""What is made of one video never takes the place of what was made of another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vidcomp.output.places import Places


def test_equal_names_are_told_apart_now_and_later(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert places.of("a/x.mp4", "/A/a/x.mp4") == tmp_path / "a" / "x.mp4"
    assert places.of("a/x.mp4", "/B/a/x.mp4") == tmp_path / "a" / "x (2).mp4"
    for again in (places, Places(tmp_path)):
        assert again.of("a/x.mp4", "/B/a/x.mp4") == tmp_path / "a" / "x (2).mp4"
        assert again.of("a/x.mp4", "/A/a/x.mp4") == tmp_path / "a" / "x.mp4"
    assert Places(tmp_path).of("a/x.mp4", "http://there/x.mp4") == tmp_path / "a" / "x (3).mp4"


@pytest.mark.parametrize("path", ["/a/x.mp4", "../a/x.mp4", "../../a/../x.mp4", "a/../../../x.mp4"])
def test_nothing_lies_outside(path: str, tmp_path: Path) -> None:
    assert Places(tmp_path).of(path, "/v/x.mp4").relative_to(tmp_path).parts in (("a", "x.mp4"), ("x.mp4",))


def test_folder_and_videos_may_move_together(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    Places(before / "out").of("x.mp4", str(before / "x.mp4"))
    shutil.move(before, after)
    assert Places(after / "out").of("x.mp4", str(after / "x.mp4")) == after / "out" / "x.mp4"


def test_a_torn_note_is_no_hindrance(tmp_path: Path) -> None:
    Places(tmp_path).of("x.mp4", "/A/x.mp4")
    note = tmp_path / ".vidcomp-places.jsonl"
    note.write_text(note.read_text() + "\n" + json.dumps(["y.mp4"]) + '\n7\n["z.mp4", "/A')
    places = Places(tmp_path)
    assert places.of("x.mp4", "/B/x.mp4").name == "x (2).mp4"
    assert places.of("y.mp4", "/B/y.mp4").name == "y.mp4"
    assert Places(tmp_path).of("x.mp4", "/C/x.mp4").name == "x (3).mp4"
