"""From a manifest's ``weights:`` section to tensors: found or fetched, checked, read; and which model they make.

A public checkpoint is fetched and converted where it is first asked for. What is kept of it is a safetensors file with
vidcomp's names, and beside it a note of the checkpoint's address and checksum: whatever comes from there later must be
the same.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vidcomp.files import replace_file
from vidcomp.transfer import Progress
from vidcomp.zoo import WeightsError
from vidcomp.zoo.convert import SOURCES, convert_file, write
from vidcomp.zoo.downloads import (
    Download,
    alone,
    download_of,
    fetch,
    known_sha256_of,
    remove,
    sha256_of,
    sources_of,
)
from vidcomp.zoo.labels import chosen_labels, labels_of
from vidcomp.zoo.manifest import Manifest, WeightsSource

# What is said about a model, and does not change what it answers.
_REMARKS = {
    *("base", "summary", "group", "siblings", "alternatives", "gmacs", "reported", "measured", "source", "license")
}
# Keys of preprocessing that manifests of vidcomp 0.1.0 did not have: unused, they change no name, so that outputs of
# then go on.
_NEW_KEYS = ("fps", "shortest", "central")


def locate(
    source: WeightsSource,
    manifest_file: Path,
    family: str,
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> Path:
    """Find the weights on this machine, downloading and converting them first if need be.

    Checksums of files that look unchanged are remembered from earlier; ``fresh`` computes them again.

    Raises:
        WeightsError: they are missing, cannot be fetched, have another checksum, or fit no backbone.
    """
    download = download_of(source, manifest_file, family)
    if download is not None:
        if download.publisher is not None:
            return _converted(download, download.publisher, family, progress, fresh=fresh)
        return fetch(download.url, download.sha256, download.file.name, progress, fresh=fresh)
    path = Path(source.path) if source.path is not None else manifest_file.parent / (source.file or "")
    if not path.is_file():
        raise WeightsError(f"{path}: the weights that {manifest_file.name} names are not there; put them back")
    checksum = sha256_of if fresh else known_sha256_of
    if source.sha256 is not None and (found := checksum(path)) != source.sha256:
        raise WeightsError(
            f"{path}: sha256 is {found}, but {manifest_file.name} says {source.sha256}; "
            "the file was changed or damaged: restore it, or correct the manifest"
        )
    return path


def _converted(
    download: Download, publisher: str, family: str, progress: Progress | None, *, fresh: bool = False
) -> Path:
    """What was made of a public checkpoint, fetching and converting it if that was not done, or is damaged."""
    target, note = download.file, _note_of(download.file)
    checksum = sha256_of if fresh else known_sha256_of
    if target.is_file() and checksum(target) == note.get("converted"):
        return target
    original = f"{target.stem}{Path(urlsplit(download.url).path).suffix}"
    with alone(target, progress):
        note = _note_of(target)
        if target.is_file() and sha256_of(target) == note.get("converted"):
            return target
        # What was fetched once is the same ever after, also where its publisher gives no checksum.
        path = fetch(download.url, download.sha256 or note.get("sha256", ""), original, progress)
        try:
            tensors, report = convert_file(path, SOURCES[publisher], family)
        except WeightsError as error:
            remove(path)
            raise WeightsError(f"{download.url}: {error}; what arrived was discarded: try again") from None
        converted = write(target, tensors, {"converted_from": publisher})
        content = {"url": download.url, "sha256": sha256_of(path), "classes": report.classes, "converted": converted}
        replace_file(_note_file(target), [json.dumps(content, indent=2).encode()])
        remove(path)
    return target


def _note_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}.json")


def _note_of(file: Path) -> dict[str, str]:
    """Address and checksum of the checkpoint that a file was converted from, and its own; empty if unknown."""
    try:
        content = json.loads(_note_file(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def verify(manifest: Manifest, progress: Progress | None = None) -> None:
    """Compute the checksums of all files of a model's weights, whatever is remembered of them.

    Raises:
        WeightsError: as :func:`locate`.
    """
    for source in sources_of(manifest):
        for part in source.parts if source is not None else ():
            locate(part, manifest.origin, manifest.backbone.family, progress, fresh=True)


def read(
    source: WeightsSource, manifest_file: Path, family: str, progress: Progress | None = None
) -> dict[str, Tensor]:
    """Read the weights, from all files that they are parted into, as float32 tensors under vidcomp's key names.

    Raises:
        WeightsError: as :func:`locate`, or a file is not safetensors, or a tensor is in two of them, of which the later
            does not replace the other.
    """
    tensors: dict[str, Tensor] = {}
    for part in source.parts:
        found = _read_file(part, manifest_file, family, progress)
        twice = sorted(tensors.keys() & found.keys())
        if twice and not part.replaces:
            raise WeightsError(f"{manifest_file}: {twice[0]} is in more than one of the weights' files; leave one out")
        tensors |= found
    return tensors


def _read_file(source: WeightsSource, manifest_file: Path, family: str, progress: Progress | None) -> dict[str, Tensor]:
    path = locate(source, manifest_file, family, progress)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise WeightsError(f"{path}: not readable as weights ({error}); fetch or convert the file again") from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def fingerprint(manifest: Manifest, progress: Progress | None = None) -> str:
    """64 hex digits over the manifest, its labels, and the bytes of its weights, wherever they lie.

    Equal fingerprints, equal network, weights, labels and preprocessing.

    Raises:
        WeightsError: weights are missing or cannot be fetched.
        ManifestError: the labels do not fit.
    """
    said = manifest.model_dump(mode="json", exclude={*_REMARKS, "only"})
    # Where weights lie may differ from machine to machine; what they are may not.
    del said["backbone"]["head"], said["backbone"]["fitted_to"]
    # 0.1.0 had no such key, and its outputs continue with whichever of the two a model names now.
    del said["preprocessing"]["interpolation"]
    for section in (said["backbone"], *said["compressors"]):
        section.pop("weights")
    for key in _NEW_KEYS:
        if not said["preprocessing"][key]:
            del said["preprocessing"][key]
    said["labels"] = labels = labels_of(manifest)
    if (chosen := chosen_labels(manifest)) is not None:
        said["only"] = [labels[number] for number in chosen]  # in whatever order and spelling they were named
    said["weights"] = [_checksums(source, manifest, progress) for source in sources_of(manifest)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _checksums(source: WeightsSource | None, manifest: Manifest, progress: Progress | None) -> list[str]:
    parts = source.parts if source else ()
    return [known_sha256_of(locate(part, manifest.origin, manifest.backbone.family, progress)) for part in parts]
