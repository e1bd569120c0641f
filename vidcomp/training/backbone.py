"""Fine-tune a backbone on other classes: everything as it was, the classifier's last layer new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from vidcomp.inference.in_progress import noted_beside
from vidcomp.nn.backbones import Backbone
from vidcomp.training import DataError, RequestError
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.config import BackboneRecipe, Paths
from vidcomp.training.export import export, save_weights
from vidcomp.training.trainer import Trainer
from vidcomp.training.videos import TrainingVideos, find_training_videos
from vidcomp.transfer import Progress
from vidcomp.video import DecodePool
from vidcomp.zoo import WeightsError, weights
from vidcomp.zoo.build import build_backbone, insert_compressors
from vidcomp.zoo.manifest import CompressorSection, Manifest, find_manifest
from vidcomp.zoo.weights import fingerprint


@dataclass(frozen=True)
class BackboneJob:
    """Fine-tune a model's backbone on the classes of the videos; ``from_scratch`` means ``unfreeze`` too."""

    model: str
    recipe: BackboneRecipe
    unfreeze: bool = False
    from_scratch: bool = False


def train_backbone(
    job: BackboneJob, paths: Paths, callbacks: Callbacks | None = None, progress: Progress | None = None
) -> Manifest:
    """Fine-tune a backbone on the classes of ``paths.source``, a new classifier last; returns the result.

    All up to the recipe's ``frozen_up_to`` stays as it is, unless the job says to ``unfreeze`` it. BatchNorm keeps its
    statistics. Raises as ``train_compressor``.
    """
    paths.check()
    manifest = find_manifest(job.model)
    wanted = find_training_videos(paths.source)
    if len(wanted.classes) < 2:
        raise DataError(f"{paths.source}: only one class, {wanted.classes[0]}; a classifier needs two to tell apart")
    planned = plan_backbone(manifest, wanted.classes)
    # A head of random weights would be no use, frozen.
    unfreeze = job.unfreeze or job.from_scratch
    backbone = new_backbone(manifest, planned, job.recipe.seed, from_scratch=job.from_scratch, progress=progress)
    identity = {
        "model": manifest.name if job.from_scratch else fingerprint(manifest),
        "what is unfrozen": str(unfreeze),
    }
    with DecodePool(paths.workers) as pool, noted_beside(paths.output) as in_progress:
        trainer = Trainer(job.recipe, paths, pool, callbacks, in_progress)
        rows = fit_backbone(
            trainer, backbone, planned, wanted, identity, unfreeze=unfreeze, trained_before=not job.from_scratch
        )
    return export(
        planned,
        paths,
        rows,
        "train backbone",
        summary=f"{manifest.backbone.family} fine-tuned to {len(wanted.classes)} classes",
        backbone=planned.backbone.model_copy(update={"weights": save_weights(backbone, paths.weights())}),
    )


def fit_backbone(
    trainer: Trainer,
    backbone: Backbone,
    planned: Manifest,
    wanted: TrainingVideos,
    identity: Mapping[str, str],
    *,
    unfreeze: bool = False,
    trained_before: bool = True,
) -> list[dict[str, float]]:
    """Fit a backbone at hand, in place, to clips of the videos; returns the epochs' lines of the log.

    BatchNorm keeps its statistics if the backbone was ``trained_before``. ``identity`` is what a checkpoint must agree
    in, by name. Raises as ``train_compressor``.
    """
    recipe = trainer.recipe
    assert isinstance(recipe, BackboneRecipe)
    for part in recipe.new:
        if not any(part in name for name, _ in backbone.named_parameters()):
            raise RequestError(f"recipe: new: no parameter of {planned.name} has {part!r} in its name")
    cut = recipe.frozen_up_to or planned.compressors[0].cut
    section = CompressorSection(cut=cut, kind="identity", weights=None)
    network = insert_compressors(planned.with_changes(compressors=(section,)), backbone)
    videos = trainer.read(wanted, network, max_frames=planned.max_frames, clips=True, head_trained=unfreeze)
    trainer.read_validation(wanted.classes)
    segments = list(network.segments)
    return trainer.fit(
        segments if unfreeze else segments[1:],
        videos,
        identity,
        frozen_bn=segments if trained_before else [],
        named_in=backbone,
        new=(*class_layers(planned), *recipe.new),
    )


def plan_backbone(manifest: Manifest, classes: Sequence[str]) -> Manifest:
    """The manifest with other classes, and without compressors, which would have to be fitted anew."""
    return manifest.with_changes(
        backbone=manifest.backbone.model_copy(update={"classes": len(classes), "weights": None, "head": None}),
        labels=tuple(classes),
        compressors=(CompressorSection(cut=manifest.compressors[0].cut, kind="identity", weights=None),),
        measured=(),
        reported=(),
    )


def new_backbone(
    old: Manifest, planned: Manifest, seed: int, *, from_scratch: bool, progress: Progress | None = None
) -> Backbone:
    """Build the planned backbone with the old one's weights, but for the layers that depend on the classes.

    Raises:
        ManifestError: an unknown family or option.
        WeightsError: there are no weights to start from (and ``from_scratch`` does not allow random ones), or they do
            not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(planned)
    if from_scratch:
        return backbone
    if (source := old.backbone.sources) is None:
        raise WeightsError(
            f"{old.name}: this model has no weights to start from; convert some (vidcomp models convert), choose "
            "another model, or begin with random ones (from_scratch=True)"
        )
    tensors = weights.read(source, old.origin, old.backbone.family, progress)
    replaced = class_layers(planned)
    expected = backbone.state_dict()
    for name, value in expected.items():
        if name in replaced:
            continue
        if name not in tensors or tensors[name].shape != value.shape:
            raise WeightsError(f"{old.name}: its weights have no {name} of shape {tuple(value.shape)}")
        expected[name] = tensors[name]
    backbone.load_state_dict(expected)
    return backbone


def class_layers(manifest: Manifest) -> set[str]:
    """Names of the tensors whose shape follows from the number of classes."""
    other = manifest.backbone.model_copy(update={"classes": manifest.backbone.classes + 1})
    with torch.device("meta"):
        shapes, others = (
            {name: tensor.shape for name, tensor in build_backbone(m).state_dict().items()}
            for m in (manifest, manifest.model_copy(update={"backbone": other}))
        )
    return {name for name, shape in shapes.items() if shape != others[name]}
