"""The models that are compared: with their weights, or with random ones where there are none."""

from __future__ import annotations

from pathlib import Path

import torch

from vidcomp.zoo.build import LoadedModel, build_network, load_variant
from vidcomp.zoo.download import Progress
from vidcomp.zoo.errors import WeightsError
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, find_manifest

_SEED = 0


def find_model(model: str | Path | Manifest) -> Manifest:
    """A model's manifest by name or file; a manifest is taken as it is.

    Raises:
        ManifestError: there is no such model.
    """
    return model if isinstance(model, Manifest) else find_manifest(model)


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


def default_names(model: str | Path | Manifest) -> list[str]:
    """The rows of a comparison for which none were named: 30 dense views, and the model's own compressors.

    Raises:
        ManifestError: there is no such model.
    """
    kinds = dict.fromkeys(section.kind for section in find_model(model).compressors if section.kind != "identity")
    return ["dense30", "+".join(kinds) or "whole"]
