"""From a manifest's ``weights:`` section to tensors: found or fetched, checked, read; and which model they make."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vidcomp.nn.backbones.torchvision_video import rename_torchvision_keys
from vidcomp.transfer import Progress
from vidcomp.zoo import ManifestError, WeightsError
from vidcomp.zoo.checksums import known_sha256_of, sha256_of
from vidcomp.zoo.download import fetch
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, WeightsSource

# What is said about a model, and does not change what it answers.
_REMARKS = {"summary", "siblings", "reported", "measured", "source", "license"}
# Keys that manifests of vidcomp 0.1.0 did not have: unused, they change no name, so that outputs of then go on.
_NEW_KEYS = {"": {"only"}, "preprocessing": {"fps", "shortest", "central"}}


def locate(
    source: WeightsSource, manifest_file: Path, progress: Progress | None = None, *, fresh: bool = False
) -> Path:
    """Find the weights on this machine, downloading them if they are to be had by URL only.

    Checksums of files that look unchanged are remembered from earlier; ``fresh`` computes them anew.

    Raises:
        WeightsError: they are missing, cannot be fetched, or have another checksum.
    """
    if source.torchvision is not None:
        url, digits = _torchvision_url(source.torchvision, manifest_file)
        return fetch(url, digits, url.rsplit("/", 1)[-1], progress, fresh=fresh)
    if source.url is not None:
        assert source.sha256 is not None
        name = source.url.rsplit("/", 1)[-1].partition("?")[0] or "weights"
        return fetch(source.url, source.sha256, f"{source.sha256[:12]}-{name}", progress, fresh=fresh)
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


def verify(manifest: Manifest, progress: Progress | None = None) -> None:
    """Compute the checksums of all files of a model's weights, whatever is remembered of them.

    Raises:
        WeightsError: as :func:`locate`.
    """
    for source in (manifest.backbone.weights, *(section.weights for section in manifest.compressors)):
        for part in source.parts if source is not None else ():
            locate(part, manifest.origin, progress, fresh=True)


def read(
    source: WeightsSource, manifest_file: Path, family: str, progress: Progress | None = None
) -> dict[str, Tensor]:
    """Read the weights, from all files that they are parted into, as float32 tensors under vidcomp's key names.

    Raises:
        WeightsError: as :func:`locate`, or a file is not safetensors (or, from torchvision, not a plain checkpoint), or
            a tensor is in two of them, of which the later does not replace the other.
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
    path = locate(source, manifest_file, progress)
    try:
        if source.torchvision is not None:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            tensors = rename_torchvision_keys(family, checkpoint)
        else:
            tensors = load_file(path)
    except (SafetensorError, OSError, pickle.UnpicklingError, RuntimeError) as error:
        raise WeightsError(f"{path}: not readable as weights ({error}); fetch or convert the file again") from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _torchvision_url(name: str, manifest_file: Path) -> tuple[str, str]:
    """URL of a member of torchvision's weight enums, and the leading checksum digits in its file name."""
    from torchvision.models import get_weight

    try:
        url: str = get_weight(name).url
    except (ValueError, KeyError, AttributeError):
        raise ManifestError(
            f"{manifest_file}: weights.torchvision: {name!r} is not one of torchvision's weights; "
            "an example is R3D_18_Weights.KINETICS400_V1"
        ) from None
    return url, url.rsplit("-", 1)[-1].partition(".")[0]


def fingerprint(manifest: Manifest, progress: Progress | None = None) -> str:
    """64 hex digits over the manifest, its labels, and the bytes of its weights, wherever they lie.

    Equal fingerprints, equal network, weights, labels and preprocessing.

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
