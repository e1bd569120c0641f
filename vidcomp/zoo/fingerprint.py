"""A short name for exactly this model: equal fingerprints, equal network, weights, labels and preprocessing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vidcomp.zoo.checksums import known_sha256_of
from vidcomp.zoo.download import Progress
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, WeightsSource
from vidcomp.zoo.weights import locate

# What is said about a model, and does not change what it answers.
_REMARKS = {"summary", "siblings", "reported", "measured", "source", "license"}
# Keys that manifests of vidcomp 0.1.0 did not have: unused, they change no name, so that outputs of then go on.
_NEW_KEYS = {"": {"only"}, "preprocessing": {"fps", "shortest", "central"}}


def fingerprint(manifest: Manifest, progress: Progress | None = None) -> str:
    """64 hex digits over the manifest, its labels, and the bytes of its weights, wherever they lie.

    Raises:
        WeightsError: weights are missing or cannot be fetched.
        ManifestError: the labels do not fit.
    """
    sources = [manifest.backbone.weights, *(section.weights for section in manifest.compressors)]
    said = manifest.model_dump(mode="json", exclude=_REMARKS)
    # Where weights lie may differ from machine to machine; what they are may not.
    for section in (said["backbone"], *said["compressors"]):
        section.pop("weights")
    for section, keys in _NEW_KEYS.items():
        part = said[section] if section else said
        for key in keys:
            if not part[key]:
                del part[key]
    said["labels"] = labels_of(manifest)
    said["weights"] = [_checksums(source, manifest.origin, progress) for source in sources]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _checksums(source: WeightsSource | None, manifest_file: Path, progress: Progress | None) -> list[str]:
    return [known_sha256_of(locate(part, manifest_file, progress)) for part in source.parts] if source else []
