"""Which of the videos found are wanted: patterns, a share of the work for this machine, the first few."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from vidcomp.video.discovery import VideoFile


@dataclass(frozen=True)
class Shard:
    """Share `number` (from 1) of `of` equal ones; which share a video is in follows from its relative path alone."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard {self.number}/{self.of}: the first number goes from 1 to the second")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`, such as 2/8.

        Raises:
            ValueError: it is not of that form.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise ValueError(f"shard {text!r} is not of the form i/n, such as 2/8")
        return cls(int(match[1]), int(match[2]))

    def holds(self, relative: str) -> bool:
        """Whether the video of that relative path is in this share: on every machine the same."""
        digest = hashlib.sha256(os.fsencode(relative)).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


@dataclass(frozen=True)
class VideoSelection:
    """What to take of the videos found.

    A pattern without `/` is compared with the file's name and with the name of each folder on the way to it; one with
    `/` with the whole relative path, where `*` passes over `/` too. A video must match one of `include`, if there are
    any, and none of `exclude`. Then comes `shard`, then `limit`: the first so many of what is left.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: Shard | None = None
    limit: int | None = None

    def of(self, videos: Iterable[VideoFile]) -> list[VideoFile]:
        """The chosen videos, in their order."""
        return list(islice((video for video in videos if self._wants(video.relative)), self.limit))

    def _wants(self, relative: str) -> bool:
        if self.include and not any(_matches(relative, pattern) for pattern in self.include):
            return False
        if any(_matches(relative, pattern) for pattern in self.exclude):
            return False
        return self.shard is None or self.shard.holds(relative)


def _matches(relative: str, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatchcase(relative, pattern.removeprefix("./"))
    return any(fnmatchcase(part, pattern) for part in relative.split("/"))
