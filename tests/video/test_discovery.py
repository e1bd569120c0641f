from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidcomp.files import printable
from vidcomp.video import Shard, SourceError, VideoFile, VideoSelection, discovery, find_videos
from vidcomp.video.discovery import names_of
from vidcomp.video.errors import VideoMissing


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
    (folder / "note.txt").symlink_to(folder / "nowhere.txt")
    # What leads nowhere fails when its turn comes, where its name says that it was a video.
    assert relative(folder) == ["a.MKV", "b.mp4", "dangling.mp4", "self.mp4", "sub/a.mp4", "sub/b.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="paths are shorter there")
def test_a_folder_of_any_depth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for _ in range(1200):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    Path("deep.mp4").touch()
    monkeypatch.undo()
    found = find_videos([str(folder)])
    deep = [video.relative for video in found.videos if video.relative.endswith("deep.mp4")]
    assert deep == ["/".join([*["d"] * 1200, "deep.mp4"])]
    monkeypatch.chdir(folder / "sub")
    for _ in range(30):
        os.mkdir("n" * 200)  # noqa: PTH102
        os.chdir("n" * 200)
    monkeypatch.undo()
    found = find_videos([str(folder)])
    assert [video.relative for video in found.videos if video.relative.startswith("sub")] == ["sub/a.mp4", "sub/b.mp4"]
    assert "this folder cannot be read (File name too long)" in found.notes[0]
    # Python's own removal of folders, which pytest calls later, goes no deeper than its stack.
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize(
    ("begin", "encoding"), [("", "utf-8-sig"), ("", "utf-16"), ("", "utf-32"), ("a.mp4\n", "utf-8-sig")]
)
def test_marks_within_joined_lists_belong_to_no_name(begin: str, encoding: str) -> None:
    """As of `cat one.txt two.txt`; in a name it stays what it is."""
    parts = ["b.mp4\r\n", "c.mp4\n", "", "d\ufeff.mp4"]
    data = begin.encode() + b"".join(part.encode(encoding) for part in parts)
    assert names_of("list", data) == [*begin.split(), "b.mp4", "c.mp4", "d\ufeff.mp4"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_any_encoding(
    encoding: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.chdir(folder)
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    data = (mark + f"b.mp4{end}sub/ä.mp4{end}").encode(encoding)
    assert relative(stdin=io.BytesIO(data)) == []
    assert relative("-", stdin=io.BytesIO(data)) == ["b.mp4", "sub/ä.mp4"]
    (tmp_path / "list.txt").write_bytes(data)
    assert relative(lists=[str(tmp_path / "list.txt")]) == ["b.mp4", "sub/ä.mp4"]


def test_a_list_whose_separator_nothing_tells_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SourceError, match="null=True"):
        find_videos(["-"], stdin=io.BytesIO(b"b.mp4\0sub/a\n.mp4\0"))
    for text in ("b.mp4\nsub/a.mp4\n", "b.mp4", "一一/b.mp4", "動画.ts", "./視.ts", "/視.ts", "..", "./v", "."):
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            with pytest.raises(SourceError, match="UTF-16 without a byte order mark"):
                find_videos(["-"], stdin=io.BytesIO(text.encode(encoding)))
    assert relative("-", stdin=io.BytesIO(b"b.mp4\0sub/a\n.mp4\0"), null=True) == ["b.mp4", "sub/a\n.mp4"]
    with pytest.raises(SourceError, match="utf-16-le"):
        find_videos(["-"], stdin=io.BytesIO(b"\xff\xfea"))


def test_names_in_a_list_are_never_patterns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("clip 1.mp4", "#1.mp4", '"q".mp4'):
        Path(name).touch()
    listed = b'clip [1].mp4\n*.mp4\nclip?1.mp4\n# a comment\n#1.mp4\n"b.mp4"\n"q".mp4\n"gone.mp4"\n'
    found = find_videos(["-"], stdin=io.BytesIO(listed))
    assert [video.path for video in found.videos] == [
        *("clip [1].mp4", "*.mp4", "clip?1.mp4", "#1.mp4", "b.mp4", '"q".mp4', '"gone.mp4"')
    ]
    assert found.notes == ("-: lines that begin with # and name no file are comments: 1",)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_of_any_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9\n.mp4"
    with open(name, "wb"):  # noqa: PTH123
        pass
    (video,) = find_videos([str(tmp_path)]).videos
    assert os.fsencode(video.path) == name
    assert printable(video.relative) == "caf\\udce9\\n.mp4"


def test_a_pattern_within_a_folder_whose_name_looks_like_one(tmp_path: Path) -> None:
    for name in ("data [old]/a.mp4", "data o/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert relative(tmp_path / "data [old]" / "*.mp4") == [str(tmp_path / "data [old]" / "a.mp4")]
    assert relative(tmp_path / "data [o]" / "*.mp4") == [str(tmp_path / "data o" / "b.mp4")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files there")
def test_what_is_left_out_of_a_folder_is_noted(folder: Path) -> None:
    os.mkfifo(folder / "pipe.mp4")
    (folder / "season").symlink_to(folder / "gone")
    found = find_videos([str(folder)])
    assert [video.relative for video in found.videos] == ["a.MKV", "b.mp4", "sub/a.mp4", "sub/b.mp4"]
    assert found.notes == (
        f"{folder}/pipe.mp4: not an ordinary file; skipped",
        f"{folder}: links in it that lead nowhere and may have stood for folders: 1",
    )


def test_what_would_change_a_terminal_or_the_direction_of_writing_is_shown_as_escapes() -> None:
    assert printable("a\x1b[31m\u202egpj.mp4\x9b\t") == "a\\x1b[31m\\u202egpj.mp4\\x9b\\t"
    assert printable("动作\u3000👨\u200d👩.mp4\xa0") == "动作\u3000👨\u200d👩.mp4\xa0"
    assert str(VideoMissing("a\x07\u2066.mp4", "it\x1b[2J is gone")) == "a\\x07\\u2066.mp4: it\\x1b[2J is gone"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_noted(folder: Path) -> None:
    (folder / "sub").chmod(0)
    found = find_videos([str(folder)])
    (folder / "sub").chmod(0o755)
    assert [video.relative for video in found.videos] == ["a.MKV", "b.mp4"]
    assert "cannot be read" in found.notes[0]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_lists_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_MOST_LIST_BYTES", 1 << 20)
    for read in (lambda: find_videos([], lists=["/dev/zero"]), lambda: discovery.read_text("/dev/zero")):
        with pytest.raises(SourceError, match="/dev/zero: it is too large for a list"):
            read()
    with Path("/dev/zero").open("rb") as endless, pytest.raises(SourceError, match="-: it is too large for a list"):
        find_videos(["-"], stdin=endless)


def test_recorders_have_extensions_of_their_own(tmp_path: Path) -> None:
    names = ["a.WTV", "b.m2t", "c.trp", "d.qt", "e.tod", "f.nsv"]
    for name in [*names, "g.txt", "h.m4a"]:
        (tmp_path / name).touch()
    assert relative(tmp_path) == names


NAMES = ["a/x.mp4", "a/y.mkv", "b/raw/x.mp4", "z.mp4", "caf\udce9.mp4"]


def chosen(choice: VideoSelection) -> list[str]:
    return [video.relative for video in choice.of(VideoFile(f"/v/{name}", name) for name in NAMES)]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (VideoSelection(), NAMES),
        (VideoSelection(include=("*.mkv", "z*")), ["a/y.mkv", "z.mp4"]),
        (VideoSelection(include=("a",)), ["a/x.mp4", "a/y.mkv"]),
        (VideoSelection(exclude=("raw", "*\udce9*")), ["a/x.mp4", "a/y.mkv", "z.mp4"]),
        (VideoSelection(include=("b/*",)), ["b/raw/x.mp4"]),
        (VideoSelection(exclude=("./a/*", "b/*")), ["z.mp4", "caf\udce9.mp4"]),
        (VideoSelection(include=("x.*",), limit=1), ["a/x.mp4"]),
    ],
)
def test_patterns_and_limit(choice: VideoSelection, names: list[str]) -> None:
    assert chosen(choice) == names


def test_shards_part_the_videos() -> None:
    videos = [VideoFile(f"/v/{i}.mp4", f"{i}.mp4") for i in range(1000)]
    parts = [{video.relative for video in VideoSelection(shard=Shard(i, 4)).of(videos)} for i in range(1, 5)]
    assert len(set().union(*parts)) == sum(map(len, parts)) == 1000
    assert all(200 < len(part) < 300 for part in parts)


def test_a_videos_shard_never_changes() -> None:
    elsewhere = [VideoFile(f"/other/{name}", name) for name in reversed(NAMES)]
    here = set(chosen(VideoSelection(shard=Shard(2, 3))))
    assert {video.relative for video in VideoSelection(shard=Shard(2, 3)).of(elsewhere)} == here
    assert Shard(2, 3).holds("a/x.mp4") == (Shard.parse("2/3").holds("a/x.mp4"))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/0", "-1/2"])
def test_shards_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)
