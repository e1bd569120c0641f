"""From a manifest's ``weights:`` section to tensors: found or fetched, checked, read; and which model they make.

Checksums of files are remembered from one start to the next for as long as the files look unchanged. A download goes on
where an earlier attempt broke off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vidcomp.files import replacing
from vidcomp.nn.backbones.torchvision_video import rename_torchvision_keys
from vidcomp.transfer import Progress, TransferError, transfer
from vidcomp.zoo import ManifestError, WeightsError
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, WeightsSource

_BLOCK = 1 << 20
# A file changed so recently may change again within the resolution of its time stamps: it is not remembered.
_SETTLED_S = 2.0


def cache_folder() -> Path:
    """Where downloads are kept: ``VIDCOMP_CACHE`` if set, else ``vidcomp`` under the platform's cache folder."""
    chosen = os.environ.get("VIDCOMP_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("vidcomp")


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file, computed anew."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def known_sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file: the remembered one where its size and times of change are still the same."""
    key, stamp = str(path.resolve()), _stamp(path)
    remembered = _read().get(key)
    if isinstance(remembered, list) and remembered[:-1] == stamp:
        return str(remembered[-1])
    found = sha256_of(path)
    if _stamp(path) == stamp and time.time_ns() - stamp[1] > _SETTLED_S * 1e9:
        _remember(key, [*stamp, found])
    return found


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _file() -> Path:
    return cache_folder() / "checksums.json"


def _read() -> dict[str, Any]:
    """What is remembered; nothing where the file is absent, or not what it should be."""
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(key: str, entry: list[int | str]) -> None:
    """Note a checksum. Of processes that do so at once the last one wins: the others' files are hashed again."""
    kept = {path: old for path, old in _read().items() if Path(path).exists()}
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        with replacing(_file(), shared=True, sync=False) as new:
            new.write_text(json.dumps({**kept, key: entry}), encoding="utf-8")


# How often a process that waits for another one's download looks how far that is.
_LOOK_EVERY_S = 0.5


def fetch(url: str, sha256: str, name: str, progress: Progress | None = None, *, fresh: bool = False) -> Path:
    """Return the cached copy of ``url``, downloading it first if need be; of several processes one does, others wait.

    Args:
        url: an http or https address.
        sha256: the file's checksum, or the leading digits of it that its publisher gives.
        name: file name in the cache folder.
        progress: called with bytes so far and bytes in all (``None`` where that is not known).
        fresh: compute the checksum of a cached copy, even where it is remembered.

    Raises:
        WeightsError: no network, a refusal by the server, a full disk, or content with another checksum.
    """
    checksum = sha256_of if fresh else known_sha256_of
    target = cache_folder() / name
    if target.exists() and checksum(target).startswith(sha256):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, progress):
            # Another process may have fetched it meanwhile.
            if not (target.exists() and checksum(target).startswith(sha256)):
                _fetch(url, sha256, target, progress)
    except (TransferError, OSError) as error:
        raise WeightsError(
            f"the weights {name} are not on this machine and {url} could not be downloaded ({error}): "
            f"try again with a network (what has arrived is kept), or put the file at {target}"
        ) from None
    return target


def _part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


@contextmanager
def _alone(target: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock of a download, which goes with its process; while another one has it, tell how far that is."""
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=_LOOK_EVERY_S)
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            if progress is not None:
                with contextlib.suppress(OSError):
                    progress(_part_of(target).stat().st_size, None)
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, sha256: str, target: Path, progress: Progress | None) -> None:
    partial = _part_of(target)
    transfer(url, partial, resume=True, progress=progress)
    found = sha256_of(partial)
    if not found.startswith(sha256):
        partial.unlink()
        raise WeightsError(
            f"{url}: what arrived has sha256 {found}, not {sha256}; it was thrown away: "
            "try again, or check the manifest's url and sha256"
        )
    partial.replace(target)


# What is said about a model, and does not change what it answers.
_REMARKS = {"base", "summary", "siblings", "reported", "measured", "source", "license"}
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
    for source in (manifest.backbone.sources, *(section.weights for section in manifest.compressors)):
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
    sources = [manifest.backbone.sources, *(section.weights for section in manifest.compressors)]
    said = manifest.model_dump(mode="json", exclude=_REMARKS)
    # Where weights lie may differ from machine to machine; what they are may not.
    del said["backbone"]["head"]
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
