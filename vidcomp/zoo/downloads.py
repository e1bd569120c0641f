"""Files of weights from the web: fetched once into one folder, checked, counted, and removed.

A download continues where an earlier attempt broke off. Checksums are remembered from one start to the next for as long
as the files look unchanged.

``VIDCOMP_CACHE`` names another folder. ``VIDCOMP_MIRROR`` is an address that is put before each file's own host and
path: ``https://mirror.example/weights`` is asked for ``https://mirror.example/weights/HOST/PATH``. With
``VIDCOMP_OFFLINE`` (or ``HF_HUB_OFFLINE``) set to 1, nothing is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from filelock import FileLock, Timeout

from vidcomp.files import replacing
from vidcomp.transfer import Progress, TransferError, transfer
from vidcomp.zoo import ManifestError, WeightsError
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
    remembered = _remembered().get(key)
    if isinstance(remembered, list) and remembered[:-1] == stamp:
        return str(remembered[-1])
    found = sha256_of(path)
    if _stamp(path) == stamp and time.time_ns() - stamp[1] > _SETTLED_S * 1e9:
        _remember(key, [*stamp, found])
    return found


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _memory() -> Path:
    return cache_folder() / "checksums.json"


def _remembered() -> dict[str, Any]:
    """What is remembered; nothing where the file is absent, or not what it should be."""
    try:
        content = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(key: str, entry: list[int | str]) -> None:
    """Note a checksum. Of processes that do so at once the last one wins: the others' files are hashed again."""
    kept = {path: old for path, old in _remembered().items() if Path(path).exists()}
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        with replacing(_memory(), shared=True, sync=False) as new:
            new.write_text(json.dumps({**kept, key: entry}), encoding="utf-8")


# How often a process that waits for another one's download looks how far that is.
_LOOK_EVERY_S = 0.5


def offline() -> str | None:
    """The environment variable that forbids to fetch anything; ``None`` where none does."""
    for name in ("VIDCOMP_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off"):
            return name
    return None


def mirrored(url: str) -> str:
    """The address that is asked for a file: its own, or that on ``VIDCOMP_MIRROR``."""
    mirror = os.environ.get("VIDCOMP_MIRROR")
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


def fetch(url: str, sha256: str, name: str, progress: Progress | None = None, *, fresh: bool = False) -> Path:
    """Return the cached copy of ``url``, downloading it first if need be; of several processes one does, others wait.

    Args:
        url: an http or https address.
        sha256: the file's checksum, or the leading digits of it that its publisher gives; may be empty.
        name: file name in the cache folder.
        progress: called with bytes so far and bytes in all (``None`` where that is not known).
        fresh: compute the checksum of a cached copy, even where it is remembered.

    Raises:
        WeightsError: no network, a refusal by the server, a full disk, or content with another checksum.
    """
    target = cache_folder() / name
    if _is_whole(target, sha256, fresh=fresh):
        return target
    if by := offline():
        raise WeightsError(
            f"the weights {name} are not on this machine, and {by} forbids to download {url}: "
            f"unset it, or put the file at {target}"
        )
    with alone(target, progress):
        # Another process may have fetched it meanwhile.
        if not _is_whole(target, sha256, fresh=fresh):
            _fetch(mirrored(url), sha256, target, progress)
    return target


def _is_whole(file: Path, sha256: str, *, fresh: bool) -> bool:
    checksum = sha256_of if fresh else known_sha256_of
    return file.exists() and (not sha256 or checksum(file).startswith(sha256))


def _part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


@contextmanager
def alone(target: Path, progress: Progress | None = None) -> Iterator[None]:
    """Hold the lock of a file to be made, which goes with its process; while another has it, tell how far that is.

    Raises:
        WeightsError: the folder cannot be used.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=_LOOK_EVERY_S)
        while True:
            try:
                lock.acquire()
                break
            except Timeout:
                if progress is not None:
                    with contextlib.suppress(OSError):
                        progress(_part_of(target).stat().st_size, None)
    except OSError as error:
        raise WeightsError(
            f"{target.parent}: weights cannot be kept there ({error.strerror}); VIDCOMP_CACHE names another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, sha256: str, target: Path, progress: Progress | None) -> None:
    partial = _part_of(target)
    try:
        transfer(url, partial, resume=True, progress=progress)
        found = sha256_of(partial) if sha256 else ""
        if found.startswith(sha256):
            partial.replace(target)
            return
        partial.unlink()
    except (TransferError, OSError) as error:
        raise WeightsError(
            f"the weights {target.name} are not on this machine and {url} could not be downloaded "
            f"({getattr(error, 'strerror', None) or error}): try again (what has arrived is kept), "
            f"or put the file at {target}"
        ) from None
    raise WeightsError(
        f"{url}: what arrived has sha256 {found}, not {sha256}; it was discarded: try again, or check the manifest's "
        "url and sha256"
    )


@dataclass(frozen=True)
class Download:
    """What a file of weights that is to be had from the web is called there and in the cache folder.

    ``sha256`` may be its leading digits, or empty where its publisher gives none. With a ``publisher``, whose names its
    tensors have, ``file`` is what it is converted to.
    """

    url: str
    sha256: str
    file: Path
    publisher: str | None = None

    @property
    def here(self) -> bool:
        """Whether it was fetched already."""
        return self.file.is_file()


def download_of(source: WeightsSource, manifest_file: Path, family: str) -> Download | None:
    """Where a file of weights comes from and goes to, if it comes from the web.

    Raises:
        ManifestError: torchvision knows no such weights.
    """
    url, sha256, publisher = source.url, source.sha256 or "", source.format
    if source.torchvision is not None:
        url, sha256 = _torchvision_url(source.torchvision, manifest_file)
        publisher = "torchvision"
    if url is None:
        return None
    name = Path(urlsplit(url).path).name or "weights"
    if publisher is None:
        return Download(url, sha256, cache_folder() / f"{sha256[:12]}-{name}")
    key = hashlib.sha256(f"{url} {publisher} {family}".encode()).hexdigest()[:8]
    return Download(url, sha256, cache_folder() / f"{Path(name).stem}-{key}.safetensors", publisher)


def downloads_of(manifest: Manifest) -> Iterator[Download]:
    """Every file of a model's weights that comes from the web.

    Raises:
        ManifestError: as :func:`download_of`.
    """
    for source in sources_of(manifest):
        for part in source.parts if source is not None else ():
            if found := download_of(part, manifest.origin, manifest.backbone.family):
                yield found


def sources_of(manifest: Manifest) -> list[WeightsSource | None]:
    """Where the weights of a model's backbone lie, and those of each of its compressors."""
    return [manifest.backbone.sources, *(section.weights for section in manifest.compressors)]


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


# What files of weights are called; the folder holds other things too.
_WEIGHTS = (".safetensors", ".pth", ".pyth", ".pt", ".ckpt", ".part")


def kept() -> list[Path]:
    """The files of weights in the folder, whole or in part, by name."""
    if not cache_folder().is_dir():
        return []
    return sorted(path for path in cache_folder().iterdir() if path.is_file() and path.name.endswith(_WEIGHTS))


def remove(path: Path) -> int:
    """Remove a file of weights from the folder, with what arrived of it in part; returns the bytes that it took.

    Raises:
        WeightsError: it cannot be removed.
    """
    freed = 0
    for file in (path, _part_of(path)):
        try:
            size = file.stat().st_size
            file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise WeightsError(f"{file}: cannot be removed ({error.strerror})") from None
        freed += size
    return freed
