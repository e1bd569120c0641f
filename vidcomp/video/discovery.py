"""What the user named (files, folders, patterns, a list) becomes video files, in a stable order: all, or a choice."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import IO

from vidcomp.files import printable
from vidcomp.video.remote import is_address

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for names in (
        ("3g2", "3gp", "3gpp", "amv", "asf", "avi", "bik", "dav", "divx", "dv", "f4v", "flc", "fli", "flv", "gif"),
        ("h261", "h263", "h264", "h265", "hevc", "ivf", "m1v", "m2t", "m2ts", "m2v", "m4v", "mj2", "mjpeg", "mjpg"),
        ("mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mpv", "mts", "mxf", "nsv", "nut", "obu", "ogm", "ogv", "qt", "rm"),
        ("rmvb", "roq", "smk", "tod", "trp", "ts", "vob", "webm", "wmv", "wtv", "xmv", "y4m"),
    )
    for name in names
)
"""What a file within a folder must end with, in upper or lower case, to be taken for a video."""

STDIN = "-"

# Addresses and the prefixes that FFmpeg takes for protocols. A file that has such a name is a file nevertheless.
# The longer marks first: that of UTF-16 begins one of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://|(?:async|cache|concat|concatf|crypto|data|fd|file|pipe|subfile|tee)[:,]", re.IGNORECASE
)

_LINE_END = re.compile(r"\r\n|\n|\r")
_MARKED_LINE = re.compile(r"(?<![^\r\n])\ufeff+")
_MOST_LIST_BYTES = 1 << 30


class SourceError(ValueError):
    """What was named does not exist or holds no video: wrong usage, not a video's fault. `path` is what was named."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)

    def __str__(self) -> str:
        name = printable(self.path) or "''"
        return f"{name}: {self.reason}"


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
    null: bool = False,
    all_files: bool = False,
    allow_urls: bool = False,
) -> Sources:
    """Resolve what the user named, in the order named, then what the files in `lists` name.

    A file is taken whatever its name. A folder is searched with all its sub-folders, in sorted order, for files whose
    extension is that of a video (or `all_files`), leaving out hidden ones; links are followed, but no folder is entered
    twice. A pattern (`*`, `?`, `[…]`, `**`) stands for what it matches, unless a file has that very name. `-` stands
    for the list on `stdin`. A link with a video's extension that leads nowhere is a video too, which fails when its
    turn comes. With `allow_urls` a web address that is not a file's name is a video, to be fetched when its turn comes.

    A list names one path per line, or separates them by NUL if `null` is set or it has no line ends; see `names_of`.
    Its names are never patterns. What it names and is not there is a video all the same, which fails when its turn
    comes: one gap must not stop ten thousand.

    Raises:
        SourceError: something named does not exist or is an address, a pattern matches nothing, or a list cannot be
            read.
    """
    notes: list[str] = []
    videos: dict[str, VideoFile] = {}
    for name in named:
        if name == STDIN:
            found = _of_list(STDIN, _read(stdin), null, notes, all_files, allow_urls)
        else:
            found = _resolve(name, notes, all_files, allow_urls)
        for video in found:
            videos.setdefault(video.path, video)
    for file in lists:
        for video in _of_list(file, _read_file(file), null, notes, all_files, allow_urls):
            videos.setdefault(video.path, video)
    return Sources(tuple(videos.values()), tuple(notes))


def _read(stdin: IO[bytes] | None) -> bytes:
    if stdin is None:
        raise SourceError(STDIN, "there is no standard input to read a list from")
    return _limited(STDIN, stdin)


def _read_file(name: str) -> bytes:
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - a name may hold what pathlib refuses
            return _limited(name, file)
    except SourceError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SourceError(name, f"this list cannot be read ({why}); name a file that holds one path per line") from None


def _limited(name: str, file: IO[bytes]) -> bytes:
    """All of a file, which need not have an end: it may be a device."""
    pieces, left = [], _MOST_LIST_BYTES
    while piece := file.read(1 << 20):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise SourceError(name, "it is too large for a list; name a file of one entry per line")
    return b"".join(pieces)


def text_of(source: str, data: bytes) -> str:
    """The text of a file that a user made, by its byte order mark if it has one; else UTF-8, or whatever bytes.

    Where such files were joined, each line may begin with a mark, which is none of the text.

    Raises:
        SourceError: it is not what its mark says.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return _MARKED_LINE.sub("", data.decode(encoding))
            except UnicodeDecodeError:
                raise SourceError(source, f"it is marked as {encoding}, but it is not; save it as UTF-8") from None
    return _MARKED_LINE.sub("", os.fsdecode(data))


def read_text(name: str) -> str:
    """What `text_of` makes of a file.

    Raises:
        OSError, SourceError: it cannot be read, is too large, or is not what its mark says.
    """
    with open(name, "rb") as file:  # noqa: PTH123 - a name may hold what pathlib refuses
        return text_of(name, _limited(name, file))


def names_of(source: str, data: bytes, *, null: bool = False) -> list[str]:
    """The names in a list: one per line, or, if `null` is set or there are no line ends, separated by NUL.

    Raises:
        SourceError: it is UTF-16 without a mark, or nothing tells whether NULs or line ends separate its names.
    """
    text = text_of(source, data)
    if "\0" not in text:
        names = [text.rstrip("\r\n")] if null else _LINE_END.split(text)
    elif not null and any(len(name) == 1 for name in text.split("\0")):
        # The letters of such a text stand apart, and some of them, as . and /, are folders.
        raise SourceError(
            source,
            "it looks like UTF-16 without a byte order mark; save it as UTF-8, or give null=True if NULs separate its "
            "paths",
        )
    elif null or not _LINE_END.search(text):
        names = text.split("\0")
    else:
        raise SourceError(
            source, "it has both line ends and NULs; save it as UTF-8, or give null=True if NULs separate its paths"
        )
    return [name for name in names if name]


def _of_list(
    source: str, data: bytes, null: bool, notes: list[str], all_files: bool, allow_urls: bool
) -> Iterator[VideoFile]:
    comments = 0
    for name in names_of(source, data, null=null):
        if not _exists(name):
            if name.startswith("#"):
                comments += 1
                continue
            bare = name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name
            name = bare if _exists(bare) else name
        try:
            yield from _resolve(name, notes, all_files, allow_urls, patterns=False)
        except SourceError:
            yield VideoFile(name, name)
    if comments:
        notes.append(f"{printable(source)}: lines that begin with # and name no file are comments: {comments}")


def _resolve(
    name: str, notes: list[str], all_files: bool, allow_urls: bool, *, patterns: bool = True
) -> Iterator[VideoFile]:
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
    is_pattern = patterns and glob.has_magic(name)
    matches = sorted(glob.iglob(_pattern(name), recursive=True)) if is_pattern else []  # noqa: PTH207
    if not matches:
        what = "no file matches this pattern" if is_pattern else "no such file or folder"
        raise SourceError(name, f"{what}; check the name")
    for match in matches:
        # With `**`, folders match beside the files in them; those are reached by themselves.
        if "**" not in name or not os.path.isdir(match):  # noqa: PTH112 - any bytes
            yield from _named(match, notes, all_files)


def _pattern(name: str) -> str:
    """The pattern, in which the folders that exist as they are named stand for themselves alone."""
    folder = os.path.dirname(name)  # noqa: PTH120
    while folder and not os.path.isdir(folder) and os.path.dirname(folder) != folder:  # noqa: PTH112, PTH120
        folder = os.path.dirname(folder)  # noqa: PTH120
    return glob.escape(folder) + name[len(folder) :]


def _named(name: str, notes: list[str], all_files: bool) -> Iterator[VideoFile]:
    if not os.path.isdir(name):  # noqa: PTH112
        yield VideoFile(name, name)
        return
    found = len(notes)
    empty, lost = True, 0
    for path, is_lost in _walk(name, notes):
        certain = os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS  # noqa: PTH122
        if all_files or certain:
            empty = False
            yield VideoFile(path, Path(os.path.relpath(path, name)).as_posix(), certain)
        else:
            lost += is_lost
    if lost:
        notes.append(f"{printable(name)}: links in it that lead nowhere and may have stood for folders: {lost}")
    if empty and len(notes) == found:
        notes.append(f"{printable(name)}: no video in this folder")


def _walk(folder: str, notes: list[str]) -> Iterator[tuple[str, bool]]:
    """Files beneath a folder, each folder's entries sorted by name, and links that lead nowhere, told as such."""
    entered: set[tuple[int, int]] = set()
    levels = [iter(_entries(folder, entered, notes))]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
            is_lost = not is_folder and not is_file and entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
        except OSError:
            is_folder, is_file, is_lost = False, False, True  # a link that leads to itself, or a name that is too long
        if is_folder:
            levels.append(iter(_entries(entry.path, entered, notes)))
        elif is_file or is_lost:
            yield entry.path, is_lost
        elif os.path.splitext(entry.name)[1].lower() in VIDEO_EXTENSIONS:  # noqa: PTH122
            notes.append(f"{printable(entry.path)}: not an ordinary file; skipped")


def _entries(folder: str, entered: set[tuple[int, int]], notes: list[str]) -> list[os.DirEntry[str]]:
    """What is in a folder, hidden entries left out; nothing of one that was entered before or cannot be read."""
    try:
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        notes.append(f"{printable(_shortened(folder))}: this folder cannot be read ({error.strerror}); skipped")
        return []
    return sorted(visible, key=lambda entry: os.fsencode(entry.name))


def _shortened(path: str) -> str:
    return path if len(path) <= 400 else f"{path[:200]}…{path[-200:]}"


def _exists(name: str) -> bool:
    try:
        return os.path.lexists(name)
    except ValueError:
        return False


@dataclass(frozen=True)
class Shard:
    """Share `number` (from 1) of `of` equal ones; which share a video is in follows from its relative path alone."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard {self.number}/{self.of}: the first number goes from 1 to the second")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`, such as 2/8.

        Raises:
            ValueError: it is not of that form.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise ValueError(f"shard {text!r} is not of the form i/n, such as 2/8")
        return cls(int(match[1]), int(match[2]))

    def holds(self, relative: str) -> bool:
        """Whether the video of that relative path is in this share: on every machine the same."""
        digest = hashlib.sha256(os.fsencode(relative)).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


@dataclass(frozen=True)
class VideoSelection:
    """What to take of the videos found.

    A pattern without `/` is compared with the file's name and with the name of each folder on the way to it; one with
    `/` with the whole relative path, where `*` passes over `/` too. A video must match one of `include`, if there are
    any, and none of `exclude`. Then comes `shard`, then `limit`: the first so many of what is left.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: Shard | None = None
    limit: int | None = None

    def of(self, videos: Iterable[VideoFile]) -> list[VideoFile]:
        """The chosen videos, in their order."""
        return list(islice((video for video in videos if self.wants(video.relative)), self.limit))

    def wants(self, relative: str) -> bool:
        """Whether the patterns and the share take a video of this relative path; the limit is another matter."""
        if self.include and not any(_matches(relative, pattern) for pattern in self.include):
            return False
        if any(_matches(relative, pattern) for pattern in self.exclude):
            return False
        return self.shard is None or self.shard.holds(relative)


def _matches(relative: str, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatchcase(relative, pattern.removeprefix("./"))
    return any(fnmatchcase(part, pattern) for part in relative.split("/"))
