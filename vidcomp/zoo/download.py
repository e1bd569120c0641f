"""Fetch a file once, checked by its sha256, going on where an earlier attempt broke off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vidcomp.transfer import Progress, TransferError, transfer
from vidcomp.zoo import WeightsError
from vidcomp.zoo.checksums import cache_folder, known_sha256_of, sha256_of

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
