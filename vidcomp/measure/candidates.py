"""What is to be compared: strategies by name, each with the variant of the model that it passes videos through."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from vidcomp.inference.strategies import DenseViews, Strategy, UniformClips, WholeVideo
from vidcomp.zoo.build import LoadedModel, Variant, build_network, load_variant, vary
from vidcomp.zoo.download import Progress
from vidcomp.zoo.errors import WeightsError
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, find_manifest

_CROPS = 3
_SEED = 0


class CandidateError(ValueError):
    """A strategy is not known, or the model cannot do it: one line for the user."""


@dataclass(frozen=True)
class Candidate:
    """A row to be: the way to pass a video, and the compressors to keep of the model's own.

    ``kinds`` are those compressors; ``None`` keeps all, an empty tuple none. ``tau`` is SFC's compression ratio where
    it shall differ from the model's.
    """

    name: str
    strategy: Strategy
    kinds: tuple[str, ...] | None = None
    tau: float | None = None

    @property
    def is_dense(self) -> bool:
        """Whether this row can be the one that others are compared with."""
        return isinstance(self.strategy, DenseViews)

    def manifest(self, manifest: Manifest) -> Manifest:
        """The variant of the model that this row runs.

        Raises:
            ManifestError: the model does not have the compressor, or the compression ratio does not suit it.
        """
        if self.kinds is None:
            return vary(manifest, Variant(tau=self.tau))
        return vary(manifest, Variant("+".join(self.kinds) or "none", self.tau))


def parse_candidate(name: str) -> Candidate:
    """A strategy by its name.

    ``dense30`` (clips × 3 crops of the uncompressed network), ``whole`` (uncompressed, in one pass), ``uniform8``
    (that many clips of 128 frames, joined, with the model's compressors), or compressors of the model with the whole
    video: ``sfc``, ``sgs``, ``sgs+sfc``, and with another ratio ``sfc-tau4``.

    Raises:
        CandidateError: there is no such strategy.
    """
    if name == "whole":
        return Candidate(name, WholeVideo(), ())
    if match := re.fullmatch(r"dense(\d+)", name):
        views = int(match[1])
        if views < _CROPS or views % _CROPS:
            raise CandidateError(f"{name}: dense views are clips x {_CROPS} crops, such as dense30 or dense{_CROPS}")
        return Candidate(name, DenseViews(clips=views // _CROPS, crops=_CROPS), ())
    if match := re.fullmatch(r"uniform([1-9]\d*)", name):
        return Candidate(name, UniformClips(clips=int(match[1])))
    if match := re.fullmatch(r"([a-z]+(?:\+[a-z]+)*)(?:-tau([0-9.]+))?", name):
        try:
            tau = float(match[2]) if match[2] else None
        except ValueError:
            raise CandidateError(f"{name}: {match[2]} is not a number") from None
        kinds = tuple(match[1].split("+"))
        if tau is not None and "sfc" not in kinds:
            raise CandidateError(f"{name}: tau belongs to sfc")
        return Candidate(name, WholeVideo(), kinds, tau)
    raise CandidateError(f"{name}: unknown strategy; examples are dense30, whole, sfc, sfc-tau4, sgs, uniform8")


def find_model(model: str | Manifest) -> Manifest:
    """A model's manifest by name or file; a manifest is taken as it is.

    Raises:
        ManifestError: there is no such model.
    """
    return find_manifest(model) if isinstance(model, str) else model


def without_weights(manifest: Manifest) -> LoadedModel:
    """The model with random weights, the same each time: its cost is true, its labels mean nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = build_network(manifest).eval()
    return LoadedModel(manifest, network, labels_of(manifest))


def with_weights(manifest: Manifest, progress: Progress | None = None) -> tuple[LoadedModel, str | None]:
    """The model with its weights, or, where they are not to be had, with random ones and the reason.

    Raises:
        ManifestError: the model cannot be built.
    """
    if manifest.backbone.weights is None:
        reason = f"{manifest.name} has no weights here (vidcomp models show {manifest.name} says where there are any)"
        return without_weights(manifest), reason
    try:
        return load_variant(manifest, progress), None
    except WeightsError as error:
        return without_weights(manifest), str(error)


def default_names(model: str | Manifest) -> list[str]:
    """The rows of a comparison for which none were named: 30 dense views, and the model's own compressors.

    Raises:
        ManifestError: there is no such model.
    """
    kinds = dict.fromkeys(section.kind for section in find_model(model).compressors if section.kind != "identity")
    return ["dense30", "+".join(kinds) or "whole"]
