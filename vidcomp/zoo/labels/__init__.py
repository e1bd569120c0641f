"""Label lists by name: one label a line in a text file here."""

from __future__ import annotations

from pathlib import Path

from vidcomp.zoo.errors import ManifestError
from vidcomp.zoo.manifest import Manifest

_FOLDER = Path(__file__).resolve().parent


def labels_of(manifest: Manifest) -> tuple[str, ...]:
    """Labels in the order of the classifier's outputs.

    Raises:
        ManifestError: the list is unknown, or has another length than the classifier.
    """
    labels = manifest.labels if isinstance(manifest.labels, tuple) else _by_name(manifest)
    if len(labels) != manifest.backbone.classes:
        raise ManifestError(
            f"{manifest.origin}: labels: {len(labels)} labels for {manifest.backbone.classes} classes; "
            "give one label for each output of the classifier"
        )
    return labels


def _by_name(manifest: Manifest) -> tuple[str, ...]:
    path = _FOLDER / f"{manifest.labels}.txt"
    known = sorted(file.stem for file in _FOLDER.glob("*.txt"))
    if manifest.labels not in known:
        raise ManifestError(
            f"{manifest.origin}: labels: unknown list {manifest.labels!r}; choose {', '.join(known)}, or list them"
        )
    return tuple(path.read_text(encoding="utf-8").splitlines())
