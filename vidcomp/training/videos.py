"""The videos to train on, with their classes: a sub-folder per class, a CSV file, or no classes at all.

And which of them were recorded together: learning from some of these and being tested on the others proves little.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from vidcomp.files import counted
from vidcomp.training import DataError, RequestError
from vidcomp.video.labeled import LabeledVideo, LabelError, check_labeled, find_labeled, some

# How recordings are numbered, as in v_PushUps_g08_c01.avi of UCF101.
_GUESS = r"_g(\d+)(?!\d)"


@dataclass(frozen=True)
class TrainingVideo:
    """A video's path, and the index of its class, ``None`` where that is not known; and its group, where a list says.

    Videos of one group were recorded together: what is learned from some of them says little about the others.
    """

    path: str
    label: int | None
    group: str | None = None


@dataclass(frozen=True)
class TrainingVideos:
    """Videos, the names of their classes, the classes that were named in the folder, and remarks for the user."""

    videos: tuple[TrainingVideo, ...]
    classes: tuple[str, ...]
    named: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_training_videos(
    source: Path, classes: Sequence[str] | None = None, *, taught: bool = False, group: str | None = None
) -> TrainingVideos:
    """Videos of a folder with a sub-folder per class, or of a CSV file of ``path,label``, every one with its class.

    ``classes`` are the model's labels; without them, the classes are those found, in alphabetical order. Where a
    teacher says what is right (``taught``), videos need no class, and names that are no labels are no classes.
    ``group`` names the column of a CSV file that says which videos were recorded together.

    Raises:
        DataError: there are no videos, one has no class, a class is not in ``classes``, or two differ in nothing that
            can be seen.
        SourceError: ``source`` does not exist or is not such a file.
    """
    found, notes = find_labeled([str(source)], group=group)
    named = {video.label for video in found if video.label is not None}
    if source.is_dir():  # sub-folders may hold no video at all
        named |= {entry.name for entry in source.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    same = Counter(unicodedata.normalize("NFC", name) for name in named)
    if twice := next((name for name in sorted(same) if same[name] > 1), None):
        raise DataError(f"{source}: two classes are called {twice}: they differ in Unicode form only; make them one")
    otherwise = "" if classes is None else ", or train the compressor without labels, with teacher=dense30"
    try:
        if not found or not taught:
            check_labeled(str(source), found, otherwise=otherwise)
        if classes is not None and not taught:
            otherwise = ", fit the backbone to your classes first (vidcomp train backbone)" + otherwise
            check_labeled(str(source), [LabeledVideo(name, name) for name in named], classes, otherwise=otherwise)
    except LabelError as error:
        raise DataError(str(error)) from None
    order = tuple(sorted(named) if classes is None else classes)
    index = {name: number for number, name in enumerate(order)}
    videos = tuple(TrainingVideo(video.path, index.get(video.label or ""), video.group) for video in found)
    if without := sum(video.label is None for video in videos):
        notes = [*notes, f"{without} of {len(videos)} videos have no label of the model: the teacher alone says theirs"]
    return TrainingVideos(videos, order, tuple(sorted(named & index.keys())), tuple(notes))


def check_classes(source: Path, wanted: TrainingVideos, readable: Iterable[TrainingVideo]) -> None:
    """Every class named must have a video that can be read.

    Raises:
        DataError: one has none, or no video can be read at all.
    """
    kept = list(readable)
    if not kept:
        raise DataError(
            f"{source}: none of its {counted(len(wanted.videos), 'video')} can be read; see the lines above"
        )
    count = Counter(video.label for video in kept)
    empty = [name for name in wanted.named if not count[wanted.classes.index(name)]]
    if empty:
        raise DataError(
            f"{source}: no readable video of {some(empty, 8)}; mend or add videos, or take the class away: a model "
            "trained without any would never name it"
        )


def groups_of(videos: Sequence[TrainingVideo], group_by: str | None = None) -> tuple[list[str], list[str]]:
    """A group's name for each video, and remarks.

    That which a list gave it; or else what ``group_by``, a regular expression, finds in its path: its first group in
    parentheses, or all of it. Without ``group_by``, numbers such as ``_g08`` in file names are taken. A video that has
    neither is a group of its own.

    Raises:
        RequestError: ``group_by`` is no regular expression, or finds nothing.
    """
    if group_by is not None and all(video.group for video in videos):
        group_by = None  # it is a column, whose name need not be a pattern
    try:
        pattern = re.compile(_GUESS if group_by is None else group_by)
    except re.error as error:
        raise RequestError(f"group_by={group_by!r}: not a regular expression ({error})") from None
    found: list[str | None] = []
    for video in videos:
        path = PurePath(os.fsencode(video.path).decode("utf-8", "backslashreplace"))
        match = pattern.search(path.name if group_by is None else path.as_posix())
        found.append(video.group or (match and (match[1] if pattern.groups else match[0])) or None)
    without = sum(group is None for group in found)
    if group_by is not None and without == len(found):
        raise RequestError(
            f"group_by={group_by!r}: neither a column of the list nor a pattern that is in any path, such as "
            f"{videos[0].path}"
        )
    notes = []
    if without == len(found):
        notes.append(
            "each video counts as a recording of its own; if some belong together, say so, as by group_by='cam[0-9]'"
        )
    elif without:
        notes.append(f"{without} of {len(found)} videos have no group: each is one of its own")
    elif len(set(found)) == 1 and len(found) > len({video.label for video in videos}):
        notes.append(f"all {len(found)} videos are of one recording, {found[0]!r}, so nothing can be tested")
    return [video.path if group is None else group for video, group in zip(videos, found, strict=True)], notes
