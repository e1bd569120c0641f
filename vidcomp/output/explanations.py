"""Files that show what the network looked at in each video: a picture, the map's numbers, and a video if asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from vidcomp.attention import AttentionMap, importance_of
from vidcomp.files import absolute, printable, replace_file
from vidcomp.inference.prediction import Prediction
from vidcomp.output import attention_plot
from vidcomp.output.attention_video import write_video
from vidcomp.output.places import Places
from vidcomp.output.plotting import PictureError
from vidcomp.output.thumbnails import pictures_of
from vidcomp.video import DecodeWorker

SUFFIX = ".attention"
"""Stands between a video's name and the extension of what is made of it."""


class Explanations:
    """Writes ``NAME.attention.png``, ``.npz`` and perhaps ``.mp4`` for each video, in folders as the videos lie.

    Use it as a context manager: leaving it ends the decoding process.
    """

    def __init__(self, folder: Path, paths: Sequence[str], *, root: str | None = None, video: bool = False) -> None:
        """Settle where everything goes.

        Args:
            folder: where the files go; made when the first is written.
            paths: all videos that may come.
            root: the folder below which the videos lie; by default the deepest that holds them all. Names in ``folder``
                are relative to it, see :class:`~vidcomp.output.places.Places`.
            video: make the MP4 too.
        """
        self._video = video
        self._places = Places(folder)
        self._root = absolute(root) if root is not None else _shared_folder(paths)
        self._worker = DecodeWorker()

    def __enter__(self) -> Explanations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.close()

    def beside(self, path: str, extension: str) -> Path:
        """Where a video's file of this extension goes."""
        whole = absolute(path)
        try:
            relative = os.path.relpath(whole, self._root)
        except ValueError:  # another drive of Windows
            relative = whole.replace(":", "")
        place = self._places.of(relative, whole)
        return place.with_name(f"{place.name}{SUFFIX}.{extension}")

    def write(self, path: str, prediction: Prediction) -> None:
        """Make the files of one labelled video; each is there whole or not at all.

        Raises:
            PictureError: there is no attention to show, or matplotlib is missing.
            VideoError: the frames cannot be decoded again.
            OSError: the files cannot be written.
        """
        attention = prediction.attention
        if attention is None or attention.indices is None:
            raise PictureError("this pass has no attention map")
        picture = self.beside(path, "png")
        picture.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.beside(path, "npz"), [_numbers(attention)])
        needed = attention_plot.frames_needed(attention)
        decoded = pictures_of(path, self._worker, attention.indices[needed].tolist())
        frames = {frame: decoded[int(attention.indices[frame])] for frame in needed}
        replace_file(picture, [attention_plot.draw(attention, frames, _title(path, prediction))])
        if self._video:
            write_video(self.beside(path, "mp4"), path, self._worker, attention, prediction.frames.end_s)


def is_explanation(path: str) -> bool:
    """Whether a video's name is one that this makes: such a one is not to be labelled in turn."""
    return path.endswith(f"{SUFFIX}.mp4")


def _numbers(attention: AttentionMap) -> bytes:
    """The map as NumPy's .npz: docs/attention.md names its arrays."""
    groups, frames = attention.groups, len(attention.seconds)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        weights=attention.weights,
        seconds=attention.seconds,
        indices=np.asarray(attention.indices),
        importance=importance_of(attention.weights),
        compressor=np.array(attention.compressor),
        bins=np.zeros((0, frames), np.float32) if groups is None else groups,
    )
    return buffer.getvalue()


def _title(path: str, prediction: Prediction) -> str:
    best = prediction.top
    said = "no label" if best is None else f"{best.label} {best.probability:.0%}"
    assert prediction.attention is not None
    return f"{printable(Path(path).name)}: {said} ({prediction.model}, {prediction.attention.compressor})"


def _shared_folder(paths: Sequence[str]) -> str:
    try:
        return os.path.commonpath([os.path.dirname(absolute(path)) for path in paths])  # noqa: PTH120
    except ValueError:
        return absolute(os.curdir)
