"""Tensors kept on disk, so that what does not change from epoch to epoch is computed once.

A safetensors file per tensor, written whole or not at all, so that several programs may share the folder. What is kept
follows from its key alone: a file that is there is right, and one that is not there is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vidcomp.files import replacing
from vidcomp.zoo.downloads import cache_folder

_SUFFIX = ".safetensors"
_KIND = re.compile(r"vidcomp-[0-9a-f]{32}")


def digest_of(content: Mapping[str, Any]) -> str:
    """64 hex digits that stand for these values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def file_key(path: str) -> str:
    """A short name for a video as it is now: its absolute path, size and time of change.

    Raises:
        OSError: it cannot be looked at.
    """
    status = os.stat(path)  # noqa: PTH116 - a path may hold what pathlib refuses
    known = f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"  # noqa: PTH100
    return hashlib.sha256(os.fsencode(known)).hexdigest()[:32]


class TensorCache:
    """The tensors of one kind (``digest``) in a folder that holds several kinds, all of them bounded together.

    Kinds that were not used for the longest time are removed where room is needed; what does not fit then is not kept,
    and has to be computed whenever it is wanted.
    """

    def __init__(self, digest: str, limit_bytes: float, root: Path | None = None) -> None:
        """Open or begin the folder of this kind.

        Args:
            digest: names the kind: everything but the video that the tensors follow from.
            limit_bytes: most that the whole folder may hold; 0 keeps nothing.
            root: the folder; by default ``features`` in vidcomp's cache folder.
        """
        self._root = root if root is not None else cache_folder() / "features"
        self._folder = self._root / f"vidcomp-{digest[:32]}"
        self._limit = limit_bytes
        self._used: float | None = None
        self.turned_away = 0
        """Tensors for which there was no room."""

    def get(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors under ``key``, made (and kept, if there is room) where they are not there."""
        path = self._folder / f"{key}{_SUFFIX}"
        # Damaged, as by a failing disk: made again like one that is missing.
        with contextlib.suppress(FileNotFoundError, SafetensorError):
            return load_file(path)
        made = {name: tensor.contiguous() for name, tensor in make().items()}
        self._keep(path, made)
        return made

    def __contains__(self, key: str) -> bool:
        return (self._folder / f"{key}{_SUFFIX}").is_file()

    def _keep(self, path: Path, tensors: dict[str, Tensor]) -> None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        if not self._room_for(size):
            self.turned_away += 1
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(path, shared=True, sync=False) as new:
                save_file(tensors, new)
        except (OSError, SafetensorError):
            # A full disk costs time, not the training.
            self.turned_away += 1
            self._limit = 0
            return
        assert self._used is not None
        self._used += size

    def _room_for(self, size: int) -> bool:
        if self._limit <= 0:
            return False
        if self._used is None:
            self._used = _bytes_in(self._root)
            if self._folder.is_dir():
                os.utime(self._folder, (time.time(),) * 2)
        while self._used + size > self._limit and (oldest := self._oldest_other()) is not None:
            self._used -= _bytes_in(oldest)
            shutil.rmtree(oldest, ignore_errors=True)
        return self._used + size <= self._limit

    def _oldest_other(self) -> Path | None:
        # Only folders named as this class names them: the root may be one of the user's, with other things in it.
        others = [folder for folder in self._root.glob("*") if _KIND.fullmatch(folder.name) and folder != self._folder]
        return min(others, key=lambda folder: folder.stat().st_mtime, default=None)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
