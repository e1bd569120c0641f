"""What decoding is asked for, and what it gives: frames with their timestamps, what the file says of itself, a report.

And what frames become for a network: crops, and a normalized float tensor, on whichever device they are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.sampling import WHOLE, Selection

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

Interpolation: TypeAlias = Literal["bicubic", "area"]
"""FFmpeg's filters by which pictures are scaled."""

Layout: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""For each array beside the frames its type, as NumPy writes it, and the shape of what belongs to one frame."""

DecoderName: TypeAlias = Literal["auto", "decord", "pyav"]

MAX_PIXELS = 64 * 1024 * 1024
"""Pixels of a picture above which a video is refused; twice what 8K has."""

MAX_DAMAGE = 0.5
"""The share of a video's coded frames that may come damaged, or not at all, before it is an error."""

MAX_CHUNK_BYTES = 8 * 1024 * 1024
"""Pixels of one chunk, in bytes: a chunk holds fewer frames rather than more than this (but always one)."""


def check_decoder(name: str) -> None:
    """Raise ValueError if there is no decoder of that name."""
    if name not in get_args(DecoderName):
        raise ValueError(f"decoder must be one of {', '.join(get_args(DecoderName))}, got {name!r}")


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode.

    `short_side`: pixels of the shorter side, None for the source's size. `selection`: which frames to
    keep. `chunk_frames`: most frames in one chunk. `threads`: of the decoder; one by default, because several videos
    are decoded side by side, and threads may make the concealing of damage depend on timing; 0 takes all cores.
    `max_pixels`: larger pictures are refused, before and after scaling. `max_damage`: the share,
    0 to 1, of the coded frames read that may come damaged or not at all. `decoder`: see `Reader`. `modalities`: RGB
    frames, or what of the bitstream is wanted: see `vidcomp.video.groups`; so many groups of it are `joined` to one.
    `interpolation`: how pictures are scaled; `area` is PyAV's alone, and never that of a bitstream.
    """

    short_side: int | None = None
    selection: Selection = WHOLE
    decoder: DecoderName = "auto"
    chunk_frames: int = 32
    threads: int = 1
    max_pixels: int = MAX_PIXELS
    max_damage: float = MAX_DAMAGE
    modalities: tuple[str, ...] = ("rgb",)
    joined: int = 1
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        check_decoder(self.decoder)
        if self.short_side is not None and self.short_side < 1:
            raise ValueError(f"short_side must be at least 1 pixel, got {self.short_side}")
        if self.chunk_frames < 1 or self.threads < 0 or self.max_pixels < 1:
            raise ValueError(f"chunk_frames and max_pixels must be at least 1, threads at least 0: {self}")
        if not 0 <= self.max_damage <= 1:
            raise ValueError(f"max_damage is a share from 0 to 1, got {self.max_damage}")

    def frames_per_chunk(self, size: tuple[int, int], layout: Layout | None = None) -> int:
        """Frames in a full chunk of pictures of `size` (width, height), and of what `layout` says lies beside them."""
        beside = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in (layout or {}).values())
        return max(1, min(self.chunk_frames, MAX_CHUNK_BYTES // (3 * size[0] * size[1] + beside)))


DEFAULTS = DecodeOptions()


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself. Nothing here is proof of what can be decoded.

    `width` and `height` are pixels of the source as it is shown: stored pictures are mirrored left to right if
    `mirrored`, then turned by `rotation` (degrees counter-clockwise: 0, 90, 180 or 270).
    `fps` is frames per second on average; `duration_s` and `frame_count` are None where the container does not tell.
    `start_s` is when a player shows the first frame: 0, unless sound, say, begins before the pictures.
    `frame_count` is the container's claim, or, where `counted`, the number of coded frames found by walking through it.
    """

    path: str
    width: int
    height: int
    rotation: int
    fps: float
    duration_s: float | None
    frame_count: int | None
    codec: str
    container: str
    file_bytes: int
    counted: bool = False
    mirrored: bool = False
    start_s: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture needs at least one pixel, got {self.width}×{self.height}")
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation must be 0, 90, 180 or 270 degrees, got {self.rotation}")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be a positive number, got {self.fps}")
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise ValueError(f"start_s must be 0 or a positive number, got {self.start_s}")

    @property
    def expected_frames(self) -> int | None:
        """Number of frames to expect: the claim, else duration × rate; None where neither is known."""
        if self.frame_count:
            return self.frame_count
        return None if self.duration_s is None else round(self.duration_s * self.fps)


class Chunk(Protocol):
    """Consecutive moments of one video: for each modality an array whose first axis is time, and when they are.

    `seconds` float64 (T,) and `indices` int64 (T,) are as those of :class:`Frames`, whose `data` is RGB alone.
    """

    @property
    def data(self) -> Mapping[str, NDArray[Any]]:
        """Arrays (T, ...) by modality."""
        ...

    @property
    def seconds(self) -> NDArray[np.float64]:
        """When a player shows them."""
        ...

    @property
    def indices(self) -> NDArray[np.int64]:
        """Their numbers in the video."""
        ...


@dataclass(frozen=True)
class Frames:
    """Consecutive chosen frames of one video.

    `pixels` uint8 RGB (T, H, W, 3); `seconds` float64 (T,), when a player shows them (the first frame of the video at
    `info.start_s`), strictly increasing; `indices` int64 (T,), the frames' numbers in the video, from 0. Where the
    video was sampled by frames per second, `seconds` are the samples' own times, and a frame that was sampled twice is
    there twice. Of a bitstream, the frames are the groups' anchors, and `beside` holds what else belongs to each group,
    arrays (T, ...) by modality.
    """

    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    indices: NDArray[np.int64]
    info: VideoInfo
    beside: Mapping[str, NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] != 3:
            raise ValueError(f"pixels must be uint8 (T, H, W, 3), got {self.pixels.dtype} {self.pixels.shape}")
        times = self.pixels.shape[:1]
        if self.seconds.dtype != np.float64 or self.seconds.shape != times:
            raise ValueError(f"seconds must be float64 {times}, got {self.seconds.dtype} {self.seconds.shape}")
        if self.indices.dtype != np.int64 or self.indices.shape != times:
            raise ValueError(f"indices must be int64 {times}, got {self.indices.dtype} {self.indices.shape}")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """The frames as the one modality they are, or all that belongs to groups of pictures."""
        return {"rgb": self.pixels} if self.beside is None else {"keyframes": self.pixels, **self.beside}

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        return sum(values.nbytes for values in self.data.values())


@dataclass(frozen=True)
class Damage:
    """Shares, 0 to 1, of a video's coded frames that came damaged or not at all, and of those that are encrypted."""

    share: float = 0.0
    encrypted: float = 0.0


@dataclass(frozen=True)
class DecodeReport:
    """How a decoding went, known once it has ended.

    `decoded` counts the frames that the decoder delivered, `used` those that were asked for, and `repaired` the coded
    frames that came damaged or not at all: the decoder concealed the damage, or left the frame out.
    `duration_s` is the time that the decoded frames cover. `decoder` names who decoded. `notes` are sentences for a
    person, such as "the file promises 300 frames, 140 could be read".
    """

    decoded: int
    used: int
    repaired: int
    duration_s: float
    decoder: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.used <= self.decoded or self.repaired < 0:
            raise ValueError(f"impossible counts: decoded {self.decoded}, used {self.used}, repaired {self.repaired}")


Report = TypeVar("Report")
AnyReader = TypeVar("AnyReader", bound="ReaderBase[Any]")


class ReaderBase(ABC, Generic[Report]):
    """A video that is read forward only, with a report at its end; to be closed, or left as a context."""

    _report: Report | None = None

    @property
    def report(self) -> Report:
        """How it went; raises RuntimeError before the video was read to its end."""
        if self._report is None:
            raise RuntimeError("the report is there once all was read")
        return self._report

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. May be called more than once."""

    def __enter__(self: AnyReader) -> AnyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def target_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height in pixels of a picture brought to `short_side`, its aspect kept.

    The short side becomes exactly `short_side`, larger or smaller than it was; the long side is rounded to the nearest
    even number (ties upwards), but a square stays a square. None keeps the picture as it is.
    """
    if short_side is None:
        return width, height
    if short_side < 1:
        raise ValueError(f"short_side must be at least 1 pixel, got {short_side}")
    if width == height:
        return short_side, short_side
    long_side = max(short_side, 2 * math.floor(short_side * max(width, height) / min(width, height) / 2 + 0.5))
    return (long_side, short_side) if width >= height else (short_side, long_side)


def crop_box(width: int, height: int, size: int, position: float) -> tuple[int, int]:
    """Left and top, in pixels, of the square crop of side `size` that a view's `crop` position stands for.

    The position, 0.0 to 1.0, is along the longer side; across the shorter one the crop is central.

    Raises:
        ValueError: the picture is smaller than the crop.
    """
    if size > width or size > height:
        raise ValueError(f"a crop of {size}×{size} does not fit in a picture of {width}×{height}")
    free_x, free_y = width - size, height - size
    # Rounded half up, so that left and right crops are not moved by banker's rounding.
    return (
        (int(free_x * position + 0.5), free_y // 2) if width >= height else (free_x // 2, int(free_y * position + 0.5))
    )


def crop(pixels: NDArray[np.uint8] | Tensor, size: int, position: float = 0.5) -> NDArray[np.uint8] | Tensor:
    """The square crop of (T, H, W, 3) frames, as a view of the same memory: (T, size, size, 3)."""
    height, width = pixels.shape[1:3]
    left, top = crop_box(width, height, size, position)
    return pixels[:, top : top + size, left : left + size]


def to_input(
    pixels: NDArray[np.uint8] | Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    device: device | str | None = None,
    dtype: dtype | None = None,
) -> Tensor:
    """Normalize frames (T, H, W, 3), uint8, into a backbone's input (3, T, H, W): (pixel / 255 - mean) / std.

    The bytes travel to `device` and become numbers there. `dtype` is float32 by default; the arithmetic is done in
    float32 in any case.
    """
    import torch

    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(f"mean and std are three numbers each, std above 0; got {tuple(mean)} and {tuple(std)}")
    frames = pixels if isinstance(pixels, torch.Tensor) else torch.from_numpy(pixels)
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}")
    values = (
        frames.to(device, non_blocking=True)
        .permute(3, 0, 1, 2)
        .to(torch.float32, memory_format=torch.contiguous_format)
    )
    # One multiplication and one addition per pixel: x / (255 std) - mean / std.
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], device=values.device).view(3, 1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=values.device).view(3, 1, 1, 1)
    return values.mul_(scale).add_(shift).to(dtype or torch.float32)
