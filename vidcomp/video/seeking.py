"""Seeking past what nobody asked for: from key frame to key frame, where that is exact.

Decoding hours of video for a few clips would be waste. The container is walked through once without decoding, which
tells the number of every frame by its timestamp and where its key frames are; then only the frames from the key frame
before each clip are decoded. Where numbers could not be told for certain, nothing is skipped.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from vidcomp.video.container import Decoding, PacketScan, scan
from vidcomp.video.sampling import Selection

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

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
