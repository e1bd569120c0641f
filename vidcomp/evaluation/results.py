"""What a comparison found: a row a strategy, an answer a video, and the machine. Every format is a view of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vidcomp.evaluation.statistics import Ratio, Spread

# Columns that have a ratio to the dense row, and whether more of them is better.
RATIO_COLUMNS = {
    "gmacs": False,
    "params": False,
    "model_ms": False,
    "videos_per_s": True,
    "end_to_end_videos_per_s": True,
    "peak_memory_mb": False,
    "fits_at_once": True,
    "energy_j": False,
    "top1": True,
    "top5": True,
    "agreement": True,
}


@dataclass(frozen=True)
class Row:
    """One strategy. ``None`` means that a number is absent: not measured, or not to be had on this machine.

    Times are milliseconds of one video, memory MB of 10⁶ bytes, energy joules a video, shares of 1. ``ratios`` hold,
    for every column, how many times better this row is than the dense one. ``noisy`` names the columns in which the
    measurements cannot tell the two rows apart.
    """

    strategy: str
    compressor: str
    tau: float | None
    trained: bool
    params: int
    views: int | None = None
    frames_per_view: int | None = None
    frames_range: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    gmacs: float | None = None
    model_ms: Spread | None = None
    end_to_end_ms: Spread | None = None
    peak_memory_mb: float | None = None
    fits_at_once: int | None = None
    energy_j: Spread | None = None
    top1: float | None = None
    top5: float | None = None
    agreement: float | None = None
    ratios: Mapping[str, Ratio] = field(default_factory=dict)
    noisy: tuple[str, ...] = ()

    @property
    def videos_per_s(self) -> float | None:
        """Videos a second of the model alone."""
        return _rate(self.model_ms)

    @property
    def end_to_end_videos_per_s(self) -> float | None:
        """Videos a second with decoding."""
        return _rate(self.end_to_end_ms)

    def as_dict(self) -> dict[str, Any]:
        """The row under the keys that scripts read."""
        return {
            "strategy": self.strategy,
            "compressor": self.compressor,
            "tau": self.tau,
            "weights": "trained" if self.trained else "random",
            "views": self.views,
            "frames_per_view": self.frames_per_view,
            "frames_per_view_range": None if self.frames_range is None else list(self.frames_range),
            "size": None if self.size is None else f"{self.size[0]}x{self.size[1]}",
            "gmacs": self.gmacs,
            "params": self.params,
            "model_ms": _median(self.model_ms),
            "model_ms_spread": _range(self.model_ms),
            "rounds": 0 if self.model_ms is None else self.model_ms.samples,
            "videos_per_s": self.videos_per_s,
            "end_to_end_videos_per_s": self.end_to_end_videos_per_s,
            "end_to_end_ms": _median(self.end_to_end_ms),
            "end_to_end_ms_spread": _range(self.end_to_end_ms),
            "peak_memory_mb": self.peak_memory_mb,
            "fits_at_once": self.fits_at_once,
            "energy_j": _median(self.energy_j),
            "top1": self.top1,
            "top5": self.top5,
            "agreement": self.agreement,
            "ratio": {name: self.ratios[name].value if name in self.ratios else None for name in RATIO_COLUMNS},
            "ratio_interval": {
                name: [ratio.low, ratio.high] for name, ratio in self.ratios.items() if ratio.low != ratio.high
            },
            "too_noisy": list(self.noisy),
        }


@dataclass(frozen=True)
class Answer:
    """What one strategy said of one video: best label and its probability, or why there is none."""

    label: str | None
    probability: float | None
    error: str | None = None


@dataclass(frozen=True)
class VideoResult:
    """A video with its class, where known, and each strategy's answer by the strategy's name."""

    path: str
    label: str | None
    answers: Mapping[str, Answer]
    timed: bool

    @property
    def disagreement(self) -> bool:
        """Whether two strategies name different actions, or one names another than the video's class."""
        said = {answer.label for answer in self.answers.values() if answer.label is not None}
        return len(said | ({self.label} if self.label is not None and said else set())) > 1

    def as_dict(self) -> dict[str, Any]:
        """The video under the keys that scripts read."""
        return {
            "path": self.path,
            "label": self.label,
            "timed": self.timed,
            "answers": {
                name: {"label": answer.label, "probability": answer.probability, "error": answer.error}
                for name, answer in self.answers.items()
            },
        }


@dataclass(frozen=True)
class Comparison:
    """Strategies side by side.

    ``reference`` names the row that ratios refer to, ``None`` without a dense row. ``generated`` says that the video
    was made on the spot; ``interrupted`` that not all was measured. ``failed`` says that something asked for could not
    be done; ``notes`` tell what, and everything else that a reader must know.
    """

    model: str
    machine: Mapping[str, Any]
    rows: tuple[Row, ...]
    videos: tuple[VideoResult, ...]
    reference: str | None
    rounds: int
    generated: bool
    interrupted: bool
    failed: bool
    notes: tuple[str, ...]

    @property
    def score(self) -> str | None:
        """The column that says how good the rows are: ``top1``, else ``agreement``, else ``None``."""
        for name in ("top1", "agreement"):
            if any(getattr(row, name) is not None for row in self.rows):
                return name
        return None

    def as_dict(self) -> dict[str, Any]:
        """The comparison under the keys that scripts read."""
        return {
            "model": self.model,
            "machine": dict(self.machine),
            "reference": self.reference,
            "rounds": self.rounds,
            "videos_timed": sum(video.timed for video in self.videos),
            "generated_video": self.generated,
            "interrupted": self.interrupted,
            "notes": list(self.notes),
            "rows": [row.as_dict() for row in self.rows],
            "videos": [video.as_dict() for video in self.videos],
        }


def _rate(milliseconds: Spread | None) -> float | None:
    return None if milliseconds is None or milliseconds.median <= 0 else 1000.0 / milliseconds.median


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _range(spread: Spread | None) -> list[float] | None:
    return None if spread is None else [spread.least, spread.greatest]
