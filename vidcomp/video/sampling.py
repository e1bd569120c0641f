"""Which frames of a video a model looks at: numbers in, numbers out, no file is touched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# Times closer than this are the same: containers round theirs, some to a microsecond.
_SAME_TIME_S = 1e-6


@dataclass(frozen=True)
class Selection:
    """The frames that a reader keeps: every `stride`-th one, or, where given, just those in `indices` (ascending).

    With `fps`, the video is first sampled so many times per second, and `stride` and `indices` count these samples:
    sample k is the frame nearest in time to k / fps seconds after the first (of two as near, the earlier), so that
    frames of a slower video are repeated, those of a faster one left out, and a variable rate evened out.

    With `keys`, only key frames are kept, at their own times: every one that is at least `stride` frames (or samples)
    behind the one kept before it.
    """

    stride: int = 1
    indices: tuple[int, ...] | None = None
    fps: float | None = None
    keys: bool = False

    def __post_init__(self) -> None:
        if self.keys and self.indices is not None:
            raise ValueError("key frames are not chosen by their numbers: give keys or indices, not both")
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {self.stride}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number, got {self.fps}")
        if self.indices is None:
            return
        if self.stride != 1:
            raise ValueError("give a stride or indices, not both")
        ascending = all(a < b for a, b in zip(self.indices, self.indices[1:], strict=False))
        if not self.indices or self.indices[0] < 0 or not ascending:
            raise ValueError("indices must be ascending frame numbers from 0, each once, and at least one")

    @cached_property
    def _wanted(self) -> frozenset[int]:
        return frozenset(self.indices or ())

    def __contains__(self, number: int) -> bool:
        return number % self.stride == 0 if self.indices is None else number in self._wanted

    @property
    def last(self) -> int | None:
        """The last frame (or sample) wanted, after which reading may stop; None: read to the end."""
        return None if self.indices is None else self.indices[-1]

    def number(self, index: int, second: float, start_s: float = 0.0) -> int:
        """What `stride` and `indices` call a chosen frame: its number in the video or, with `fps`, its sample's.

        `start_s` is the time of the video's first frame.
        """
        return index if self.fps is None else round((second - start_s) * self.fps)

    def apart(self, frames: int, seconds: float) -> bool:
        """Whether two key frames, so many frames and seconds apart, are both kept."""
        return frames >= self.stride if self.fps is None else seconds >= self.stride / self.fps - _SAME_TIME_S

    def choose(self, frames: Iterable[tuple[int, float, T]], step_s: float) -> Iterator[tuple[int, float, T]]:
        """Of a video's frames, each with its number and its seconds, those selected, in order.

        Samples are given at their own times, k / fps after the first frame; a repeated frame comes once for each. One
        frame more than is chosen may be drawn. `step_s` is how long the last frame lasts.
        """
        if self.fps is None:
            for index, second, frame in frames:
                if index in self:
                    yield index, second, frame
                if index == self.last:
                    return
            return
        number, start_s = 0, None
        for (index, shown, frame), until in _with_ends(frames, step_s):
            start_s = shown if start_s is None else start_s
            while (second := start_s + number / self.fps) <= until:
                if number in self:
                    yield index, second, frame
                if number == self.last:
                    return
                number += 1


WHOLE = Selection()
"""Every frame."""


def _with_ends(frames: Iterable[tuple[int, float, T]], step_s: float) -> Iterator[tuple[tuple[int, float, T], float]]:
    """Each frame, and until when it is the nearest; the last one until it ends."""
    held: tuple[int, float, T] | None = None
    for frame in frames:
        if held is not None:
            yield held, (held[1] + frame[1]) / 2 + _SAME_TIME_S
        held = frame
    if held is not None:
        # What begins as the video ends is no more of it.
        yield held, held[1] + step_s - _SAME_TIME_S


@dataclass(frozen=True)
class View:
    """One clip seen through one crop: a single input of a clip model.

    `frame_indices` are the clip's frames, in order; `crop` is where the square crop lies along the longer side, from
    0.0 (left or top) over 0.5 (center) to 1.0 (right or bottom); `repeated` says how many of the frames, at the end,
    are the video's last one again because the video is shorter than the clip.
    """

    frame_indices: tuple[int, ...]
    crop: float = 0.5
    repeated: int = 0

    def __post_init__(self) -> None:
        if not self.frame_indices or not 0.0 <= self.crop <= 1.0 or not 0 <= self.repeated < len(self.frame_indices):
            raise ValueError(f"not a view: {self}")


def whole(stride: int = 1, fps: float | None = None) -> Selection:
    """The whole video: frames (or samples) 0, stride, 2·stride, …"""
    return Selection(stride=stride, fps=fps)


def evenly(numbers: Sequence[int], count: int) -> tuple[int, ...]:
    """At most ``count`` of the numbers: the middle one of each of so many equal parts, each once."""
    middles = ((2 * part + 1) * len(numbers) // (2 * count) for part in range(count))
    return tuple(dict.fromkeys(numbers[middle] for middle in middles))


def count_samples(frame_count: int, frame_rate: float, fps: float | None) -> int:
    """How many frames a video of so many, at so many per second, has when it is sampled `fps` times per second."""
    return frame_count if fps is None else max(1, math.ceil(frame_count / frame_rate * fps - _SAME_TIME_S))


def dense_views(n_frames: int, clip_frames: int, stride: int, clips: int = 10, crops: int = 3) -> tuple[View, ...]:
    """The dense strategy of the literature: `clips` clips × `crops` crops, clip by clip.

    Each clip is `clip_frames` frames, `stride` apart. The clips' starts are spread evenly, the first clip beginning
    with the video and the last ending with it (rounded down); a single clip lies in the middle. Crops are spread
    evenly along the longer side; a single one is central.
    """
    _at_least_one(n_frames=n_frames, clip_frames=clip_frames, stride=stride, clips=clips, crops=crops)
    room = max(0, n_frames - _span(clip_frames, stride))
    starts = [room // 2] if clips == 1 else [room * i // (clips - 1) for i in range(clips)]
    positions = [0.5] if crops == 1 else [i / (crops - 1) for i in range(crops)]
    return tuple(_view(n_frames, start, clip_frames, stride, crop) for start in starts for crop in positions)


def uniform_clips(n_frames: int, clips: int, frames_per_clip: int, stride: int = 1) -> tuple[View, ...]:
    """Clips for untrimmed videos: the video in `clips` equal parts, and from the middle of each one clip, center crop.

    A clip longer than its part reaches into its neighbors, but never beyond the video while the video is long enough.
    """
    _at_least_one(n_frames=n_frames, clips=clips, frames_per_clip=frames_per_clip, stride=stride)
    span = _span(frames_per_clip, stride)
    room = max(0, n_frames - span)
    starts = [min(room, max(0, ((2 * i + 1) * n_frames - clips * span) // (2 * clips))) for i in range(clips)]
    return tuple(_view(n_frames, start, frames_per_clip, stride, 0.5) for start in starts)


def needed(views: Iterable[View], fps: float | None = None) -> Selection:
    """The frames that any of the views looks at, each once: read these, forward only, and every view has its own."""
    return Selection(indices=tuple(sorted({index for view in views for index in view.frame_indices})), fps=fps)


def rows_of(view: View, kept: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Where a view's frames lie among the frames that a reader delivered.

    `kept` (K,) are the delivered frames' indices, ascending. Returns the rows (clip frames,) into them, and how many
    had to be repeated: a frame that never arrived, as the video ended early, is replaced by the last one before it.

    Raises:
        ValueError: `kept` is empty.
    """
    if not len(kept):
        raise ValueError("no frame was delivered")
    wanted = np.asarray(view.frame_indices, dtype=np.int64)
    rows = np.clip(np.searchsorted(kept, wanted, side="right") - 1, 0, None).astype(np.int64)
    missing = kept[rows] != wanted
    missing[len(wanted) - view.repeated :] = True
    return rows, int(np.count_nonzero(missing))


def _view(n_frames: int, start: int, clip_frames: int, stride: int, crop: float) -> View:
    steps = range(start, start + clip_frames * stride, stride)
    inside = tuple(index for index in steps if index < n_frames)
    # The last frame of the video, which a stride may have stepped over, stands in for all that lie beyond the end.
    repeated = clip_frames - len(inside)
    return View(inside + (n_frames - 1,) * repeated, crop, repeated)


def _span(clip_frames: int, stride: int) -> int:
    return (clip_frames - 1) * stride + 1


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
