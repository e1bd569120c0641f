"""A copy of a video with its attention drawn under the picture, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention import ABOUT_MEAN, ATTENDED, AttentionMap, bar_heights, importance_of, timeline
from vidcomp.files import replacing
from vidcomp.video import DecodeOptions, DecodeWorker

_SHORT_SIDE = 240
_BAND = 48
_MARGIN = 4
_CLOCK = 90_000
# The colours of the terminal's timeline: little, about the mean, attended; then the background and the cursor.
_LITTLE, _MEAN, _ATTENDED = (110, 110, 110), (60, 170, 190), (245, 196, 0)
_BACKGROUND, _CURSOR = (20, 20, 20), (255, 255, 255)


def write_video(target: Path, path: str, worker: DecodeWorker, attention: AttentionMap, end_s: float | None) -> None:
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
        worker.open(path, DecodeOptions(_SHORT_SIDE, max_damage=1.0)) as reader,
        av.open(str(new), "w", format="mp4") as container,
    ):
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4")
        stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
        # Codecs of this kind want even sizes: an odd last line or column is left out.
        stream.width, stream.height = reader.size[0] // 2 * 2, reader.size[1] // 2 * 2 + _BAND
        stream.pix_fmt = "yuv420p"
        length_s = max(end_s or 0.0, float(attention.seconds[-1]))
        band = _band(attention, stream.width, end_s)
        for chunk in reader.chunks():
            for pixels, seconds in zip(chunk.pixels, chunk.seconds.tolist(), strict=True):
                picture = pixels[: stream.height - _BAND, : stream.width]
                drawn = np.concatenate([picture, _with_cursor(band, seconds / length_s if length_s else 0.0)])
                frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
                frame.pts, frame.time_base = round(seconds * _CLOCK), Fraction(1, _CLOCK)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _band(attention: AttentionMap, width: int, end_s: float | None) -> NDArray[np.uint8]:
    """The timeline (band, width, 3): a column's height and colour are the importance at its time."""
    values = timeline(attention.seconds.tolist(), importance_of(attention.weights).tolist(), width, end_s)
    colours = np.where(
        (values >= ATTENDED)[:, None], _ATTENDED, np.where((values >= ABOUT_MEAN)[:, None], _MEAN, _LITTLE)
    )
    heights = np.ceil(bar_heights(values) * (_BAND - 2 * _MARGIN))
    rows = np.arange(_BAND - _MARGIN, -_MARGIN, -1)[:, None]
    filled = (rows >= 1) & (rows <= heights)
    drawn: NDArray[np.uint8] = np.where(filled[:, :, None], colours, np.array(_BACKGROUND)).astype(np.uint8)
    return drawn


def _with_cursor(band: NDArray[np.uint8], place: float) -> NDArray[np.uint8]:
    drawn: NDArray[np.uint8] = band.copy()
    column = min(band.shape[1] - 2, int(place * band.shape[1]))
    drawn[:, column : column + 2] = _CURSOR
    return drawn
