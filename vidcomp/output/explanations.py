"""Files that show what the network looked at in each video: a picture, the map's numbers, and a video if asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention import ABOUT_MEAN, ATTENDED, AttentionMap, bar_heights, importance_of, timeline
from vidcomp.files import absolute, printable, replace_file, replacing
from vidcomp.inference.prediction import Prediction
from vidcomp.output import attention_plot
from vidcomp.output.places import Places
from vidcomp.output.plots import PictureError
from vidcomp.video import DecodeOptions, DecodePool, Selection

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

THUMBNAIL_SIDE = 96
"""Pixels of the shorter side of small pictures."""

_SHORT_SIDE = 240
_BAND = 48
_MARGIN = 4
CLOCK = 90_000
"""Ticks of a second in the videos that are made."""
# The colors of the terminal's timeline: little, about the mean, attended; then the background and the cursor.
_LITTLE, _MEAN, _ATTENDED = (110, 110, 110), (60, 170, 190), (245, 196, 0)
_BACKGROUND, _CURSOR = (20, 20, 20), (255, 255, 255)

SUFFIX = ".attention"
"""Stands between a video's name and the extension of what is made of it."""


class Explanations:
    """Writes ``NAME.attention.png``, ``.npz`` and perhaps ``.mp4`` for each video, in folders as the videos lie.

    Use it as a context manager: leaving it ends its decoding process, if it has one of its own.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[str],
        *,
        root: str | None = None,
        video: bool = False,
        pool: DecodePool | None = None,
    ) -> None:
        """Settle where everything goes.

        Args:
            folder: where the files go; made when the first is written.
            paths: all videos that may come.
            root: the folder below which the videos lie; by default the deepest that holds them all. Names in ``folder``
                are relative to it, see :class:`~vidcomp.output.places.Places`.
            video: make the MP4 too.
            pool: whose processes decode the pictures; by default its own.
        """
        self._video = video
        self._places = Places(folder)
        self._root = absolute(root) if root is not None else shared_folder(paths)
        self._own = DecodePool()
        self._pool = pool or self._own

    def __enter__(self) -> Explanations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own.close()

    def beside(self, path: str, extension: str) -> Path:
        """Where a video's file of this extension goes."""
        place = self._places.of(*relative_to(self._root, path))
        return place.with_name(f"{place.name}{SUFFIX}.{extension}")

    def write(self, path: str, prediction: Prediction) -> None:
        """Make the files of one labeled video; each is there whole or not at all.

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
        shown = attention_plot.without_filling(attention)
        assert shown.indices is not None
        needed = attention_plot.frames_needed(shown)
        decoded = pictures_of(path, self._pool, shown.indices[needed].tolist())
        frames = {frame: decoded[int(shown.indices[frame])] for frame in needed}
        replace_file(picture, [attention_plot.draw(shown, frames, _title(path, prediction))])
        if self._video:
            write_video(self.beside(path, "mp4"), path, self._pool, attention, prediction.frames.end_s)


def is_explanation(path: str) -> bool:
    """Whether a video's name is one that this makes: such a one is not to be labeled in turn."""
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


def relative_to(root: str, path: str) -> tuple[str, str]:
    """The path of a video relative to a folder, and its absolute one."""
    whole = absolute(path)
    try:
        return os.path.relpath(whole, root), whole
    except ValueError:  # another drive of Windows
        return whole.replace(":", ""), whole


def shared_folder(paths: Sequence[str]) -> str:
    """The deepest folder that holds all of the videos."""
    try:
        return os.path.commonpath([os.path.dirname(absolute(path)) for path in paths])  # noqa: PTH120
    except ValueError:
        return absolute(os.curdir)


def pictures_of(
    path: str, pool: DecodePool, indices: Iterable[int], *, short_side: int = THUMBNAIL_SIDE
) -> dict[int, NDArray[np.uint8]]:
    """The frames of the numbers asked for, as pictures (H, W, 3).

    A file may hold fewer frames than it promises: the last one before stands in for a frame that did not arrive.

    Raises:
        VideoError: nothing can be decoded.
    """
    wanted = sorted(set(indices))
    # The first frame is there even where the file promises more than it holds.
    selection = Selection(indices=tuple(sorted({0, *wanted})))
    arrived: dict[int, NDArray[np.uint8]] = {}
    with pool.open(path, DecodeOptions(short_side, selection, max_damage=1.0)) as reader:
        for chunk in reader.chunks():
            arrived.update(zip(chunk.indices.tolist(), chunk.pixels, strict=True))
    numbers = np.array(sorted(arrived))
    places = np.clip(np.searchsorted(numbers, wanted, side="right") - 1, 0, None)
    return {index: arrived[int(numbers[place])] for index, place in zip(wanted, places.tolist(), strict=True)}


def write_video(target: Path, path: str, pool: DecodePool, attention: AttentionMap, end_s: float | None) -> None:
    """Write an MP4 to ``target``, whole or not at all: the video at 240 pixels, under it importance over time.

    The frames keep their times; a white line tells where in the timeline they are. Sound is left out. Memory holds a
    chunk of frames, however long the video.

    Raises:
        VideoError: the video cannot be decoded.
        OSError: the file cannot be written.
    """
    import av

    with (
        replacing(target) as new,
        pool.open(path, DecodeOptions(_SHORT_SIDE, max_damage=1.0)) as reader,
        av.open(str(new), "w", format="mp4") as container,
    ):
        stream = video_stream(container, reader.size[0], reader.size[1] // 2 * 2 + _BAND)
        length_s = max(end_s or 0.0, float(attention.seconds[-1]))
        band = _band(attention, stream.width, end_s)
        for chunk in reader.chunks():
            for pixels, seconds in zip(chunk.pixels, chunk.seconds.tolist(), strict=True):
                picture = pixels[: stream.height - _BAND, : stream.width]
                drawn = np.concatenate([picture, _with_cursor(band, seconds / length_s if length_s else 0.0)])
                frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
                frame.pts, frame.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def video_stream(container: OutputContainer, width: int, height: int) -> VideoStream:
    """A stream of a new file for pictures of that size, less an odd last line or column; its clock is :data:`CLOCK`."""
    import av

    stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4")
    stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
    # Codecs of this kind want even sizes.
    stream.width, stream.height = width // 2 * 2, height // 2 * 2
    stream.pix_fmt = "yuv420p"
    return stream


def _band(attention: AttentionMap, width: int, end_s: float | None) -> NDArray[np.uint8]:
    """The timeline (band, width, 3): a column's height and color are the importance at its time."""
    values = timeline(attention.seconds.tolist(), importance_of(attention.weights).tolist(), width, end_s)
    colors = np.where(
        (values >= ATTENDED)[:, None], _ATTENDED, np.where((values >= ABOUT_MEAN)[:, None], _MEAN, _LITTLE)
    )
    heights = np.ceil(bar_heights(values) * (_BAND - 2 * _MARGIN))
    rows = np.arange(_BAND - _MARGIN, -_MARGIN, -1)[:, None]
    filled = (rows >= 1) & (rows <= heights)
    drawn: NDArray[np.uint8] = np.where(filled[:, :, None], colors, np.array(_BACKGROUND)).astype(np.uint8)
    return drawn


def _with_cursor(band: NDArray[np.uint8], place: float) -> NDArray[np.uint8]:
    drawn: NDArray[np.uint8] = band.copy()
    column = min(band.shape[1] - 2, int(place * band.shape[1]))
    drawn[:, column : column + 2] = _CURSOR
    return drawn
