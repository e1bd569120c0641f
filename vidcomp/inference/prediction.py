"""What vidcomp says of one video. Every output format is a view of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention import AttentionMap, summarize


@dataclass(frozen=True)
class Label:
    """A class with its index in the classifier's output and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class FrameCounts:
    """Frames that the decoder delivered, that the network got, and that the decoder could not read correctly.

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


@dataclass(frozen=True)
class ForwardStats:
    """The forward passes of one video: how many, each of how many frames of height × width pixels.

    ``kept`` are the frames that each compressor left of a pass, in the network's order, 0 where it has no map; empty
    where nobody noted them.
    """

    count: int
    frames: int
    height: int
    width: int
    kept: tuple[int, ...] = ()


@dataclass(frozen=True)
class Window:
    """A window, in seconds on the video's timeline, with its labels, most probable first.

    It starts no earlier and ends no later than the video's frames do. ``features`` (M, C) as :class:`Prediction`.
    """

    start_s: float
    end_s: float
    labels: tuple[Label, ...]
    features: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """The window's features on average (C,)."""
        return None if self.features is None else _mean(self.features)


@dataclass(frozen=True)
class Moment:
    """An action in a video: when it is, in seconds on the video's timeline, and its label's mean probability then."""

    start_s: float
    end_s: float
    label: Label


@dataclass(frozen=True)
class Prediction:
    """The labels of one video, most probable first, and how they came about; or why there are none.

    ``windows`` are consecutive windows, if the video was labeled window by window; ``labels`` then hold their mean.
    ``moments`` are the actions found, in order of time, perhaps none; ``None`` if they were not asked for.
    ``notes`` says in words what was skipped, repeated or repaired, or that there is nothing to see. Two predictions are
    equal if they say the same, however long it took. ``features`` (M, C) are the last layer's input for M moments, or
    for each of M views on average, if the classifier was asked for them; each window has its own.
    """

    path: str
    model: str
    strategy: str
    labels: tuple[Label, ...]
    frames: FrameCounts
    timing: Timing = field(compare=False)
    passes: ForwardStats | None = None
    attention: AttentionMap | None = None
    notes: tuple[str, ...] = ()
    error: Failure | None = None
    windows: tuple[Window, ...] = ()
    features: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    moments: tuple[Moment, ...] | None = None

    def to_dict(self, top_k: int = 5) -> dict[str, Any]:
        """The record that every output format is a view of: plain JSON values, with the ``top_k`` best labels.

        Its keys are a contract and stay as they are. ``windows`` is there only where the video was labeled by windows,
        ``moments`` only where they were asked for.

        Raises:
            ValueError: ``top_k`` is negative.
        """
        if top_k < 0:
            raise ValueError(f"top_k must be at least 0, got {top_k}")
        record: dict[str, Any] = {
            "path": self.path,
            "status": "ok" if self.error is None else "error",
            "error": None if self.error is None else asdict(self.error),
            "labels": _as_dicts(self.labels[:top_k]),
            "model": self.model,
            "strategy": self.strategy,
            "frames": asdict(self.frames),
            "timing": {**asdict(self.timing), "bottleneck": self.timing.bottleneck},
            "attention": None if self.attention is None else summarize(self.attention, self.frames.end_s).as_dict(),
            "uncertain": self.uncertain,
            "notes": list(self.notes),
            "label": None if self.top is None else self.top.label,
            "probability": None if self.top is None else self.top.probability,
        }
        if self.windows:
            record["windows"] = [
                {"start_s": part.start_s, "end_s": part.end_s, "labels": _as_dicts(part.labels[:top_k])}
                for part in self.windows
            ]
        if self.moments is not None:
            record["moments"] = [
                {"start_s": moment.start_s, "end_s": moment.end_s, **asdict(moment.label)} for moment in self.moments
            ]
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Prediction:
        """The prediction of a stored record. Attention is only a summary there, and what CSV lacks is 0."""
        error, frames, timing = record["error"], record["frames"], record.get("timing") or {}
        moments = record.get("moments")
        return cls(
            path=record["path"],
            model=record["model"],
            strategy=record["strategy"],
            labels=_as_labels(record["labels"]),
            frames=FrameCounts(**{"used": 0, "repaired": 0, **frames}),
            timing=Timing(**{name: timing.get(name) or 0.0 for name in ("decode_s", "model_s", "decoder_s")}),
            notes=tuple(record.get("notes") or ()),
            error=None if error is None else Failure(**error),
            windows=tuple(
                Window(part["start_s"], part["end_s"], _as_labels(part["labels"]))
                for part in record.get("windows") or ()
            ),
            moments=None
            if moments is None
            else tuple(Moment(part["start_s"], part["end_s"], _as_labels([part])[0]) for part in moments),
        )

    def to_row(self, top_k: int = 5) -> dict[str, Any]:
        """The record as a row of a table, with its best label in columns of its own; ``labels`` are the ``top_k``."""
        record = self.to_dict(top_k)
        error, timing = self.error, self.timing
        return {
            "path": self.path,
            "status": record["status"],
            "label": record["label"],
            "probability": record["probability"],
            "uncertain": self.uncertain,
            "labels": record["labels"],
            "model": self.model,
            "strategy": self.strategy,
            **{f"frames_{name}": record["frames"][name] for name in ("decoded", "used", "repaired")},
            "duration_s": self.frames.duration_s,
            "decode_s": timing.decode_s,
            "model_s": timing.model_s,
            "error_kind": None if error is None else error.kind,
            "error_message": None if error is None else error.message,
        }

    def at_least(self, probability: float) -> Prediction:
        """The same without the labels that are less probable."""
        if not probability:
            return self
        windows = tuple(replace(part, labels=_at_least(part.labels, probability)) for part in self.windows)
        moments = self.moments
        if moments is not None:
            moments = tuple(moment for moment in moments if moment.label.probability >= probability)
        return replace(self, labels=_at_least(self.labels, probability), windows=windows, moments=moments)

    @property
    def top(self) -> Label | None:
        """The most probable label; ``None`` for an error, or if none was probable enough."""
        return self.labels[0] if self.labels else None

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """The video's features on average (C,), or its windows' ones."""
        if self.features is not None:
            return _mean(self.features)
        parts = [part.embedding for part in self.windows]
        return _mean(np.stack(parts)) if parts and parts[0] is not None else None  # type: ignore[arg-type]

    @property
    def uncertain(self) -> bool:
        """Whether the best label is more probably wrong than right, or none was probable enough to be kept."""
        return self.ok and (not self.labels or self.labels[0].probability < 0.5)

    @property
    def ok(self) -> bool:
        """Whether the video was labeled."""
        return self.error is None


def _at_least(labels: tuple[Label, ...], probability: float) -> tuple[Label, ...]:
    return tuple(label for label in labels if label.probability >= probability)


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    return vector


def _as_labels(labels: Iterable[dict[str, Any]]) -> tuple[Label, ...]:
    return tuple(Label(label["label"], label["index"], label["probability"]) for label in labels)


def _as_dicts(labels: Iterable[Label]) -> list[dict[str, Any]]:
    return [asdict(label) for label in labels]
