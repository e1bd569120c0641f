"""What vidcomp says of one video. Every output format is a view of it."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Frames the decoder delivered, the network was given, and the decoder could not read right; length in seconds."""

    decoded: int
    used: int
    repaired: int
    duration_s: float | None


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds spent waiting for frames and spent in the model."""

    decode_s: float
    model_s: float


@dataclass(frozen=True)
class Failure:
    """Why a video has no labels: a kind from the documented list, and one line for the user."""

    kind: str
    message: str


@dataclass(frozen=True)
class AttentionMap:
    """A compressor's weights (T', T) of output frames over input frames, and the input frames' timestamps (T,)."""

    compressor: str
    weights: NDArray[np.float32]
    seconds: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.seconds.shape != self.weights.shape[1:]:
            raise ValueError(
                f"an attention map (T', T) needs T timestamps: {self.weights.shape} and {self.seconds.shape} do not fit"
            )


@dataclass(frozen=True)
class Passes:
    """The forward passes of one video: how many, each of how many frames of height × width pixels."""

    count: int
    frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Prediction:
    """The labels of one video, most probable first, and how they came about; or why there are none.

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

    @property
    def ok(self) -> bool:
        """Whether the video was labelled."""
        return self.error is None
