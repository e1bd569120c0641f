"""Videos named by an address: fetched whole into a file first, so that no decoder ever speaks to a network."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

from vidcomp.transfer import TooLargeError, TransferError, transfer
from vidcomp.video.errors import VideoTooLarge, VideoUnreachable

SCHEMES = ("http", "https")
MAX_BYTES = 4 << 30
"""Bytes of a video above which it is not fetched."""

# A server that sends less than this for minutes would hold up a whole batch.
_SLOWEST_BYTES_PER_S = 10_000


def is_address(name: str) -> bool:
    """Whether this is a web address that :class:`Downloads` fetches."""
    return name.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


class Downloads:
    """Fetched videos, in a temporary folder that goes with :meth:`close`. Threads may share one."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._folder = Path(tempfile.mkdtemp(prefix="vidcomp-"))
        self._files: dict[str, Path] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def takes(self, name: str) -> bool:
        """Whether this is an address that is fetched, rather than a file."""
        return is_address(name)

    def local(self, url: str) -> str:
        """The file that holds what is at ``url``, fetched now unless it is there.

        Raises:
            VideoUnreachable: it cannot be fetched, or comes too slowly.
            VideoTooLarge: it is longer than allowed; nothing of it is kept.
        """
        with self._lock:
            known = self._files.get(url)
            number = next(self._numbers)
        if known is not None and known.exists():
            return str(known)
        # Only the extension comes from outside: it helps to tell raw streams apart.
        suffix = "".join(char for char in Path(urlsplit(url).path).suffix[:8] if char.isalnum() or char == ".")
        file = known or self._folder / f"{number}-{threading.get_ident()}{suffix}"
        try:
            self._fetch(url, file)
        except TooLargeError:
            file.unlink(missing_ok=True)
            limit = f"{self._max_bytes >> 20} MiB"
            raise VideoTooLarge(url, f"it is longer than the {limit} that are fetched; name a file") from None
        except TransferError as error:
            file.unlink(missing_ok=True)
            raise VideoUnreachable(
                url, f"it could not be fetched ({error}); check the address and the network"
            ) from None
        with self._lock:
            self._files[url] = file
        return str(file)

    def drop(self, url: str) -> None:
        """Throw away what was fetched from there."""
        with self._lock:
            file = self._files.pop(url, None)
        if file is not None:
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Throw everything away. May be called more than once."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fetch(self, url: str, file: Path) -> None:
        transfer(url, file, max_bytes=self._max_bytes, least_bytes_per_s=_SLOWEST_BYTES_PER_S)
