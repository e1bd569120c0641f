"""Videos named by an address: fetched whole into a file first, so that no decoder ever speaks to a network."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from vidcomp.video.errors import VideoTooLarge, VideoUnreachable

SCHEMES = ("http", "https")
MAX_BYTES = 4 << 30
"""Bytes of a video above which it is not fetched."""

_SILENCE_S = 30.0
_BLOCK = 1 << 20
# A server that sends less than this for minutes would hold up a whole batch.
_SLOWEST_BYTES_PER_S = 10_000
_PATIENCE_S = 60.0


def is_address(name: str) -> bool:
    """Whether this is a web address that :class:`Downloads` fetches."""
    return name.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


class Downloads:
    """Fetched videos, in a temporary folder that goes with :meth:`close`. Threads may share one."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._opener = _web_only()
        self._folder = Path(tempfile.mkdtemp(prefix="vidcomp-"))
        self._files: dict[str, Path] = {}
        self._lock = threading.Lock()

    def local(self, url: str) -> str:
        """The file that holds what is at ``url``, fetched now unless it is there.

        Raises:
            VideoUnreachable: it cannot be fetched, or comes too slowly.
            VideoTooLarge: it is longer than allowed; nothing of it is kept.
        """
        with self._lock:
            known = self._files.get(url)
            number = len(self._files)
        if known is not None and known.exists():
            return str(known)
        # Only the extension comes from outside: it helps to tell raw streams apart.
        suffix = "".join(char for char in Path(urlsplit(url).path).suffix[:8] if char.isalnum() or char == ".")
        file = known or self._folder / f"{number}-{threading.get_ident()}{suffix}"
        try:
            with self._opener.open(url, timeout=_SILENCE_S) as response, file.open("wb") as out:
                self._copy(url, response, out)
        except (VideoTooLarge, VideoUnreachable):
            file.unlink(missing_ok=True)
            raise
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            file.unlink(missing_ok=True)
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
            raise VideoUnreachable(
                url, f"it could not be fetched ({reason}); check the address and the network"
            ) from None
        with self._lock:
            self._files[url] = file
        return str(file)

    def drop(self, url: str) -> None:
        """Throw away what was fetched from there."""
        with self._lock:
            file = self._files.get(url)
        if file is not None:
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Throw everything away. May be called more than once."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _copy(self, url: str, response: http.client.HTTPResponse, out: IO[bytes]) -> None:
        promised = response.headers.get("Content-Length")
        if promised is not None and promised.isdecimal() and int(promised) > self._max_bytes:
            raise self._too_large(url)
        began, have = time.monotonic(), 0
        while block := response.read(_BLOCK):
            have += len(block)
            if have > self._max_bytes:
                raise self._too_large(url)
            out.write(block)
            if time.monotonic() - began > _PATIENCE_S + have / _SLOWEST_BYTES_PER_S:
                raise VideoUnreachable(url, "it comes too slowly; fetch it by other means and name the file")
        if promised is not None and promised.isdecimal() and have < int(promised):
            raise VideoUnreachable(url, f"the connection ended after {have} of {promised} bytes; try again")

    def _too_large(self, url: str) -> VideoTooLarge:
        return VideoTooLarge(url, f"it is longer than the {self._max_bytes >> 20} MiB that are fetched; name a file")


def _web_only() -> urllib.request.OpenerDirector:
    """An opener without the handlers of files, FTP and data that urllib adds by itself, also for redirections."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPRedirectHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "vidcomp")]
    return opener
