"""Checksums of files, remembered from one start to the next for as long as the files look unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import platformdirs

from vidcomp.files import replacing

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
