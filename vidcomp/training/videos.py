"""The videos to train on, with their classes: a sub-folder a class, a CSV file, or no classes at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidcomp.training import DataError
from vidcomp.video.labeled import LabeledVideo, LabelError, check_labeled, find_labeled, some


@dataclass(frozen=True)
class TrainingVideo:
    """A video's path, and the index of its class; ``None`` where that is not known."""

    path: str
    label: int | None


@dataclass(frozen=True)
class TrainingVideos:
    """Videos, the names of their classes, the classes that were named in the folder, and remarks for the user."""

    videos: tuple[TrainingVideo, ...]
    classes: tuple[str, ...]
    named: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_labelled(source: Path, classes: Sequence[str] | None = None) -> TrainingVideos:
    """Videos of a folder with a sub-folder a class, or of a CSV file of ``path,label``, every one with its class.

    ``classes`` are the model's labels; without them, the classes are those found, in alphabetical order.

    Raises:
        DataError: there are no videos, one has no class, or a class is not in ``classes``.
        SourceError: ``source`` does not exist or is not such a file.
    """
    found, notes = find_labeled([str(source)])
    _check(source, found)
    named = _named(source, found)
    if classes is not None:
        _check(source, [LabeledVideo(name, name) for name in named], classes)
    order = tuple(classes) if classes is not None else tuple(named)
    index = {name: number for number, name in enumerate(order)}
    videos = tuple(TrainingVideo(video.path, index[video.label or ""]) for video in found)
    return TrainingVideos(videos, order, tuple(named), tuple(notes))


def find_for_teacher(source: Path, classes: Sequence[str]) -> TrainingVideos:
    """As :func:`find_labelled`, where a teacher says what is right: names that are no labels are no classes.

    Raises:
        DataError: there are no videos.
        SourceError: ``source`` does not exist or is not such a file.
    """
    found, notes = find_labeled([str(source)])
    if not found:
        _check(source, ())
    index = {name: number for number, name in enumerate(classes)}
    known = [name for name in _named(source, found) if name in index]
    videos = tuple(TrainingVideo(video.path, index.get(video.label or "")) for video in found)
    without = sum(video.label is None for video in videos)
    if without:
        notes = [*notes, f"{without} of {len(videos)} videos have no label of the model: the teacher alone says theirs"]
    return TrainingVideos(videos, tuple(classes), tuple(known), tuple(notes))


def check_classes(source: Path, wanted: TrainingVideos, readable: Iterable[TrainingVideo]) -> None:
    """Every class named must have a video that can be read.

    Raises:
        DataError: one has none, or no video can be read at all.
    """
    kept = list(readable)
    if not kept:
        raise DataError(f"{source}: none of its {len(wanted.videos)} videos can be read; see the lines above")
    count = Counter(video.label for video in kept)
    empty = [name for name in wanted.named if not count[wanted.classes.index(name)]]
    if empty:
        raise DataError(
            f"{source}: no readable video of {some(empty, 8)}; mend or add videos, or take the class away: a model "
            "trained without any would never name it"
        )


def _check(source: Path, found: Sequence[LabeledVideo], classes: Sequence[str] | None = None) -> None:
    fit = "" if classes is None else ", fit the backbone to your classes first (vidcomp train backbone)"
    try:
        check_labeled(
            str(source), found, classes, otherwise=f"{fit}, or train a compressor without labels by teacher=dense30"
        )
    except LabelError as error:
        raise DataError(str(error)) from None


def _named(source: Path, found: Sequence[LabeledVideo]) -> list[str]:
    """Names of classes, also of sub-folders that hold no video at all."""
    names = {video.label for video in found if video.label is not None}
    if source.is_dir():
        names |= {entry.name for entry in source.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    return sorted(names)
