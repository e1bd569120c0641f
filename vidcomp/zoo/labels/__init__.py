"""Label lists by name: one label per line in a text file here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from vidcomp.zoo import ManifestError
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


def chosen_labels(manifest: Manifest) -> tuple[int, ...] | None:
    """Numbers of the labels that the manifest says to choose among, in the classifier's order; None for all.

    Raises:
        ManifestError: one of them is no label of the model (the line names similar ones), or there is but one.
    """
    if not manifest.only:
        return None
    labels = labels_of(manifest)
    numbers = {label.casefold(): number for number, label in enumerate(labels)}
    for name in manifest.only:
        if name.casefold() not in numbers:
            near = near_labels(labels, name)
            hint = f"similar are {', '.join(map(repr, near))}" if near else "no label is similar"
            raise ManifestError(
                f"{manifest.name}: there is no label {name!r}; {hint} ('vidcomp models labels {manifest.name}')"
            )
    chosen = {numbers[name.casefold()] for name in manifest.only}
    if len(chosen) < 2:
        raise ManifestError(f"{manifest.name}: with one label there is nothing to choose; give two or more")
    return tuple(sorted(chosen))


def near_labels(labels: Sequence[str], name: str, most: int = 5) -> list[str]:
    """Labels that hold ``name``, or else those with words spelled much like its own, best first."""
    wanted = name.casefold().strip()
    found = [label for label in labels if wanted in label.casefold()]
    if not found:
        likeness = {label: max(_alike(a, b) for a in _parts(wanted) for b in _parts(label)) for label in labels}
        found = sorted((label for label in labels if likeness[label] >= 0.6), key=lambda label: -likeness[label])
    return found[:most]


def _parts(text: str) -> list[str]:
    """The text and those of its words that mean something."""
    return [text.casefold(), *(word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3)]


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _by_name(manifest: Manifest) -> tuple[str, ...]:
    path = _FOLDER / f"{manifest.labels}.txt"
    known = sorted(file.stem for file in _FOLDER.glob("*.txt"))
    if manifest.labels not in known:
        raise ManifestError(
            f"{manifest.origin}: labels: unknown list {manifest.labels!r}; choose {', '.join(known)}, or list them"
        )
    return tuple(path.read_text(encoding="utf-8").splitlines())
