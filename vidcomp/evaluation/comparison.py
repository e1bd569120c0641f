"""Strategies side by side: a row per strategy, an answer per video, and the machine. Every format is a view of it.

Rows are made of what each :class:`StrategyRun` measured: medians, accuracy, agreement, and ratios to the dense row.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vidcomp.evaluation.statistics import Ratio, Spread, counted_ratio, differs, ratio_of_medians, spread
from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.video.labeled import LabeledVideo

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
# What is measured again in every round, so that the ratios of these columns have intervals.
_TIMED_COLUMNS = {
    "model_ms": "model_s",
    "videos_per_s": "model_s",
    "end_to_end_videos_per_s": "end_to_end_s",
    "energy_j": "energy_j",
}
_MB = 1e6


@dataclass(frozen=True)
class Row:
    """One strategy. ``None`` means that a number is absent: not measured, or not available on this machine.

    Times are milliseconds of one video, memory MB of 10⁶ bytes, energy joules per video, shares of 1. ``ratios`` hold,
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
    accumulates: float | None = None
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
            "accumulates": self.accumulates,
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


def rows_of(runs: Sequence[StrategyRun], videos: Sequence[LabeledVideo], timed: int) -> tuple[Row, ...]:
    """One row for each run that measured anything.

    Accuracy and agreement are over the videos that all of them labeled; rounds count where all ``timed`` videos were
    measured.
    """
    runs = [run for run in runs if run.observations]
    common = [video for video in videos if all(video.path in run.observations for run in runs)]
    dense = next((run for run in runs if run.is_dense), None)
    rows = {run.name: _row(run, dense, common, timed) for run in runs}
    if dense is None:
        return tuple(rows.values())
    return tuple(_beside(rows[run.name], run, rows[dense.name], dense, common, timed) for run in runs)


def results_of(
    runs: Sequence[StrategyRun], videos: Sequence[LabeledVideo], timed: Sequence[str]
) -> tuple[VideoResult, ...]:
    """Each video with what each run said of it; random weights say nothing."""
    return tuple(
        VideoResult(
            video.path,
            video.label,
            {run.name: answer for run in runs if (answer := _answer(run, video.path)) is not None},
            video.path in timed,
        )
        for video in videos
    )


def round_means(samples: Mapping[int, Sequence[float]], timed: int) -> dict[int, float]:
    """The mean over the timed videos of each round that measured them all."""
    return {number: statistics.fmean(values) for number, values in samples.items() if len(values) == timed and timed}


def _row(run: StrategyRun, dense: StrategyRun | None, common: Sequence[LabeledVideo], timed: int) -> Row:
    """A run's numbers, before they are set against the dense run's."""
    seen = list(run.observations.values())
    frames = [one.passes.frames for one in seen]
    sizes = {(one.passes.height, one.passes.width) for one in seen}
    peaks = [one.peak_bytes for one in seen if one.peak_bytes is not None]
    accumulates = [one.accumulates for one in seen if one.accumulates is not None]
    rounds = {name: list(means.values()) for name, means in _rounds(run, timed).items()}
    shares = {name: statistics.fmean(right) for name, right in _right(run, common).items() if right and run.trained}
    agreement = None
    if dense is not None and run.trained and dense.trained and common:
        agreement = statistics.fmean(
            run.observations[video.path].labels[0].label == dense.observations[video.path].labels[0].label
            for video in common
        )
    return Row(
        strategy=run.name,
        compressor="+".join(kind for kind in run.kinds if kind != "identity") or "none",
        tau=run.tau,
        trained=run.trained,
        params=run.params,
        views=seen[0].passes.count,
        frames_per_view=round(statistics.median(frames)),
        frames_range=(min(frames), max(frames)),
        size=sizes.pop() if len(sizes) == 1 else None,
        gmacs=statistics.fmean(one.gmacs for one in seen),
        accumulates=statistics.fmean(accumulates) if accumulates else None,
        model_ms=spread([1e3 * seconds for seconds in rounds["model_s"]]),
        end_to_end_ms=spread([1e3 * seconds for seconds in rounds["end_to_end_s"]]),
        peak_memory_mb=max(peaks) / _MB if peaks else None,
        fits_at_once=run.fits_at_once,
        energy_j=spread(rounds["energy_j"]),
        top1=shares.get("top1"),
        top5=shares.get("top5"),
        agreement=agreement,
    )


def _beside(
    row: Row, run: StrategyRun, dense_row: Row, dense: StrategyRun, common: Sequence[LabeledVideo], timed: int
) -> Row:
    """The row with its ratios to the dense one, and the columns in which the two cannot be told apart."""
    rounds, dense_rounds = _rounds(run, timed), _rounds(dense, timed)
    found: dict[str, Ratio | None] = {}
    for column, more_is_better in RATIO_COLUMNS.items():
        if column in _TIMED_COLUMNS:
            above, below = (one[_TIMED_COLUMNS[column]] for one in (dense_rounds, rounds))
            pairs = [(above[number], below[number]) for number in above if number in below]
            found[column] = ratio_of_medians(list(above.values()), list(below.values()), pairs)
        else:
            better_first = (row, dense_row) if more_is_better else (dense_row, row)
            found[column] = counted_ratio(*(getattr(one, column) for one in better_first))
    ratios = {column: ratio for column, ratio in found.items() if ratio is not None}
    if run is dense:
        return replace(row, ratios=ratios)
    noisy = [column for column in _TIMED_COLUMNS if column in ratios and not ratios[column].tells]
    right, dense_right = _right(run, common), _right(dense, common)
    for column in (name for name in right if name in ratios):
        answers = Counter(zip(right[column], dense_right[column], strict=True))
        if not differs(answers[True, False], answers[False, True]):
            noisy.append(column)
    return replace(row, ratios=ratios, noisy=tuple(noisy))


def _rounds(run: StrategyRun, timed: int) -> dict[str, dict[int, float]]:
    """What is measured anew in every round, by its name and the round's number."""
    return {name: round_means(getattr(run, name), timed) for name in dict.fromkeys(_TIMED_COLUMNS.values())}


def _right(run: StrategyRun, common: Sequence[LabeledVideo]) -> dict[str, list[bool]]:
    """For each video of a known class, whether the run names it rightly: first, or among five."""
    said = [(video.label, run.observations[video.path].labels) for video in common if video.label is not None]
    return {
        "top1": [labels[0].label == wanted for wanted, labels in said],
        "top5": [any(label.label == wanted for label in labels) for wanted, labels in said],
    }


def _answer(run: StrategyRun, path: str) -> Answer | None:
    if path in run.errors:
        return Answer(None, None, run.errors[path])
    if path not in run.observations:
        return None
    best = run.observations[path].labels[0]
    return Answer(best.label, best.probability) if run.trained else Answer(None, None)


def _rate(milliseconds: Spread | None) -> float | None:
    return None if milliseconds is None or milliseconds.median <= 0 else 1000.0 / milliseconds.median


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _range(spread: Spread | None) -> list[float] | None:
    return None if spread is None else [spread.least, spread.greatest]
