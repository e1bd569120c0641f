"""One process at a time writes a file. The lock goes with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from vidcomp.output.errors import OutputError, unwritable


class Lock:
    """Holds `.NAME.lock` beside a file until closed.

    A file of its own, because the one written may be replaced while it is written.

    Raises:
        OutputError: another process holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.with_name(f".{path.name}.lock")
        try:
            self._handle = self._take()
        except BlockingIOError:
            raise OutputError(
                f"--output {path}: another vidcomp is writing it; wait for that one, or choose another file"
            ) from None
        except OSError as error:
            raise unwritable(path, error) from None

    def close(self) -> None:
        """Let go, and take the lock file away."""
        with contextlib.suppress(OSError):
            self._file.unlink()
        os.close(self._handle)

    def _take(self) -> int:
        while True:
            handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle)
                # Whoever held it before may have removed the file between our opening and our locking it.
                if os.path.exists(self._file) and os.path.samestat(os.fstat(handle), self._file.stat()):  # noqa: PTH110
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
