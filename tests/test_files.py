"""Files are there whole or not at all, and names are shown on one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vidcomp.files import encodable, printable, replace_file, replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("options", [{}, {"shared": True}, {"sync": False}, {"shared": True, "sync": False}])
def test_what_fails_leaves_the_old_file_and_no_trace(options: dict[str, bool], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path, **options) as new:
            new.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (path.read_text(), names(tmp_path)) == ("old", ["x.json"])
    with replacing(path, **options) as new:
        new.write_text("new")
    assert (path.read_text(), names(tmp_path)) == ("new", ["x.json"])


def test_two_that_share_a_file_do_not_write_into_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replacing(path, shared=True) as one, replacing(path, shared=True) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["x"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o640)
    replace_file(path, [b"n", b"e"], [b"w"])
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_pipe_or_a_device_stays_what_it_is(tmp_path: Path) -> None:
    """Else `--output /dev/null` would take the system's away."""
    os.mkfifo(pipe := tmp_path / "pipe.srt")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace_file(pipe, [b"one ", b"two"])
    assert os.read(reader, 100) == b"one two"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (folder := tmp_path / "elsewhere").mkdir()
    (link := tmp_path / "link").symlink_to(target := folder / "file")
    for content in (b"new", b"newer"):
        replace_file(link, [content])
        assert (link.is_symlink(), target.read_bytes()) == (True, content)
    assert list(folder.iterdir()) == [target]


@pytest.mark.parametrize("shared", [False, True])
def test_names_may_be_as_long_as_file_systems_allow(shared: bool, tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    with replacing(path, shared=shared) as new:
        new.write_text("whole")
        assert len(os.fsencode(new.name)) <= 255
    assert path.read_text() == "whole"


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere" / "x", [b""])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("", "", ""),
        ("a b.mp4", "a b.mp4", "a b.mp4"),
        ("\udcff.mp4", "\\udcff.mp4", "\\udcff.mp4"),
        ("a\nb\x1b[2J", "a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("\u202egnp.exe", "\u202egnp.exe", "\\u202egnp.exe"),
        ("👩\u200d🎤", "👩\u200d🎤", "👩\u200d🎤"),
    ],
)
def test_names_as_text_and_on_one_line(name: str, text: str, line: str) -> None:
    assert (encodable(name), printable(name)) == (text, line)
