"""What vidcomp says of one video. Every output format is a view of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Label:
    """A class with its index in the classifier's output and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class FrameCounts:
    """Frames the decoder delivered, the network was given, and the decoder could not read right.

    ``duration_s`` is the time that the video covers, from ``start_s`` on, when a player shows its first frame.
    """

    decoded: int
    used: int
    repaired: int
    duration_s: float | None
    start_s: float = 0.0

    @property
    def end_s(self) -> float | None:
        """When the video ends, on a player's clock."""
        return None if self.duration_s is None else self.start_s + self.duration_s


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of one video: waiting for its frames, and everything else, which is the model.

    ``decoder_s`` is what decoding it cost: the seconds that the decoder worked, mostly while the model did, divided by
    the number of decoding processes.
    """

    decode_s: float
    model_s: float
    decoder_s: float = 0.0

    @property
    def bottleneck(self) -> str:
        """Which of the two a run of such videos would wait for: ``decode`` or ``model``."""
        return "decode" if self.decoder_s > self.model_s else "model"


@dataclass(frozen=True)
class Failure:
    """Why a video has no labels: a kind from the documented list, and one line for the user."""

    kind: str
    message: str


# Kinds of compressors whose output frames are groups of input frames.
GROUPING = ("sgs",)


@dataclass(frozen=True)
class AttentionMap:
    """Compressors' weights (T', T) of output frames over input frames, and when and which the input frames are.

    ``seconds`` (T,) are the input frames' timestamps, ``indices`` (T,) their numbers in the video, ``None`` where
    nobody noted them. ``compressor`` is a kind; of compressors in a row all kinds, joined by "+", and the weights are
    then the product of their maps. ``grouping`` is, in such a row, the map (B', T) of a first one that groups frames.
    """

    compressor: str
    weights: NDArray[np.float32]
    seconds: NDArray[np.float64]
    indices: NDArray[np.int64] | None = None
    grouping: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.seconds.shape != self.weights.shape[1:]:
            raise ValueError(
                f"an attention map (T', T) needs T timestamps: {self.weights.shape} and {self.seconds.shape} do not fit"
            )
        if self.indices is not None and self.indices.shape != self.seconds.shape:
            raise ValueError(f"{len(self.seconds)} input frames need as many numbers, got {self.indices.shape}")

    @property
    def groups(self) -> NDArray[np.float32] | None:
        """The map (B', T) of the compressor that groups the input frames; ``None`` if none does."""
        return self.weights if self.compressor in GROUPING else self.grouping


@dataclass(frozen=True)
class Passes:
    """The forward passes of one video: how many, each of how many frames of height × width pixels."""

    count: int
    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Segment:
    """A window of a video, in seconds since its first frame, with the window's labels, most probable first."""

    start_s: float
    end_s: float
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Prediction:
    """The labels of one video, most probable first, and how they came about; or why there are none.

    ``segments`` are the consecutive windows, where the video was labelled by windows: ``labels`` then hold their mean.
    ``notes`` says in words what was skipped, repeated or repaired on the way.
    """

    path: str
    model: str
    strategy: str
    labels: tuple[Label, ...]
    frames: FrameCounts
    timing: Timing
    passes: Passes | None = None
    attention: AttentionMap | None = None
    notes: tuple[str, ...] = ()
    error: Failure | None = None
    segments: tuple[Segment, ...] = ()

    def at_least(self, probability: float) -> Prediction:
        """The same without the labels that are less probable."""
        if not probability:
            return self
        segments = tuple(replace(part, labels=_at_least(part.labels, probability)) for part in self.segments)
        return replace(self, labels=_at_least(self.labels, probability), segments=segments)

    @property
    def ok(self) -> bool:
        """Whether the video was labelled."""
        return self.error is None


def _at_least(labels: tuple[Label, ...], probability: float) -> tuple[Label, ...]:
    return tuple(label for label in labels if label.probability >= probability)
