"""From a manifest to a network: its structure alone (to measure or train), or with its weights (to classify)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidcomp.nn.backbones import BACKBONES, Backbone, BackboneSpec, CutError
from vidcomp.nn.bitstream_model import BitstreamModel
from vidcomp.nn.compressors import COMPRESSORS, SFC, Compressor
from vidcomp.nn.compressors.sfc import start_at_own_frames
from vidcomp.nn.video_model import blank_input
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.transfer import Progress
from vidcomp.zoo import ManifestError, WeightsError, weights
from vidcomp.zoo.downloads import downloads_of
from vidcomp.zoo.labels import chosen_labels, labels_of
from vidcomp.zoo.manifest import CompressorSection, Manifest, find_manifest, models_folder

# Frames, height and width: large enough for every backbone's strides and pools; only channel counts are read off.
_PROBE = (16, 64, 64)

# The process that built a network last; in a fork of it, it is another than this one.
_built_in: int | None = None


def check_not_forked() -> None:
    """Find out whether torch can compute in this process.

    Raises:
        RuntimeError: this is a fork of a process that has built a network: torch's threads are gone since, and work
            given to them would never be done.
    """
    global _built_in
    if _built_in not in (None, os.getpid()) and torch.get_num_threads() > 1:
        raise RuntimeError(
            "torch cannot compute in a fork of a process that loaded a model: start processes by 'spawn', or call "
            "torch.set_num_threads(1) in them first"
        )
    _built_in = os.getpid()


BITSTREAM = "bitstream"
"""The family of networks over bitstreams, and what asks for the sibling that is of it."""


@dataclass(frozen=True)
class Variant:
    """What a user may change of a manifest without editing it.

    ``compressor`` is a kind or several joined by +, "none" for the whole video through the tail, or
    :data:`BITSTREAM` for the model of that family, the manifest's own or its sibling; ``tau`` the
    compression ratio of SFC; ``cut`` another stage for a manifest's only compressor, which then has no trained weights.
    ``only`` are the labels to choose among: those of the manifest, or all, where it is empty.
    """

    compressor: str | None = None
    tau: float | None = None
    cut: str | None = None
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedModel:
    """A network with weights in evaluation mode, and what is needed to feed and to read it.

    ``chosen`` are the numbers of the labels to choose among; ``None`` for all. ``untrained`` are the kinds of those of
    its compressors that nothing was taught, and ``notes`` what a user should know: one line each.
    """

    manifest: Manifest
    network: CompressedModel
    labels: tuple[str, ...]
    chosen: tuple[int, ...] | None = None
    untrained: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> BackboneSpec:
        """How the network wants to be fed."""
        return self.network.spec


def vary(manifest: Manifest, variant: Variant) -> Manifest:
    """Apply what the user asked for to the manifest.

    Compressors that the model lacks may be those of a sibling, whose manifest it then is; in whatever order they are
    named, they run in the network's.

    Raises:
        ManifestError: the model has no such compressor, or nothing to which the option could apply.
    """
    if variant.tau is not None and not 1 <= variant.tau < math.inf:
        raise ManifestError(f"tau={variant.tau:g}: the compression ratio of SFC must be a number of at least 1")
    if variant.compressor == "none":
        sections = [CompressorSection(cut=manifest.compressors[0].cut, kind="identity", weights=None)]
    else:
        if variant.compressor is not None:
            manifest = _compressing_by(manifest, variant.compressor)
        sections = list(manifest.compressors)
    kinds = [section.kind for section in sections]
    if variant.cut is not None:
        if len(sections) != 1:
            raise ManifestError(
                f"{manifest.name}: cut={variant.cut} needs a model with one compressor; this one has {len(sections)}"
            )
        moved = variant.cut != sections[0].cut
        changes = {"cut": variant.cut, **({"weights": None} if moved else {})}
        sections[0] = sections[0].model_copy(update=changes)
    if variant.tau is not None:
        if "sfc" not in kinds:
            has = "nothing is compressed" if kinds == ["identity"] else f"this compresses by {' + '.join(kinds)}"
            raise ManifestError(f"{manifest.name}: tau={variant.tau:g} is the compression ratio of SFC, and {has}")
        sections = [
            section.model_copy(update={"options": {**section.options, "tau": variant.tau}})
            if section.kind == "sfc"
            else section
            for section in sections
        ]
    return manifest.with_changes(compressors=tuple(sections), only=variant.only or manifest.only)


def _compressing_by(manifest: Manifest, compressor: str) -> Manifest:
    """The model with those of its compressors alone, or the sibling that has them."""
    if compressor == BITSTREAM == manifest.backbone.family:
        return manifest
    named = compressor.split("+")
    wanted = set(named) if len(set(named)) == len(named) else set()
    kinds = [section.kind for section in manifest.compressors]
    if wanted and wanted <= set(kinds):
        kept = tuple(section for section in manifest.compressors if section.kind in wanted)
        return manifest.with_changes(compressors=kept)
    for kinds_there, sections in manifest.alternatives.items():
        if wanted == set(kinds_there.split("+")):
            return manifest.with_changes(compressors=sections)
    for kinds_there, sibling in manifest.siblings.items():
        if wanted == set(kinds_there.split("+")):
            return _with_labels_of(manifest, find_manifest(sibling))
    offered = dict.fromkeys(
        [*(kind for kind in kinds if kind != "identity"), *manifest.alternatives, *manifest.siblings]
    )
    choices = " or ".join(filter(None, (", ".join(offered), "none")))
    raise ManifestError(f"{manifest.name}: compressor {compressor!r} is not in this model; choose {choices}")


def _with_labels_of(manifest: Manifest, sibling: Manifest) -> Manifest:
    """The sibling, which has the labels and the last layer of the model whose sibling it is."""
    own = manifest.backbone
    if own.head is None and labels_of(manifest) == labels_of(sibling):
        return sibling
    if sibling.backbone.family != own.family:
        raise ManifestError(f"{manifest.name}: its sibling {sibling.name} is another network, which lacks these labels")
    head = own.head and own.head.seen_from(sibling.origin.parent, manifest.origin)
    return sibling.with_changes(
        name=manifest.name,
        summary=manifest.summary,
        backbone=sibling.backbone.model_copy(update={"classes": own.classes, "head": head}),
        labels=manifest.labels,
        only=manifest.only,
        reported=(),
        measured=(),
    )


def build_network(manifest: Manifest) -> CompressedModel:
    """Build the network that the manifest describes on the current default device, without its weights.

    Under ``torch.device("meta")`` nothing is allocated.

    Raises:
        ManifestError: an unknown family, cut, compressor or option.
    """
    check_not_forked()
    return insert_compressors(manifest, build_backbone(manifest))


def create_network(
    name_or_file: str | Path, *, pretrained: bool = True, classes: int | None = None, progress: Progress | None = None
) -> CompressedModel:
    """Build a model's network, on the CPU and in evaluation mode, with its weights or random ones.

    With another number of ``classes``, the last stage and what was trained for the old ones are random: compressors
    keep their weights.

    Raises:
        ManifestError: there is no such model, or its manifest is wrong.
        WeightsError: weights are missing, damaged, cannot be fetched, or do not fit.
        ValueError: there would be no class.
    """
    manifest = find_manifest(name_or_file)
    if classes is not None and (not isinstance(classes, int) or classes < 1):
        raise ValueError(f"num_classes must be a whole number of at least 1, not {classes!r}")
    if classes is None or classes == manifest.backbone.classes:
        return load_variant(manifest, progress).network if pretrained else build_network(manifest).eval()
    fresh = build_network(
        manifest.with_changes(backbone=manifest.backbone.model_copy(update={"classes": classes}))
    ).eval()
    if pretrained:
        trained, random = load_variant(manifest, progress).network.state_dict(), fresh.state_dict()
        kept = {key: value for key, value in trained.items() if value.shape == random[key].shape}
        fresh.load_state_dict(kept, strict=False)
    return fresh


def load_model(
    name_or_file: str | Path, variant: Variant | None = None, progress: Progress | None = None
) -> LoadedModel:
    """Build a model with its weights, on the CPU and in evaluation mode.

    Raises:
        ManifestError: there is no such model, or its manifest is wrong.
        WeightsError: weights are missing, damaged, cannot be fetched, or do not fit.
    """
    return load_variant(vary(find_manifest(name_or_file), variant or Variant()), progress)


def load_variant(manifest: Manifest, progress: Progress | None = None) -> LoadedModel:
    """As :func:`load_model`, from a manifest at hand, varied or not.

    A compressor without weights starts where training would: SFC where every frame that is kept attends to itself,
    SGS from a random embedding, the same each time.
    """
    check_not_forked()
    chosen = chosen_labels(manifest)
    notes = [
        f"{manifest.name}: weights were fetched from {download.url} and are kept at {download.file}"
        for download in downloads_of(manifest)
        if not download.here
    ]
    backbone = load_backbone(manifest, progress)
    with torch.device("meta"):
        network = insert_compressors(manifest, backbone)
    untrained = []
    for number, section in enumerate(manifest.compressors):
        compressor = network.compressors[number]
        if not list(compressor.state_dict()):
            continue
        if section.weights is not None:
            load_compressor(compressor, section, manifest, progress)
            continue
        untrained.append(section.kind)
        network.compressors[number] = _untrained(compressor)
    if untrained:
        kinds = "+".join(untrained)
        named = manifest.name if manifest.origin.parent == models_folder().resolve() else manifest.origin
        how = f"vidcomp train FOLDER --model {named} --compressor {kinds} --teacher dense30 --output FILE.yaml"
        notes.append(
            f"{manifest.name}: {kinds} is untrained; '{how}' makes it better, and 'vidcomp compare' shows what it costs"
        )
    return LoadedModel(manifest, network.eval(), labels_of(manifest), chosen, tuple(untrained), tuple(notes))


def _untrained(compressor: nn.Module) -> nn.Module:
    """The compressor as training starts from it, with storage."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        started = compressor.to_empty(device="cpu")
        for module in started.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    if isinstance(started, SFC):
        start_at_own_frames(started)
    return started


def load_compressor(
    compressor: nn.Module, section: CompressorSection, manifest: Manifest, progress: Progress | None = None
) -> None:
    """Give a compressor the weights that a section of ``manifest`` names.

    Raises:
        WeightsError: they cannot be fetched or do not fit.
    """
    assert section.weights is not None
    tensors = weights.read(section.weights, manifest.origin, manifest.backbone.family, progress)
    _assign(compressor, tensors, f"{manifest.name}: weights of {section.kind} after {section.cut}")


def build_backbone(manifest: Manifest) -> Backbone:
    """Build the backbone alone on the current default device, without its weights.

    Raises:
        ManifestError: an unknown family or option.
    """
    section = manifest.backbone
    builder = BACKBONES.get(section.family)
    if builder is None:
        raise ManifestError(
            f"{manifest.origin}: backbone.family: unknown family {section.family!r}; "
            f"choose one of {', '.join(sorted(BACKBONES))}"
        )
    try:
        backbone = builder(classes=section.classes, **section.options)
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{manifest.origin}: backbone.options: {error}") from None
    return _fed(backbone, manifest)


def _fed(backbone: Backbone, manifest: Manifest) -> Backbone:
    """The backbone, fed as its manifest says."""
    changes = {key: value for key, value in manifest.preprocessing if value is not None}
    try:
        backbone.spec = dataclasses.replace(backbone.spec, **changes)
    except ValueError as error:
        raise ManifestError(f"{manifest.origin}: preprocessing.{error}") from None
    return backbone


def _channels_at(backbone: Backbone, cuts: Sequence[str]) -> list[int | tuple[int, ...]]:
    """Channels of the features (or of each pathway's) at each cut, read off a small pass of the backbone itself.

    On "meta", where nothing is allocated, torch takes seconds to load what it needs for that.
    """
    heads = backbone.split(cuts)[:-1]
    in_training = [module for module in backbone.modules() if module.training]
    backbone.eval()
    try:
        with torch.inference_mode():
            parameter = next(backbone.parameters())
            with parameter.device:
                features: Any = blank_input(backbone.spec, *_PROBE)
            if isinstance(features, Tensor):
                features = features.to(parameter.dtype)
            channels: list[int | tuple[int, ...]] = []
            for head in heads:
                features = head(features)
                if isinstance(features, tuple):
                    channels.append(tuple(part.shape[1] for part in features))
                else:
                    channels.append(features.shape[1])
    finally:
        for module in in_training:
            module.training = True
    return channels


def _build_compressor(manifest: Manifest, section: CompressorSection, channels: int | tuple[int, ...]) -> Compressor:
    builder = COMPRESSORS.get(section.kind)
    if builder is None:
        raise ManifestError(
            f"{manifest.origin}: compressors.kind: unknown compressor {section.kind!r}; "
            f"choose one of {', '.join(sorted(COMPRESSORS))}"
        )
    try:
        return builder(channels, **section.options)
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{manifest.origin}: options of {section.kind}: {error}") from None


def insert_compressors(manifest: Manifest, backbone: Backbone) -> CompressedModel:
    """Put the manifest's compressors, on the current default device and without weights, into a backbone at hand.

    Raises:
        ManifestError: an unknown cut, compressor or option.
    """
    cuts = [section.cut for section in manifest.compressors]
    try:
        # A compressor that passes all on has no channels, and its network may take no picture but its own.
        identities = all(section.kind == "identity" for section in manifest.compressors)
        channels = [0] * len(backbone.split(cuts)[:-1]) if identities else _channels_at(backbone, cuts)
    except CutError as error:
        raise ManifestError(f"{manifest.name}: {error}") from None
    insertions = [
        Insertion(section.cut, _build_compressor(manifest, section, count))
        for section, count in zip(manifest.compressors, channels, strict=True)
    ]
    kind = CompressedModel if backbone.spec.modalities == ("rgb",) else BitstreamModel
    return kind(backbone, insertions)


def load_backbone(manifest: Manifest, progress: Progress | None = None) -> Backbone:
    """Build the backbone alone with its weights.

    Raises:
        ManifestError: an unknown family or option.
        WeightsError: there are no weights, or they cannot be fetched or do not fit.
    """
    if manifest.backbone.family == "transformers":
        from vidcomp.zoo.hub import load_backbone as load_from_hub

        return _fed(load_from_hub(manifest), manifest)
    source = manifest.backbone.sources
    if source is None:
        how = f" ({manifest.source})" if manifest.source else ""
        raise WeightsError(
            f"{manifest.name}: this model has no weights here, and labels from random ones would mean nothing{how}; "
            "it can be shown, measured and trained ('vidcomp models convert' takes a checkpoint that you have)"
        )
    tensors = weights.read(source, manifest.origin, manifest.backbone.family, progress)
    with torch.device("meta"):
        backbone = build_backbone(manifest)
    _assign(backbone, tensors, f"{manifest.name}: weights of {manifest.backbone.family}")
    return backbone


def _assign(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Give a module built without storage its tensors; every key and shape must fit."""
    expected = module.state_dict()
    for problem, names in (
        ("lack", sorted(expected.keys() - tensors.keys())),
        ("have the unknown key", sorted(tensors.keys() - expected.keys())),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"{what} {problem} {names[0]}{more}: they are not of this network")
    for key, value in expected.items():
        if value.shape != tensors[key].shape:
            raise WeightsError(
                f"{what}: {key} has shape {tuple(tensors[key].shape)}, the network needs {tuple(value.shape)}"
            )
    module.load_state_dict(dict(tensors), assign=True)
