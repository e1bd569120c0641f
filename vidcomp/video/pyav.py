"""Frames by PyAV: reads every format, on every platform, and tells which frames came damaged.

Decoding hours of video for a few clips would be waste. Where seeking is exact, the container is walked through once
without decoding, which tells the number of every frame by its timestamp and where its key frames are; then only the
frames from the key frame before each clip are decoded.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.container import LONGEST_GAP_S, Decoding, PacketScan, open_container, scan
from vidcomp.video.frames import Damage, Interpolation, target_size
from vidcomp.video.orientation import Orientation, orientation_of
from vidcomp.video.sampling import Selection
from vidcomp.video.streams import choice_notes, info_of, video_stream

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame

    from vidcomp.video.keyframes import KeyPackets


Picture = tuple[int, float, NDArray[np.uint8]]
"""A frame's number in the video, its time in seconds, and its pixels (H, W, 3)."""


class Clock:
    """Turns a container's timestamps into seconds, strictly increasing; the first frame is at `start_s`.

    A stamp that is missing, goes backwards or leaps absurdly gives way to the time that the frame rate implies.
    """

    def __init__(self, fps: float, start_s: float = 0.0) -> None:
        self._step = 1.0 / fps
        self._start = start_s
        self._offset: float | None = None
        self._last: float | None = None
        self.invented = 0

    def tick(self, stamp: float | None, steps: int = 1) -> float:
        """The time of the next frame, or the one so many frames on, given its raw stamp in seconds."""
        usable = stamp is not None and math.isfinite(stamp) and abs(stamp) < 1e9
        if self._last is None:
            self._last = self._start
            self._offset = stamp - self._start if usable and stamp is not None else None
            self.invented += not usable
            return self._last
        if usable and stamp is not None:
            if self._offset is None:
                # The first frames had no time: the clock starts where they have brought it.
                self._offset = stamp - self._last - steps * self._step
            time = stamp - self._offset
            if self._last < time < self._last + LONGEST_GAP_S:
                self._last = time
                return time
        self.invented += 1
        self._last += steps * self._step
        return self._last

    def extend(self, stamp: float) -> None:
        """The video is shown at least until the frame with this raw stamp, which was not decoded."""
        if self._offset is not None and self._last is not None and math.isfinite(stamp) and abs(stamp) < 1e9:
            self._last = max(self._last, stamp - self._offset)

    def extend_by(self, frames: int) -> None:
        """The video is shown for so many frames more, which were not decoded and whose stamps tell nothing."""
        self._last = (self._last or self._start) + frames * self._step

    def seek(self, seconds: float) -> float:
        """Go to a time that is known for certain, in seconds since the first frame, and return it as `tick` does."""
        self._last = self._start + seconds
        return self._last

    @property
    def covered(self) -> float:
        """Seconds from the first frame to the end of the latest."""
        return 0.0 if self._last is None else self._last + self._step - self._start


class PyAVReader:
    """Forward-only decoding with PyAV. Every frame is brought to `size` (width, height), also if it changes midway."""

    name = "pyav"

    def __init__(
        self,
        path: str,
        *,
        short_side: int | None,
        threads: int,
        max_pixels: int,
        interpolation: Interpolation = "bicubic",
        vectors: bool = False,
        keys: KeyPackets | None = None,
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self._path = path
        self._resources = ExitStack()
        try:
            container = self._resources.enter_context(open_container(path))
            stream = video_stream(path, container)
            self._decoding = Decoding(path, container, stream, max_pixels, threads, vectors=vectors, keys=keys)
            self.info = info_of(path, container, stream, self._decoding.first)
            self.clock = Clock(self.info.fps, self.info.start_s)
            self._notes = choice_notes(container, stream)
            self._time_base = stream.time_base
        except BaseException:
            self.close()
            raise
        self.size = target_size(self.info.width, self.info.height, short_side)
        self.decoded = 0
        self._skewed = False
        self._weave = Weave()
        self._reformatter = VideoReformatter()
        self._interpolation = interpolation.upper()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how the file was understood."""
        if not self._skewed:
            return self._notes
        return *self._notes, "its display matrix is none of the eight flips and turns; the pictures are read as stored"

    @property
    def repaired(self) -> int:
        """Coded frames that came damaged or not at all."""
        return self._decoding.repaired

    @property
    def hidden(self) -> int:
        """Coded frames that an edit list hides."""
        return self._decoding.hidden

    def damage(self) -> Damage:
        """How much of what was read so far came damaged or not at all."""
        return self._decoding.damage()

    @property
    def others_end_s(self) -> float:
        """See `Decoding`."""
        return self._decoding.others_end_s

    def pictures(self, selection: Selection, after: int = -1) -> Iterator[Picture]:
        """The selected frames beyond number `after`, as they are decoded; the others are never converted to RGB."""
        packets = plan_seeks(self._path, self.info.container, selection)
        chosen = (
            self._read_through(selection, after) if packets is None else self._seek_through(packets, selection, after)
        )
        for index, seconds, frame in chosen:
            yield index, seconds, self.upright(frame)

    def upright(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """A decoded frame as RGB of `size`, turned as it is to be shown; it is there until the next one is made."""
        orientation = self.orientation(frame)
        width, height = orientation.size(*self.size)
        # Bicubic is what FFmpeg and decord do: where it shrinks a picture, it is widened to cover every pixel.
        woven = self._weave(frame)
        scaled = self._reformatter.reformat(woven, width, height, "rgb24", interpolation=self._interpolation)
        plane = scaled.planes[0]
        # A view, not a copy: each line of the plane may end in padding.
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : 3 * width]
        return orientation.apply(lines.reshape(height, width, 3))

    def orientation(self, frame: VideoFrame) -> Orientation:
        """How a frame is turned when it is shown; what is no flip or turn is left as it is, and noted."""
        orientation = orientation_of(frame)
        self._skewed = self._skewed or orientation is None
        return orientation or Orientation()

    def _read_through(self, selection: Selection, after: int) -> Iterator[tuple[int, float, VideoFrame]]:
        """Decode every frame, and give those selected."""
        for index, seconds, frame in selection.choose(self.timed(), 1 / self.info.fps):
            if index > after:
                yield index, seconds, frame

    def timed(self) -> Iterator[tuple[int, float, VideoFrame]]:
        """Every frame, as decoded, with its number and its time in seconds."""
        base = self._time_base if self.info.container == "avi" else None
        dts = 0
        for frame in self._decoding:
            index = self.decoded
            self.decoded += 1
            stamp = frame.time
            if base is not None:
                # AVI has no times of presentation: frames are shown at those of decoding, one a tick.
                dts = dts + 1 if frame.dts is None else frame.dts
                stamp = float(dts * base)
            yield index, self.clock.tick(stamp), frame

    def _seek_through(
        self, packets: PacketScan, selection: Selection, after: int
    ) -> Iterator[tuple[int, float, VideoFrame]]:
        """Decode what leads up to the selected frames, and give these."""
        assert self._time_base is not None
        for index, seconds, frame in read_by_seeking(self._decoding, packets, selection, self._time_base):
            self.decoded = self._decoding.delivered
            time = self.clock.seek(seconds)
            if index > after:
                yield index, time, frame

    def close(self) -> None:
        """Let go of the file."""
        self._resources.close()


class Weave:
    """Has an interlaced frame scaled as the one picture it is, as the ffmpeg program does.

    Told that a frame is interlaced, FFmpeg's scaler brings each field to size by itself, and the teeth of a comb at
    every moving edge stay in a picture of any size.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._form: tuple[int, int, str] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The same picture, not marked as interlaced."""
        if not frame.interlaced_frame:
            return frame
        form = frame.width, frame.height, frame.format.name
        if self._graph is None or form != self._form:
            self._form, self._graph = form, _unmarking(frame)
        self._graph.vpush(frame)
        return self._graph.vpull()


def _unmarking(frame: VideoFrame) -> Graph:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    graph.link_nodes(source, graph.add("setparams", "field_mode=prog"), graph.add("buffersink")).configure()
    return graph


# A gap of fewer frames is decoded through: seeking back to a key frame would save nothing.
_SHORTEST_GAP = 300
# Containers that hold an index of their key frames by time; others find them by guessing.
_INDEXED = frozenset({"mov", "mp4", "matroska", "webm"})


def plan_seeks(path: str, container: str, selection: Selection) -> PacketScan | None:
    """The walk through the container, if the selection has gaps worth seeking past and seeking is exact."""
    indices = selection.indices
    if indices is None or not _INDEXED & set(container.split(",")):
        return None
    if max((later - earlier for earlier, later in pairwise((0, *indices))), default=0) < _SHORTEST_GAP:
        return None
    packets = scan(path)
    exact = packets.stamps and packets.keys and not packets.shifted and not packets.reconfigured
    return packets if exact and packets.keys[0] == packets.stamps[0] else None


def read_by_seeking(
    decoding: Decoding, packets: PacketScan, selection: Selection, time_base: Fraction
) -> Iterator[tuple[int, float, VideoFrame]]:
    """The selected frames with their numbers and their seconds since the first frame; of the others only what leads
    up to them is decoded.

    For a frame that is damaged beyond decoding the next one stands in.
    """
    stamped = (
        (number, float((stamp - packets.stamps[0]) * time_base), None) for number, stamp in enumerate(packets.stamps)
    )
    step_s = float((packets.stamps[-1] - packets.stamps[0]) * time_base) / max(1, len(packets.stamps) - 1)
    frames: Iterator[VideoFrame] = chain([decoding.first], decoding.following)
    coming = 0  # the number of the next frame to come out of the decoder
    for wanted, alike in groupby(selection.choose(stamped, step_s), key=itemgetter(0)):
        target = packets.stamps[wanted]
        key = packets.keys[bisect_right(packets.keys, target) - 1]
        if bisect_left(packets.stamps, key) > coming:
            decoding.seek(key)
            frames = decoding.following
        # Right behind a seek, frames before the key frame may come that lack what they refer to; they are passed over.
        for frame in frames:
            if frame.pts is not None and frame.pts >= target:
                coming = bisect_right(packets.stamps, frame.pts)
                for _, second, _ in alike:
                    yield wanted, second, frame
                break
        else:
            return
