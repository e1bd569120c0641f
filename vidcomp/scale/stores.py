"""Object stores, by fsspec: what counts as an address in one, and an actor's room for what it fetches."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidcomp.transfer import TooLargeError, TransferError
from vidcomp.video.remote import Downloads, is_address

STORES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
"""Object stores by their scheme, each with the package that fsspec needs for it."""

_STORE = re.compile(rf"({'|'.join(STORES)}):/+", re.IGNORECASE)
_SCRATCH, _LOCK = "vidcomp-scratch-", ".lock"
_BLOCK = 1 << 20


class StoreError(Exception):
    """A store cannot be used: one line that says why."""


def is_store(name: str) -> bool:
    """Whether this names something in an object store."""
    return _STORE.match(name) is not None


def address_of(name: str) -> str:
    """The address that was meant where it passed through a path, which leaves one slash of two: ``s3:/bucket/x``."""
    match = _STORE.match(name)
    return name if match is None else f"{match[1].lower()}://{name[match.end() :]}"


def filesystem(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, with the user's credentials as its library finds them, and the path in it.

    A local path is an address, too.

    Raises:
        StoreError: its package is not installed, or it refuses.
    """
    import fsspec.core

    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError:
        scheme = address.partition(":")[0].lower()
        package = STORES.get(scheme, f"fsspec's package for {scheme}")
        raise StoreError(f"{address}: {scheme}:// needs {package}; pip install {package}") from None
    except Exception as error:
        raise StoreError(f"{address}: {reason_of(error)}") from None
    return system, path


def reason_of(error: Exception) -> str:
    """What an exception of a store's library says, in a line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


class Scratch(Downloads):
    """What an actor fetches, in a folder of its own under the system's temporary one (``TMPDIR``).

    A video goes when it is labeled, so it holds no more of them than the classifier has begun, each of ``max_bytes`` at
    most. What an actor that was killed has left goes when the next one on the same node begins.
    """

    def __init__(self, *, web: bool, **limits: int) -> None:
        """``web``: take http and https addresses too."""
        super().__init__(**limits)
        self._web = web
        self._folder.rmdir()
        _sweep(Path(tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        self._owner = FileLock(self._folder / _LOCK, thread_local=False)
        self._owner.acquire()

    def takes(self, name: str) -> bool:
        """Whether this is an address that is fetched, rather than a file."""
        return is_store(name) or (self._web and is_address(name))

    def close(self) -> None:
        """Throw everything away."""
        self._owner.release()
        super().close()

    def _fetch(self, url: str, file: Path) -> None:
        if not is_store(url):
            super()._fetch(url, file)
            return
        try:
            system, path = filesystem(url)
            with system.open(path, "rb") as source, file.open("wb") as target:
                while block := source.read(_BLOCK):
                    if target.tell() + len(block) > self._max_bytes:
                        raise TooLargeError(f"it is longer than {self._max_bytes} bytes")
                    target.write(block)
        except (TransferError, MemoryError):
            raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise TransferError(f"{self._folder.parent} is full" if full else reason_of(error)) from None
        except Exception as error:  # each store's library has its own
            raise TransferError(reason_of(error)) from None


def _sweep(folder: Path) -> None:
    """Remove the scratch folders whose owners have died."""
    for left in folder.glob(f"{_SCRATCH}*"):
        try:
            with FileLock(left / _LOCK, blocking=False):
                shutil.rmtree(left, ignore_errors=True)
        except (Timeout, OSError):
            continue
