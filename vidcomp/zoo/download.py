"""Fetch a file once, checked by its sha256, going on where an earlier attempt broke off."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import platformdirs

from vidcomp.zoo.errors import WeightsError

Progress = Callable[[int, "int | None"], None]

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0


def cache_folder() -> Path:
    """Where downloads are kept: ``VIDCOMP_CACHE`` if set, else ``vidcomp`` under the platform's cache folder."""
    chosen = os.environ.get("VIDCOMP_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("vidcomp")


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fetch(url: str, sha256: str, name: str, progress: Progress | None = None) -> Path:
    """Return the cached copy of ``url``, downloading it first if need be.

    Args:
        url: an http or https address.
        sha256: the file's checksum, or the leading digits of it that its publisher gives.
        name: file name in the cache folder.
        progress: called with bytes so far and bytes in all (``None`` where the server does not say).

    Raises:
        WeightsError: no network, a refusal by the server, a full disk, or content with another checksum.
    """
    folder = cache_folder()
    target = folder / name
    if target.exists() and sha256_of(target).startswith(sha256):
        return target
    partial = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _transfer(url, partial, progress)
    except (urllib.error.HTTPError, urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise WeightsError(
            f"the weights {name} are not on this machine and {url} could not be downloaded ({reason}): "
            f"try again with a network (what has arrived is kept), or put the file at {target}"
        ) from None
    found = sha256_of(partial)
    if not found.startswith(sha256):
        partial.unlink()
        raise WeightsError(
            f"{url}: what arrived has sha256 {found}, not {sha256}; it was thrown away: "
            "try again, or check the manifest's url and sha256"
        )
    partial.replace(target)
    return target


def _transfer(url: str, partial: Path, progress: Progress | None) -> None:
    """Append to ``partial`` what it still lacks; a server that cannot resume sends all of it again."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "vidcomp"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        # The part is as long as the file or longer: let the checksum decide whether it is the file.
        return
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with partial.open("ab" if resumed else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                have += len(block)
                if progress is not None:
                    progress(have, total)
        if total is not None and have < total:
            raise OSError(f"the connection ended after {have} of {total} bytes")
