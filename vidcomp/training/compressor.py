"""Fit compressors between the frozen parts of a network (SFC paper, section 4), or together with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vidcomp.files import printable
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import parse_strategy
from vidcomp.inference.in_progress import noted_beside
from vidcomp.nn.backbones import Backbone
from vidcomp.nn.compressors import COMPRESSORS, SFC, SalientFrames
from vidcomp.nn.compressors.sfc import start_near_identity
from vidcomp.nn.layers import fuse_bn
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training import DataError, RequestError
from vidcomp.training.cache import TensorCache, digest_of, file_key
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.config import CompressorRecipe, Paths
from vidcomp.training.export import export, save_weights
from vidcomp.training.head import read_features, usable
from vidcomp.training.trainer import Trainer
from vidcomp.training.videos import TrainingVideo, TrainingVideos, check_classes, find_training_videos
from vidcomp.transfer import Progress
from vidcomp.video import DecodePool, VideoError
from vidcomp.zoo.build import insert_compressors, load_backbone, load_compressor, load_variant
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import CompressorSection, Manifest, find_manifest
from vidcomp.zoo.weights import fingerprint

# What of a backbone learns with its compressors; the tail is all that stands behind the first of them.
Unfrozen = Literal["nothing", "tail", "all"]
TRAINABLE = tuple(kind for kind in COMPRESSORS if kind != "identity")


@dataclass(frozen=True)
class CompressorJob:
    """Fit compressors of a model: ``kinds`` (by default its own) after ``cuts`` (by default where they stand).

    ``unfreeze`` says what of the backbone learns with them; ``from_trained`` lets those that the model has start from
    the weights they have there.
    """

    model: str
    recipe: CompressorRecipe
    kinds: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    unfreeze: Unfrozen = "nothing"
    standalone: bool = False
    from_trained: bool = False


def train_compressor(
    job: CompressorJob, paths: Paths, callbacks: Callbacks | None = None, progress: Progress | None = None
) -> Manifest:
    """Fit compressors between the frozen parts of a model, or with parts that learn too; returns the result.

    Raises:
        TrainingError: the videos, the recipe or a file are not as they must be, or a loss is not finite.
        Interrupted: it was asked to stop; ``paths.resume`` continues.
        ZooError: the model or its weights are not available.
        SourceError: ``paths.source`` does not exist.
    """
    paths.check()
    manifest = find_manifest(job.model)
    planned = plan_compressors(manifest, job.kinds, job.cuts, job.recipe.taus, from_trained=job.from_trained)
    wanted = find_training_videos(paths.source, labels_of(manifest), taught=job.recipe.teacher != "none")
    backbone = load_backbone(manifest, progress)
    network = new_compressors(planned, backbone, job.recipe)
    trained = {(section.kind, section.cut) for section in manifest.compressors if section.weights is not None}
    again = [section.kind for section in planned.compressors if (section.kind, section.cut) in trained]
    if job.from_trained:
        _take_trained(network, planned, manifest, progress)
    elif again and callbacks is not None:
        callbacks.note(
            f"{' and '.join(again)} of {manifest.name} is trained already; this starts over, and may end worse. "
            "from_trained=True starts from its weights"
        )
    identity = {
        "model": fingerprint(manifest),
        "compressor": digest_of({"sections": repr(planned.compressors)}),
        "what is unfrozen": job.unfreeze,
        "start": str(job.from_trained),
    }
    if job.recipe.hints != "none":
        identity["hints"] = fingerprint(find_manifest(job.recipe.hints))
    with DecodePool(paths.workers) as pool, noted_beside(paths.output) as in_progress:
        trainer = Trainer(job.recipe, paths, pool, callbacks, in_progress)
        rows = fit_compressors(trainer, network, manifest, wanted, identity, unfreeze=job.unfreeze)
    kept = manifest.backbone
    if job.unfreeze != "nothing":
        kept = kept.model_copy(update={"weights": save_weights(backbone, paths.weights("backbone")), "head": None})
    elif job.standalone:
        # That of the network was fused.
        weights = save_weights(load_backbone(manifest), paths.weights("backbone"))
        kept = kept.model_copy(update={"weights": weights, "head": None})
    several = len(planned.compressors) > 1
    sections = [
        section.model_copy(update={"weights": save_weights(module, paths.weights(section.kind if several else ""))})
        for section, module in zip(planned.compressors, network.compressors, strict=True)
    ]
    kinds = " + ".join(f"{section.kind} after {section.cut}" for section in sections)
    return export(
        manifest,
        paths,
        rows,
        "train",
        summary=f"{manifest.name} with {kinds} fitted to {paths.source.name}",
        backbone=kept,
        compressors=tuple(sections),
    )


def fit_compressors(
    trainer: Trainer,
    network: CompressedModel,
    manifest: Manifest,
    wanted: TrainingVideos,
    identity: Mapping[str, str],
    *,
    unfreeze: Unfrozen = "nothing",
) -> list[dict[str, float]]:
    """Fit a network's compressors in place; returns the epochs' lines of the log.

    Where nothing is to ``unfreeze`` all else stays as it is, but that its BatchNorm is fused. ``manifest`` describes
    the network that a teacher would be; ``identity`` is what a checkpoint must agree in, by name. Raises as
    :func:`train_compressor`.
    """
    recipe = trainer.recipe
    assert isinstance(recipe, CompressorRecipe)
    videos = trainer.read(wanted, network, max_frames=manifest.max_frames, clips=False, head_trained=unfreeze == "all")
    taught: dict[str, Tensor] = {}
    if recipe.teacher not in ("none", "whole"):
        taught = ask_teacher(trainer, recipe.teacher, manifest, videos)
        videos = [video for video in videos if video.path in taught]
    hints: dict[str, Tensor] = {}
    if recipe.hints != "none":
        hints = take_hints(trainer, recipe.hints, videos)
        videos = [video for video in videos if video.path in hints]
        check_classes(trainer.paths.source, wanted, videos)
    has_sfc = any(isinstance(compressor, SFC) for compressor in network.compressors)
    trainer.read_validation(wanted.classes, recipe.taus if has_sfc else (None,))
    compressors, segments = list(network.compressors), list(network.segments)
    if unfreeze == "nothing":
        fuse_bn(network.segments.eval())
    learning = {"nothing": [], "tail": segments[1:], "all": segments}[unfreeze]
    return trainer.fit([*compressors, *learning], videos, identity, taught=taught, hints=hints, frozen_bn=segments)


def plan_compressors(
    manifest: Manifest, kinds: Sequence[str], cuts: Sequence[str], taus: Sequence[float], *, from_trained: bool = False
) -> Manifest:
    """The manifest with these compressors instead of its own, still without weights.

    A kind that the manifest has keeps its place and options there; another one alone takes the place of the
    manifest's first compressor. ``cuts``, where given, are the places, one a kind. The first of ``taus`` becomes SFC's,
    which chooses frames by salience only if it is to go on ``from_trained`` weights: that is not what is fitted here.

    Raises:
        RequestError: an unknown kind, or places that are missing or too many.
    """
    kinds = list(kinds) or [section.kind for section in manifest.compressors if section.kind in TRAINABLE]
    if not kinds:
        raise RequestError(
            f"{manifest.name} has no compressor: say which to fit: {', '.join(TRAINABLE)}, or several joined by +"
        )
    if unknown := [kind for kind in kinds if kind not in TRAINABLE]:
        raise RequestError(f"kinds={unknown[0]!r}: choose {' or '.join(TRAINABLE)}, or several joined by +")
    if cuts and len(cuts) != len(kinds):
        raise RequestError(
            f"cuts={'+'.join(cuts)!r}: {len(cuts)} stages for {len(kinds)} compressors; give one for each, joined by +"
        )
    own = {section.kind: section for section in manifest.alternatives.get("+".join(kinds), manifest.compressors)}
    sections = []
    for number, kind in enumerate(kinds):
        section = own.get(kind)
        if section is None and not cuts and len(kinds) > 1:
            raise RequestError(
                f"{manifest.name} says no place for {kind}: give the stage of each compressor, "
                "joined by +, such as cuts=res2+res3"
            )
        cut = cuts[number] if cuts else (section or manifest.compressors[0]).cut
        options = dict(section.options) if section is not None else {}
        if kind == "sfc":
            options["tau"] = taus[0]
            if not from_trained:
                options.pop("salient", None)
        sections.append(CompressorSection(cut=cut, kind=kind, options=options, weights=None))
    return manifest.with_changes(compressors=tuple(sections))


def new_compressors(manifest: Manifest, backbone: Backbone, recipe: CompressorRecipe) -> CompressedModel:
    """Put the manifest's compressors into ``backbone`` as training starts from them.

    Raises:
        ManifestError: an unknown cut or option.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = insert_compressors(manifest, backbone)
    for compressor in network.compressors:
        if isinstance(compressor, SalientFrames):
            raise RequestError("the pooling salient is fitted by a recipe of its own; choose another, such as even")
        if isinstance(compressor, SFC):
            start_near_identity(compressor, recipe.init_gain)
    return network


def _take_trained(network: CompressedModel, planned: Manifest, manifest: Manifest, progress: Progress | None) -> None:
    """Let compressors of which the model has weights start from those.

    Raises:
        RequestError: it has weights of none.
        WeightsError: their weights are missing or do not fit.
    """
    own = {(section.kind, section.cut): section for section in manifest.compressors if section.weights is not None}
    found = False
    for compressor, section in zip(network.compressors, planned.compressors, strict=True):
        if trained := own.get((section.kind, section.cut)):
            load_compressor(compressor, trained, manifest, progress)
            found = True
    if not found:
        raise RequestError(f"from_trained=True: {manifest.name} has weights of none of these compressors; leave it out")


def ask_teacher(
    trainer: Trainer, teacher: str, manifest: Manifest, videos: Sequence[TrainingVideo]
) -> dict[str, Tensor]:
    """What a strategy of the uncompressed network says of videos, by path; of some it may have nothing to say."""
    named = parse_strategy(teacher, compressor="none")
    assert named.strategy is not None
    cache = trainer.cache(digest_of({"teacher": named.strategy.name, "model": fingerprint(manifest)}))
    trainer.callbacks.begin("asking the teacher", len(videos))
    taught = {}
    with Classifier(
        load_variant(named.manifest(manifest)), device=trainer.paths.device, strategy=named.strategy
    ) as classifier:
        for video in videos:
            try:
                with trainer.in_progress.attempt(video.path):
                    taught[video.path] = ask(classifier, video.path, cache)
            except VideoError as error:
                trainer.callbacks.skipped(str(error))
            trainer.advance()
    if not taught:
        raise DataError(f"{trainer.paths.source}: the teacher could label none of the videos; see the lines above")
    return taught


def take_hints(trainer: Trainer, model: str, videos: Sequence[TrainingVideo]) -> dict[str, Tensor]:
    """What ``model`` gives its last layer of videos: the mean over time (C,), by path.

    It is kept as that of `vidcomp train head`. Videos that the model cannot read are told, and left out.
    """
    trainer.callbacks.begin("taking hints", len(videos))
    with Classifier(
        load_variant(usable(find_manifest(model))),
        device=trainer.paths.device,
        decode_workers=trainer.paths.workers or None,
        batch=1,
    ) as classifier:
        read = dict(read_features(classifier, videos, trainer.paths, trainer.callbacks, trainer.in_progress))
    # In the order given: sums over them are to be the same whichever were in the cache.
    hints = {video.path: read[video].mean(dim=0) for video in videos if video in read}
    if not hints:
        raise DataError(f"{trainer.paths.source}: {model} could read none of the videos; see the lines above")
    return hints


def ask(classifier: Classifier, path: str, cache: TensorCache) -> Tensor:
    """Probabilities (classes,) of a video, from ``cache`` where the classifier has said them before.

    Raises:
        VideoError: there are none.
    """

    def say() -> dict[str, Tensor]:
        prediction = classifier.classify(path)
        if prediction.error is not None:
            raise VideoError(path, prediction.error.message.removeprefix(f"{printable(path)}: "))
        probabilities = torch.zeros(len(prediction.labels))
        for label in prediction.labels:
            probabilities[label.index] = label.probability
        return {"probabilities": probabilities}

    try:
        return cache.get(file_key(path), say)["probabilities"]
    except OSError as error:
        raise VideoError(path, f"cannot be looked at ({error.strerror})") from None
