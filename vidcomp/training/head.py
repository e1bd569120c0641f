"""Teach a model other labels: a new last layer, fitted to a few videos of each class, on a network that stays."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from vidcomp.files import counted
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.device import precision_name
from vidcomp.inference.grammar import parse_strategy
from vidcomp.inference.in_progress import InProgress, noted_beside
from vidcomp.inference.prediction import Failure, Prediction
from vidcomp.training import DataError, Interrupted, RequestError
from vidcomp.training.backbone import class_layers
from vidcomp.training.cache import TensorCache, digest_of, file_key
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.config import Paths
from vidcomp.training.export import base_of, name_of, write_manifest, writing
from vidcomp.training.linear import Examples, Linear, fit, steps
from vidcomp.training.videos import TrainingVideo, TrainingVideos, check_classes, find_training_videos, groups_of
from vidcomp.transfer import Progress
from vidcomp.video import VideoError
from vidcomp.video.discovery import find_videos
from vidcomp.zoo.build import Variant, build_backbone, build_network, load_variant, vary
from vidcomp.zoo.downloads import sha256_of
from vidcomp.zoo.manifest import Manifest, find_manifest, read_manifest
from vidcomp.zoo.weights import fingerprint

BACKGROUND = "none of these"
"""The class of videos that show none of the others."""

# Fewer clips than this say little of a class.
_FEW = 5
_GB = 1e9


@dataclass(frozen=True)
class HeadJob:
    """Fit a last layer to the classes of the videos.

    ``group_by`` says which videos were recorded together (:func:`~vidcomp.training.videos.groups_of`); ``background``
    is a folder of videos that show none of the classes. ``strategy`` says how videos are passed to be learned from, by
    its name in :mod:`~vidcomp.inference.grammar`: ``uniform1x32`` is quick, ``sfc`` shows what that compressor leaves.
    """

    model: str
    group_by: str | None = None
    background: Path | None = None
    strategy: str | None = None
    precision: str = "auto"


@dataclass(frozen=True)
class HeadResult:
    """The model, and what it said of each video when it had not learned from the video's group.

    ``predicted`` and ``truth`` (N,) are numbers of ``classes``; a video whose class has no other group has −1 in
    ``predicted``. ``groups`` has the group of each. ``strength`` is the weight decay chosen, ``None`` where class means
    decide. ``notes`` say what should be known of the classes.
    """

    manifest: Manifest
    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    groups: tuple[str, ...]
    strength: float | None
    notes: tuple[str, ...]

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Which videos could be tested (N,)."""
        return self.predicted >= 0


def train_head(
    job: HeadJob, paths: Paths, callbacks: Callbacks | None = None, progress: Progress | None = None
) -> HeadResult:
    """Fit a last layer to the classes of ``paths.source`` and write its manifest, which has the model as its base.

    What the network makes of each video is kept in the cache, so that it is computed once, also if this is interrupted.

    Raises:
        RequestError: it cannot be done as asked.
        DataError: there are not two classes, one has no readable video, or a video is of two classes.
        Interrupted: it was asked to stop.
        TrainingError: the result cannot be written.
        vidcomp.zoo.ZooError: the model or its weights are not available.
    """
    paths.check()
    callbacks = callbacks or Callbacks()
    wanted = _with_background(find_training_videos(paths.source, group=job.group_by), job.background)
    if len(wanted.classes) < 2:
        raise DataError(
            f"{paths.source}: only one class, {wanted.classes[0]}; add another, or videos that do not show it "
            "(background=FOLDER)"
        )
    check_classes(paths.source, wanted, wanted.videos)
    kept, repeated = _without_repeated(wanted.videos)
    groups_of(kept, job.group_by)  # a wrong pattern is told now, not after an hour
    for note in (*wanted.notes, *repeated):
        callbacks.note(note)
    base = find_manifest(job.model)
    try:
        named = parse_strategy(job.strategy)
        variant = named.manifest(base)
        if variant.backbone.family != base.backbone.family:
            raise RequestError(
                f"strategy={job.strategy!r}: it passes another network; give {variant.name} as the model"
            )
        classifier = Classifier(
            load_variant(usable(variant), progress),
            device=paths.device,
            strategy=named.strategy,
            precision=job.precision,
            decode_workers=paths.workers or None,
            batch=1,
        )
    except ValueError as error:
        raise RequestError(str(error)) from None
    with classifier, noted_beside(paths.output) as in_progress:
        callbacks.begin("reading videos", len(kept))
        read = dict(read_features(classifier, kept, paths, callbacks, in_progress))
        in_progress.complete()
    videos = [video for video in kept if video in read]
    check_classes(paths.source, wanted, videos)
    groups, notes = groups_of(videos, job.group_by)
    examples = Examples(
        [read[video] for video in videos], torch.tensor([video.label for video in videos], dtype=torch.long), groups
    )
    callbacks.begin("fitting", steps(examples, len(wanted.classes)))

    def advance() -> None:
        callbacks.advance()
        if callbacks.stopping():
            raise Interrupted("stopped; nothing was written")

    fitted = fit(examples, len(wanted.classes), classifier.model.network.join_moments, advance)
    predicted = fitted.kept_out.nan_to_num(-1.0)
    result = HeadResult(
        manifest=base,
        classes=wanted.classes,
        truth=examples.classes.numpy(),
        predicted=torch.where(predicted.amax(dim=1) < 0, -1, predicted.argmax(dim=1)).numpy(),
        groups=tuple(groups),
        strength=fitted.strength,
        notes=(*notes, *_doubts(examples, wanted.classes)),
    )
    return replace(result, manifest=_export(paths, result, fitted.linear))


def usable(manifest: Manifest) -> Manifest:
    """The model as it is; without its compressors, if one of them has something to learn and never did."""
    with torch.device("meta"):
        compressors = build_network(manifest).compressors
    untrained = any(
        section.weights is None and list(compressor.state_dict())
        for section, compressor in zip(manifest.compressors, compressors, strict=True)
    )
    return vary(manifest, Variant("none")) if untrained else manifest


def _with_background(wanted: TrainingVideos, background: Path | None) -> TrainingVideos:
    if background is None:
        return wanted
    if BACKGROUND in wanted.classes:
        raise DataError(f"{background}: there is a class {BACKGROUND!r} already; put these videos there")
    found = find_videos([str(background)])
    if not found.videos:
        raise DataError(f"{background}: no videos; give a folder of those that show none of the classes")
    number = len(wanted.classes)
    return TrainingVideos(
        (*wanted.videos, *(TrainingVideo(video.path, number) for video in found.videos)),
        (*wanted.classes, BACKGROUND),
        (*wanted.named, BACKGROUND),
        (*wanted.notes, *found.notes),
    )


def _without_repeated(videos: Sequence[TrainingVideo]) -> tuple[list[TrainingVideo], list[str]]:
    """The videos, of equal files the first alone; a note tells of the others.

    Raises:
        DataError: equal files are of two classes.
    """
    sizes: defaultdict[int, list[TrainingVideo]] = defaultdict(list)
    for video in videos:
        if os.path.isfile(video.path):  # noqa: PTH113 - a path may hold what pathlib refuses
            sizes[os.path.getsize(video.path)].append(video)  # noqa: PTH202
    repeated: set[TrainingVideo] = set()
    notes = []
    for alike in (several for several in sizes.values() if len(several) > 1):
        first: dict[str, TrainingVideo] = {}
        for video in alike:
            try:
                other = first.setdefault(sha256_of(Path(video.path)), video)
            except OSError:
                continue  # which is told when it is read
            if other.label != video.label:
                raise DataError(f"{video.path}: the same file as {other.path}, in another class; leave the right one")
            if other is not video:
                repeated.add(video)
                notes.append(f"{video.path} is the same file as {other.path}, and is left out")
    return [video for video in videos if video not in repeated], notes


def read_features(
    classifier: Classifier,
    videos: Sequence[TrainingVideo],
    paths: Paths,
    callbacks: Callbacks,
    in_progress: InProgress,
) -> Iterator[tuple[TrainingVideo, Tensor]]:
    """What the last layer is given of each video that can be read (M, C), from the cache or by the network."""
    about = {
        "what": "last layer",
        "model": fingerprint(classifier.model.manifest),
        "strategy": classifier.strategy.name if classifier.strategy else "",
        "precision": precision_name(classifier.runner.precision),
        "format": 1,
    }
    cache = TensorCache(digest_of(about), paths.cache_gb * _GB, paths.cache)
    keys: dict[TrainingVideo, str] = {}
    for video in videos:
        try:
            keys[video] = file_key(video.path)
        except OSError as error:
            callbacks.skipped(str(VideoError(video.path, f"cannot be looked at ({error.strerror})")))
    known = {video for video, key in keys.items() if key in cache}
    fresh, suspects = in_progress.parted([video for video in keys if video not in known])

    def answers() -> Iterator[tuple[TrainingVideo, Prediction]]:
        ahead = classifier.classify_all(video.path for video in in_progress.together(fresh))
        for video, prediction in zip(fresh, ahead, strict=True):
            in_progress.rest(video.path)
            yield video, prediction
        for video in suspects:
            try:
                with in_progress.attempt(video.path):
                    yield video, classifier.classify(video.path)
            except VideoError as error:
                yield video, classifier.failure(video.path, Failure(error.kind, str(error)))

    with classifier.noting_features():
        for video in known:
            callbacks.advance()
            yield video, cache.get(keys[video], partial(_classified, classifier, video))["features"]
        for video, prediction in answers():
            callbacks.advance()
            if prediction.error is not None:
                callbacks.skipped(prediction.error.message)
            else:
                yield video, cache.get(keys[video], partial(_made, prediction))["features"]
            if callbacks.stopping():
                raise Interrupted("stopped while videos were read; what was computed is kept")


def _classified(classifier: Classifier, video: TrainingVideo) -> dict[str, Tensor]:
    return _made(classifier.classify(video.path))


def _made(prediction: Prediction) -> dict[str, Tensor]:
    if prediction.error is not None:
        raise DataError(prediction.error.message)
    assert prediction.features is not None
    return {"features": torch.from_numpy(prediction.features)}


def _doubts(examples: Examples, classes: Sequence[str]) -> list[str]:
    """What makes a class's accuracy doubtful."""
    notes = []
    for number, name in enumerate(classes):
        members = [n for n, label in enumerate(examples.classes.tolist()) if label == number]
        sources = len({examples.groups[n] for n in members})
        if len(members) < _FEW:
            notes.append(f"{name}: only {counted(len(members), 'video')}; give {_FEW} or more")
        elif sources == 1:
            notes.append(f"{name}: all {len(members)} videos are of one recording, so it cannot be tested; add others")
    return notes


def _export(paths: Paths, result: HeadResult, linear: Linear) -> Manifest:
    """Write the layer and its manifest."""
    base = usable(result.manifest)
    backbone = base.backbone.model_copy(update={"classes": len(result.classes)})
    with torch.device("meta"):
        network = build_backbone(base.with_changes(backbone=backbone))
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    replaced = class_layers(base.with_changes(backbone=backbone))
    tensors: dict[str, Tensor] = {}
    seen = 0
    # Where several layers see a part of the channels each, logits are added: the first brings the bias.
    for name in (name for name in shapes if name in replaced):
        shape = shapes[name]
        if len(shape) > 1:
            tensors[name] = linear.weight[:, seen : seen + shape[1]].reshape(shape).contiguous()
            seen += shape[1]
        else:
            first = not any(name.endswith("bias") for name in tensors)
            tensors[name] = linear.bias if first else torch.zeros(shape)
    file = paths.weights()
    with writing(file, "choose another name") as written:
        written.write(save(tensors))
    right = result.predicted[result.tested] == result.truth[result.tested]
    content: dict[str, Any] = {
        "base": base_of(base),
        "name": name_of(paths.output),
        "summary": f"{len(result.classes)} classes of {paths.source.name}; {base.name} with a last layer of its own",
        "backbone": {
            "classes": len(result.classes),
            "head": {"file": file.name, "sha256": sha256_of(file)},
            "fitted_to": base.backbone.identity,
        },
        "labels": list(result.classes),
        "source": f"made by vidcomp train head from {base.name}, {counted(len(result.truth), 'video')}",
    }
    if base.compressors != result.manifest.compressors:
        content["compressors"] = [section.model_dump(exclude_defaults=True) for section in base.compressors]
    if base.only:
        content["only"] = []
    if len(right):
        data = f"cross-validated on {len(right)} videos of {paths.source.name}"
        content["measured"] = [{"top1": round(100 * float(right.mean()), 1), "data": data}]
    write_manifest(paths.output, content)
    return read_manifest(paths.output)
