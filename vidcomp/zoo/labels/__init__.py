"""Label lists by name: one label per line in a text file here."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
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

    Case and Unicode form do not matter, unless labels differ in nothing else.

    Raises:
        ManifestError: one of them is no label of the model (the line names similar ones), or there is but one.
    """
    if not manifest.only:
        return None
    labels = labels_of(manifest)
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        numbers[caseless(label)].append(number)
    chosen: set[int] = set()
    for name in manifest.only:
        alike = numbers[caseless(name)]
        found = [number for number in alike if labels[number] == name] or alike
        if len({labels[number] for number in found}) != 1:
            near = near_labels(labels, name)
            similar = f"similar {'are' if len(near) > 1 else 'is'} {', '.join(map(repr, near))}"
            hint = similar if near else "no label is similar"
            raise ManifestError(
                f"{manifest.name}: there is no label {name!r}; {hint} ('vidcomp models labels {manifest.name}')"
            )
        chosen.update(found)
    if len(chosen) < 2:
        raise ManifestError(f"{manifest.name}: with one label there is nothing to choose; give two or more")
    return tuple(sorted(chosen)) if len(chosen) < len(labels) else None


def near_labels(labels: Sequence[str], name: str, most: int = 5) -> list[str]:
    """Labels that hold ``name``, or else those with words spelled much like its own, best first."""
    wanted = caseless(name)
    likeness = {label: _alike(wanted, caseless(label)) for label in labels if wanted in caseless(label)}
    if not likeness:
        words = {label: max(_alike(a, b) for a in _parts(name) for b in _parts(label)) for label in labels}
        likeness = {label: alike for label, alike in words.items() if alike >= 0.6}
    return sorted(likeness, key=lambda label: -likeness[label])[:most]


def caseless(text: str) -> str:
    """The text as labels are compared: without regard to case, Unicode form, and extra spaces."""
    return unicodedata.normalize("NFC", " ".join(text.split())).casefold()


def _parts(text: str) -> list[str]:
    """The text and those of its words that mean something."""
    whole = caseless(text)
    return [whole, *(word for word in re.findall(r"\w+", whole) if len(word) > 3)]


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
