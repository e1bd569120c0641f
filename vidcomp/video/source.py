"""What the user named (files, folders, patterns, a list) becomes video files, in a stable order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vidcomp.video.remote import is_address

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for names in (
        ("3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "gif", "h264", "h265", "hevc", "ivf", "m1v", "m2ts"),
        ("m2v", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "nut", "obu", "ogm"),
        ("ogv", "rm", "rmvb", "ts", "vob", "webm", "wmv", "y4m"),
    )
    for name in names
)
"""What a file within a folder must end with, in upper or lower case, to be taken for a video."""

STDIN = "-"

# Addresses and the prefixes that FFmpeg takes for protocols. A file that has such a name is a file nevertheless.
_ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://|(?:async|cache|concat|concatf|crypto|data|fd|file|pipe|subfile|tee)[:,]", re.IGNORECASE
)


class SourceError(ValueError):
    """What was named does not exist or holds no video: wrong usage, not a video's fault. `path` is what was named."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


@dataclass(frozen=True)
class VideoFile:
    """A video to read: `path` opens it; `relative` is its path within the folder named, or `path` if named itself.

    Within one folder `relative` never repeats, so that results for `a/x.mp4` and `b/x.mp4` stay apart. It is always
    written with `/`. `certain` is false for a file that only `all_files` made a candidate: it may be anything.
    """

    path: str
    relative: str
    certain: bool = True


@dataclass(frozen=True)
class Sources:
    """The videos found, each once, and what could not be looked into: one sentence each in `notes`."""

    videos: tuple[VideoFile, ...]
    notes: tuple[str, ...] = ()


def find_videos(
    named: Iterable[str],
    *,
    stdin: IO[bytes] | None = None,
    lists: Iterable[str] = (),
    all_files: bool = False,
    allow_urls: bool = False,
) -> Sources:
    """Resolve what the user named, in the order named, then what the files in `lists` name.

    A file is taken whatever its name. A folder is searched with all its sub-folders, in sorted order, for files whose
    extension is that of a video (or `all_files`), leaving out hidden ones; links are followed, but no folder is entered
    twice. A pattern (`*`, `?`, `[…]`, `**`) stands for what it matches, unless a file has that very name. `-` stands
    for the list on `stdin`. A list names one path a line, or separates them by NUL where it holds one; what it names
    and is not there is a video all the same, which fails when its turn comes: one gap must not stop ten thousand. With
    `allow_urls` a web address that is no file's name is a video, to be fetched when its turn comes.

    Raises:
        SourceError: something named does not exist or is an address, a pattern matches nothing, or a list cannot be
            read.
    """
    notes: list[str] = []
    videos: dict[str, VideoFile] = {}
    for name in named:
        if name == STDIN:
            found = _of_list(_read(stdin), notes, all_files, allow_urls)
        else:
            found = _resolve(name, notes, all_files, allow_urls)
        for video in found:
            videos.setdefault(video.path, video)
    for file in lists:
        for video in _of_list(_read_file(file), notes, all_files, allow_urls):
            videos.setdefault(video.path, video)
    return Sources(tuple(videos.values()), tuple(notes))


def printable(path: str) -> str:
    """A path on one line, whatever bytes are in it."""
    shown = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)


def _read(stdin: IO[bytes] | None) -> bytes:
    if stdin is None:
        raise SourceError(STDIN, "there is no standard input to read a list from")
    return stdin.read()


def _read_file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SourceError(name, f"this list cannot be read ({why}); name a file that holds one path a line") from None


def _of_list(data: bytes, notes: list[str], all_files: bool, allow_urls: bool) -> Iterator[VideoFile]:
    for part in data.split(b"\0") if b"\0" in data else data.splitlines():
        name = os.fsdecode(part)
        try:
            yield from _resolve(name, notes, all_files, allow_urls) if name else ()
        except SourceError:
            yield VideoFile(name, name)


def _resolve(name: str, notes: list[str], all_files: bool, allow_urls: bool) -> Iterator[VideoFile]:
    if _exists(name):
        yield from _named(name, notes, all_files)
        return
    if allow_urls and is_address(name):
        yield VideoFile(name, name)
        return
    if _ADDRESS.match(name):
        instead = (
            "give allow_urls=True to have it fetched" if is_address(name) else "name a local file, or an http address"
        )
        raise SourceError(name, f"this is an address, and only local files are read; {instead}")
    matches = sorted(glob.iglob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207
    if not matches:
        what = "no file matches this pattern" if glob.has_magic(name) else "no such file or folder"
        raise SourceError(name, f"{what}; check the name")
    for match in matches:
        # With `**`, folders match beside the files in them; those are reached by themselves.
        if "**" not in name or not os.path.isdir(match):  # noqa: PTH112 - any bytes
            yield from _named(match, notes, all_files)


def _named(name: str, notes: list[str], all_files: bool) -> Iterator[VideoFile]:
    if not os.path.isdir(name):  # noqa: PTH112
        yield VideoFile(name, name)
        return
    found = len(notes)
    empty = True
    for path in _walk(name, set(), notes):
        certain = os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS  # noqa: PTH122
        if all_files or certain:
            empty = False
            yield VideoFile(path, Path(os.path.relpath(path, name)).as_posix(), certain)
    if empty and len(notes) == found:
        notes.append(f"{printable(name)}: no video in this folder")


def _walk(folder: str, entered: set[tuple[int, int]], notes: list[str]) -> Iterator[str]:
    """Files beneath a folder, each folder's entries sorted by name."""
    try:
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        notes.append(f"{printable(folder)}: this folder cannot be read ({error.strerror}); skipped")
        return
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:
            is_folder, is_file = False, False  # a link that leads to itself
        if is_folder:
            yield from _walk(entry.path, entered, notes)
        elif is_file:
            yield entry.path


def _exists(name: str) -> bool:
    try:
        return os.path.lexists(name)
    except ValueError:
        return False
