"""Which videos are being worked on, noted beside the labels, so that one that kills the program is found out."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from vidcomp.inference.batch import Stamp

_TOGETHER, _ALONE = 1, 2


class InProgress:
    """`.NAME.inprogress` beside a file: there while videos are worked on, and after the program was killed.

    A note that cannot be written stops nothing. It is not made safe against a power cut, which is no video's fault.
    """

    def __init__(self, path: Path, *, resume: bool = True) -> None:
        """Read what a program that was killed has left; without `resume`, forget it."""
        self._file = path.with_name(f".{path.name}.inprogress")
        # By key: how the video was worked on, and the size and time of change of its file.
        self._suspects = self._read() if resume else {}
        self._begun: dict[str, tuple[int, int, int]] = {}

    def deaths(self, key: str, stamp: Stamp | None) -> int:
        """How often the program died while this file was worked on: 0, 1, or 2 if the last time it was alone."""
        how, *before = self._suspects.get(key, (0, 0, 0))
        return how if stamp is not None and before == [stamp.size, stamp.mtime_ns] else 0

    def begin(self, key: str, stamp: Stamp | None, *, alone: bool) -> None:
        """Work on this video begins."""
        if stamp is not None:
            self._begun[key] = (_ALONE if alone else _TOGETHER, stamp.size, stamp.mtime_ns)
            self._write()

    def done(self, key: str) -> None:
        """The video has its record, or needs none."""
        if (self._begun.pop(key, None), self._suspects.pop(key, None)) != (None, None):
            self._write()

    def close(self) -> None:
        """The program ends as it should: what was begun has killed nobody."""
        self._begun.clear()
        self._write()

    def _write(self) -> None:
        noted = {**self._suspects, **self._begun}
        with contextlib.suppress(OSError):
            if not noted:
                self._file.unlink(missing_ok=True)
                return
            new = self._file.with_name(f"{self._file.name}.new")
            new.write_text(json.dumps(noted), encoding="ascii")
            new.replace(self._file)

    def _read(self) -> dict[str, tuple[int, int, int]]:
        try:
            noted = json.loads(self._file.read_text(encoding="ascii"))
            return {str(key): (int(how), int(size), int(mtime_ns)) for key, (how, size, mtime_ns) in noted.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
