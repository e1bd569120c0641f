from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from vidcomp.video import SourceError, find_videos
from vidcomp.video.source import printable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MKV", "sub/a.mp4", "sub/b.mp4", "notes.txt", ".hidden.mp4", ".git/x.mp4", "z/.y.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def relative(*named: object, **options: object) -> list[str]:
    return [video.relative for video in find_videos(map(str, named), **options).videos]  # type: ignore[arg-type]


def test_a_folder_is_searched_in_sorted_order(folder: Path) -> None:
    assert relative(folder) == ["a.MKV", "b.mp4", "sub/a.mp4", "sub/b.mp4"]
    assert find_videos([str(folder)]).videos[0].path == str(folder / "a.MKV")


def test_all_files_of_a_folder(folder: Path) -> None:
    assert "notes.txt" in relative(folder, all_files=True)
    certain = {video.relative: video.certain for video in find_videos([str(folder)], all_files=True).videos}
    assert (certain["notes.txt"], certain["b.mp4"]) == (False, True)


def test_a_file_named_is_taken_whatever_its_name(folder: Path) -> None:
    for name in ("notes.txt", ".hidden.mp4"):
        assert relative(folder / name) == [str(folder / name)]


def test_nothing_is_taken_twice(folder: Path) -> None:
    assert relative(folder / "b.mp4", folder) == [str(folder / "b.mp4"), "a.MKV", "sub/a.mp4", "sub/b.mp4"]


def test_patterns(folder: Path) -> None:
    assert relative(folder / "*.mp4") == [str(folder / "b.mp4")]
    assert relative(folder / "**" / "a.*") == [str(folder / "a.MKV"), str(folder / "sub" / "a.mp4")]
    assert relative(folder / "s*") == ["a.mp4", "b.mp4"]


def test_a_file_whose_name_looks_like_a_pattern(folder: Path) -> None:
    (folder / "take[1].mp4").touch()
    assert relative(folder / "take[1].mp4") == [str(folder / "take[1].mp4")]


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.mp4: no such file"):
        find_videos([str(folder / "b.mp4"), str(folder / "gone.mp4")])
    with pytest.raises(SourceError, match="no file matches"):
        find_videos([str(folder / "*.webm")])
    with pytest.raises(SourceError):
        find_videos(["a\0b.mp4"])


def test_an_empty_folder_is_noted(folder: Path) -> None:
    found = find_videos([str(folder / "z")])
    assert found.videos == ()
    assert "no video" in found.notes[0]


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_on_standard_input(folder: Path, separator: bytes) -> None:
    names = [str(folder / "b.mp4"), str(folder / "sub" / "a.mp4")]
    given = io.BytesIO(separator.join(map(os.fsencode, names)) + separator)
    assert relative("-", stdin=given) == names


def test_a_list_in_a_file_and_what_is_missing_from_it(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{folder}/b.mp4\n\n{folder}/gone.mp4\n{folder}/sub\nhttp://there/x.mp4\n")
    found = find_videos([], lists=[str(listed)])
    assert [video.relative for video in found.videos] == [
        str(folder / "b.mp4"),
        str(folder / "gone.mp4"),
        "a.mp4",
        "b.mp4",
        "http://there/x.mp4",
    ]
    with pytest.raises(SourceError, match="cannot be read"):
        find_videos([], lists=[str(tmp_path / "nowhere")])


@pytest.mark.parametrize("address", ["http://a/x.mp4", "RTSP://a", "concat:a|b", "file:x.mp4", "data:video/mp4,x"])
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(SourceError, match="only local files are read"):
        find_videos([address])


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_file_whose_name_looks_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "concat:x.mp4").touch()
    assert relative("concat:x.mp4") == ["concat:x.mp4"]


def test_no_standard_input() -> None:
    with pytest.raises(SourceError, match="standard input"):
        find_videos(["-"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_go_round(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self.mp4").symlink_to(folder / "self.mp4")
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    assert relative(folder) == ["a.MKV", "b.mp4", "sub/a.mp4", "sub/b.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_of_any_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9\n.mp4"
    with open(name, "wb"):  # noqa: PTH123
        pass
    (video,) = find_videos([str(tmp_path)]).videos
    assert os.fsencode(video.path) == name
    assert printable(video.relative) == "caf\\udce9\\n.mp4"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_noted(folder: Path) -> None:
    (folder / "sub").chmod(0)
    found = find_videos([str(folder)])
    (folder / "sub").chmod(0o755)
    assert [video.relative for video in found.videos] == ["a.MKV", "b.mp4"]
    assert "cannot be read" in found.notes[0]
