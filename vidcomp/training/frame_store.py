"""Decoded frames of a labelled folder in one memory-mapped file, so that an epoch need not decode again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import DecodeOptions, DecodeWorker, VideoError, find_videos, whole


@dataclass(frozen=True)
class StoredVideo:
    """A video's class (its folder's name), and which frames of the store are its own."""

    path: str
    label: str
    first: int
    frames: int


class FrameStore:
    """Frames (N, H, W, 3) of many videos, read every ``stride`` frames at one short side."""

    def __init__(self, file: Path) -> None:
        """Open a store that :meth:`build` made."""
        index = json.loads(file.with_suffix(".json").read_text())
        self.videos = [StoredVideo(**video) for video in index["videos"]]
        self.frames: NDArray[np.uint8] = np.memmap(file, np.uint8, "r").reshape(-1, *index["size"], 3)

    def pixels(self, video: StoredVideo) -> NDArray[np.uint8]:
        """The frames (T, H, W, 3) of one video; a view of the file."""
        return self.frames[video.first : video.first + video.frames]

    @staticmethod
    def build(root: Path, file: Path, short_side: int, stride: int, skipped: Callable[[str], None]) -> FrameStore:
        """Decode every video under ``root`` (a sub-folder a class) into ``file`` and an index beside it.

        Videos that cannot be read, or whose frames have another shape than the first one's, are passed to ``skipped``
        as a line and left out.
        """
        videos: list[StoredVideo] = []
        size: tuple[int, int] | None = None
        first = 0
        with file.open("wb") as out, DecodeWorker() as worker:
            for source in find_videos([str(root)]).videos:
                try:
                    with worker.open(source.path, DecodeOptions(short_side, whole(stride))) as reader:
                        pixels = np.concatenate([chunk.pixels for chunk in reader.chunks()])
                except VideoError as error:
                    skipped(str(error))
                    continue
                height, width = pixels.shape[1:3]
                if size is None:
                    size = (height, width)
                if size != (height, width):
                    skipped(f"{source.path}: {width}x{height} frames in a store of {size[1]}x{size[0]}")
                    continue
                out.write(pixels.tobytes())
                videos.append(StoredVideo(source.relative, source.relative.split("/")[0], first, len(pixels)))
                first += len(pixels)
        file.with_suffix(".json").write_text(json.dumps({"size": size, "videos": [asdict(video) for video in videos]}))
        return FrameStore(file)
