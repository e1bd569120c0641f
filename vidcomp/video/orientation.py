"""How a picture is to be shown: the flips and turns that a display matrix asks for."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Scalar = TypeVar("Scalar", bound=np.generic)

_DISPLAY_ORIENTATION = 47  # the payload type of such an SEI message, in H.264 and HEVC alike


@dataclass(frozen=True)
class Orientation:
    """One of the eight flips and turns: left and right are exchanged if `mirrored`, then the picture is turned.

    `rotation` is in degrees counter-clockwise: 0, 90, 180 or 270.
    """

    rotation: int = 0
    mirrored: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height, in pixels, of a picture of that size when it is shown, or the other way round."""
        return (height, width) if self.rotation % 180 else (width, height)

    def apply(self, pixels: NDArray[Scalar], axis: int = 0) -> NDArray[Scalar]:
        """Stored pictures as they are to be shown, whose height is along `axis`, and width next: a view of the same
        memory.
        """
        mirrored = np.flip(pixels, axis + 1) if self.mirrored else pixels
        return np.rot90(mirrored, self.rotation // 90, (axis, axis + 1))

    def turn(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (..., 2) on stored pictures, right and down, as they are on the pictures that are shown."""
        x, y = (-vectors[..., 0] if self.mirrored else vectors[..., 0]), vectors[..., 1]
        for _ in range(self.rotation // 90):
            x, y = y, -x
        return np.stack([x, y], axis=-1) if self != Orientation() else vectors


def orientation_of(frame: VideoFrame) -> Orientation | None:
    """What a frame's display matrix asks for: upright if it has none, None if it is no flip or turn."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return Orientation() if matrix is None else orientation_from(struct.unpack("=9i", bytes(matrix)))


def orientation_from(matrix: Sequence[int]) -> Orientation | None:
    """The flip or turn that a 3 × 3 display matrix (9 numbers, row by row) asks for, as FFmpeg understands it.

    Its scale and offset do not matter. None if it is singular, or turns by anything but a multiple of 90 degrees.
    """
    a, b, _, c, d = matrix[:5]
    if not (math.hypot(a, c) and math.hypot(b, d)):
        return None
    # As FFmpeg's autorotate does: turns are told to a degree, and flips by the signs on the diagonal in use.
    degrees = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360
    match degrees:
        case 0:
            return Orientation(180, True) if d < 0 else Orientation()
        case 90:
            return Orientation(90, True) if c > 0 else Orientation(270)
        case 180:
            return Orientation(180) if d < 0 else Orientation(0, True)
        case 270:
            return Orientation(270, True) if c < 0 else Orientation(90)
    return None


def turns_itself(packet: bytes, codec: str, extradata: bytes | None) -> bool:
    """Whether a coded picture carries a display orientation of its own, which may differ from the file's."""
    if codec not in ("h264", "hevc"):
        return False
    hevc = codec == "hevc"
    for unit in _nal_units(packet, hevc, extradata or b""):
        kind = unit[0] >> 1 & 63 if hevc else unit[0] & 31
        if kind == (39 if hevc else 6) and _DISPLAY_ORIENTATION in _sei_types(unit[2 if hevc else 1 :]):
            return True
        if kind < 32 if hevc else 1 <= kind <= 5:
            return False  # the picture itself: what is said of it comes before
    return False


def _nal_units(packet: bytes, hevc: bool, extradata: bytes) -> Iterator[bytes]:
    """The units of a packet that are not empty, with their lengths before them (MP4, MKV) or start codes (AVI)."""
    if extradata[:1] == b"\x01" and len(extradata) > 22 - 15 * (not hevc):
        width = (extradata[21 if hevc else 4] & 3) + 1
        at = 0
        while at + width < len(packet):
            end = at + width + int.from_bytes(packet[at : at + width], "big")
            if end > at + width:
                yield packet[at + width : end]
            at = end
    else:
        yield from filter(None, packet.split(b"\0\0\1")[1:])


def _sei_types(payload: bytes) -> Iterator[int]:
    """The types of the messages in an SEI unit's payload."""
    payload = payload.replace(b"\0\0\3", b"\0\0")
    at = 0
    while at + 2 < len(payload):
        numbers = []
        for _ in ("type", "size"):
            number = 0
            while at < len(payload) and payload[at] == 255:
                number, at = number + 255, at + 1
            numbers.append(number + payload[at] if at < len(payload) else number)
            at += 1
        yield numbers[0]
        at += numbers[1]
