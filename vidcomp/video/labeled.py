"""Videos with their classes: a sub-folder per class, or a CSV file of path and label."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from vidcomp.files import encodable, printable
from vidcomp.video.discovery import SourceError, VideoFile, find_videos, read_text

_COLUMNS = ("path", "label")
# What a heading may be known by, right or not.
_HEADINGS = {*_COLUMNS, "class", "file", "filename", "name", "target", "video"}


class LabelError(ValueError):
    """Videos that need classes have none, or others than the model's: one line for the user."""


@dataclass(frozen=True)
class LabeledVideo:
    """A video's path, the name of its class where that is known, and its group (a recording) where a list says so."""

    path: str
    label: str | None = None
    group: str | None = None


def find_labeled(
    named: Sequence[str], *, stdin: IO[bytes] | None = None, null: bool = False, group: str | None = None
) -> tuple[list[LabeledVideo], list[str]]:
    """Resolve what the user named into videos, each once, and remarks for the user.

    A ``.csv`` file lists ``path,label`` (as :func:`read_csv` reads it, with a column ``group``; paths are relative to
    the file). In a folder, the first sub-folder of a video's path is its label. Everything else is as in
    ``find_videos``.

    Raises:
        SourceError: something named does not exist, a CSV file has a line that is not ``path,label``, or a video is
            listed with two labels.
    """
    videos: dict[str, LabeledVideo] = {}
    notes: list[str] = []
    for name in named:
        if name.lower().endswith(".csv"):
            found = read_csv(Path(name), group)
        else:
            sources = find_videos([name], stdin=stdin, null=null)
            notes += sources.notes
            is_folder = Path(name).is_dir()
            found = [LabeledVideo(video.path, _sub_folder(video) if is_folder else None) for video in sources.videos]
        for video in found:
            if (other := videos.setdefault(video.path, video)).label != video.label and other.label and video.label:
                raise SourceError(name, f"{video.path} is of {other.label} and of {video.label}; leave the right one")
    return list(videos.values()), notes


def read_csv(file: Path, group: str | None = None) -> list[LabeledVideo]:
    """Read ``path,label`` per line; an empty label says that it is not known.

    With a heading that names them, other columns and another order are allowed; the one named ``group``, if it is
    there, says which videos were recorded together. A byte order mark tells the encoding.

    Raises:
        SourceError: the file cannot be read, its heading lacks or repeats one, or a line has not one or two fields.
    """
    try:
        text = read_text(str(file))
        rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1) if any(row)]
    except (OSError, csv.Error) as error:
        raise SourceError(str(file), f"cannot be read as a CSV file ({error})") from None
    places, most, grouped = {"path": 0, "label": 1}, 2, None
    heading = [field.strip().lower() for field in rows[0][1]] if rows else []
    if set(heading) & _HEADINGS and not (file.parent / rows[0][1][0].strip()).exists():
        if not set(_COLUMNS) <= set(heading):
            raise SourceError(str(file), f"its heading is {','.join(rows[0][1])}; name the columns path and label")
        column = "" if group is None else group.strip().lower()
        if twice := next((name for name in (*_COLUMNS, column) if name and heading.count(name) > 1), None):
            raise SourceError(str(file), f"its heading names the column {twice} more than once; leave the right one")
        places, most = {name: heading.index(name) for name in _COLUMNS}, len(heading)
        if column and column in heading:
            grouped = heading.index(column)
        del rows[0]
    videos = []
    for number, row in rows:
        other = next((sign for sign in ";\t|" if sign in row[0]), None)
        if len(row) == 1 and other is not None and not (file.parent / row[0].strip()).exists():
            shown = "tabs" if other == "\t" else other
            raise SourceError(
                str(file), f"line {number} is separated by {shown}: {row[0]}; separate path,label with a comma"
            )
        path, label = (row[place].strip() if place < len(row) else "" for place in places.values())
        if not path or len(row) > most:
            raise SourceError(str(file), f"line {number} is not path,label: {','.join(row)}")
        of = row[grouped].strip() if grouped is not None and grouped < len(row) else ""
        videos.append(LabeledVideo(str(file.parent / path), encodable(label) or None, of or None))
    return videos


def check_labeled(
    source: str, videos: Sequence[LabeledVideo], labels: Sequence[str] | None = None, *, otherwise: str = ""
) -> None:
    """Make sure that there are videos, and that each has a class, one of ``labels`` where those are given.

    ``otherwise`` ends the message of an error with what else the user may do.

    Raises:
        LabelError: there are no videos, one has no class, or a class is not one of ``labels``.
    """
    how = "a sub-folder per class, or a CSV file of path,label"
    if not videos:
        raise LabelError(f"{printable(source)}: no videos; give a folder with {how}")
    without = [video.path for video in videos if video.label is None]
    if without:
        raise LabelError(
            f"{printable(source)}: {len(without)} of {len(videos)} videos have no class, {printable(without[0])} for "
            f"one; use {how}{otherwise}"
        )
    if labels is not None and (unknown := _unknown(videos, labels)):
        raise LabelError(
            f"{printable(source)}: {some(unknown)}: not among the model's labels ({some(labels, 8)}); rename them"
            f"{otherwise}"
        )


def keep_known(videos: Sequence[LabeledVideo], labels: Sequence[str]) -> tuple[list[LabeledVideo], list[str]]:
    """Take labels that are not the model's off their videos, with a remark that names them."""
    unknown = _unknown(videos, labels)
    if not unknown:
        return list(videos), []
    kept = [replace(video, label=None) if video.label in unknown else video for video in videos]
    count = sum(before.label != after.label for before, after in zip(videos, kept, strict=True))
    what = "is not a label" if len(unknown) == 1 else "are not labels"
    return kept, [f"{some(unknown)} {what} of the model: {count} of {len(videos)} videos do not count for accuracy"]


def some(names: Sequence[str], most: int = 5) -> str:
    """At most so many of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


def _unknown(videos: Sequence[LabeledVideo], labels: Sequence[str]) -> list[str]:
    return sorted({video.label for video in videos if video.label is not None} - set(labels))


def _sub_folder(video: VideoFile) -> str | None:
    """The first folder of the video's path within the folder that was named."""
    first, slash, _ = video.relative.partition("/")
    return encodable(first) if slash else None  # a class is a label, which is text
