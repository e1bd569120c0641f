"""How often a strategy is right on labeled videos, how sure it is, and how many bins it keeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.video.labeled import LabeledVideo

_CALIBRATION_BINS = 15
# Classes at either end of table 5.
_CLASSES_SHOWN = 5


@dataclass(frozen=True)
class ActiveBins:
    """Temporal resolution: the active bins (B') of videos, as the SGS paper's figure 3 and table 5 have them.

    ``histogram`` counts videos by their number of active bins, ``per_class`` holds the mean number of the videos of
    each class, lowest first.
    """

    histogram: dict[int, int]
    per_class: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean number of active bins of a video."""
        return sum(bins * videos for bins, videos in self.histogram.items()) / sum(self.histogram.values())

    def as_dict(self) -> dict[str, Any]:
        """The bins under the keys that scripts read."""
        classes = list(self.per_class.items())
        return {
            "mean": self.mean,
            "histogram": {str(bins): videos for bins, videos in self.histogram.items()},
            "lowest": dict(classes[:_CLASSES_SHOWN]),
            "highest": dict(classes[: -_CLASSES_SHOWN - 1 : -1]),
        }


def active_bins(videos: Iterable[tuple[str, int]]) -> ActiveBins:
    """Gather (true class, active bins) of videos.

    Raises:
        ValueError: there are no videos.
    """
    of_class: defaultdict[str, list[int]] = defaultdict(list)
    for label, bins in videos:
        of_class[label].append(bins)
    if not of_class:
        raise ValueError("there are no videos to count the active bins of")
    histogram = Counter(bins for values in of_class.values() for bins in values)
    means = {label: sum(bins) / len(bins) for label, bins in of_class.items()}
    return ActiveBins(dict(sorted(histogram.items())), dict(sorted(means.items(), key=lambda item: item[1])))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Accuracy over the videos that could be read; shares are of 1.

    ``confusion`` (classes, classes) counts videos by true (row) and predicted (column) class. ``calibration_error`` is
    the expected calibration error over 15 equal bins of the best label's probability. ``gmacs_mean`` counts each
    video at its own number of active bins. ``failed`` counts videos without labels; ``active_bins`` tells how many bins
    the others kept, ``None`` where the model's first compressor does not group frames. ``agreement`` is the share of
    videos whose best label is also the dense row's, ``None`` without such a row.
    """

    model: str
    strategy: str
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    top5: float
    calibration_error: float
    gmacs_mean: float
    failed: int
    active_bins: ActiveBins | None
    agreement: float | None

    @property
    def videos(self) -> int:
        """Videos that were labeled."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share of videos whose best label is right."""
        return float(np.trace(self.confusion) / max(1, self.videos))

    @property
    def per_class(self) -> dict[str, float]:
        """Share of right videos of each class that has any."""
        sums = self.confusion.sum(axis=1)
        return {label: float(self.confusion[i, i] / sums[i]) for i, label in enumerate(self.labels) if sums[i]}

    def as_dict(self) -> dict[str, Any]:
        """The evaluation under the keys that scripts read."""
        confused = {
            label: {self.labels[column]: int(row[column]) for column in np.flatnonzero(row)}
            for label, row in zip(self.labels, self.confusion, strict=True)
            if row.any()
        }
        return {
            "strategy": self.strategy,
            "videos": self.videos,
            "failed": self.failed,
            "top1": self.top1,
            "top5": self.top5,
            "per_class": self.per_class,
            "confusion": confused,
            "calibration_error": self.calibration_error,
            "agreement_dense30": self.agreement,
            "gmacs_mean": self.gmacs_mean,
            "active_bins": None if self.active_bins is None else self.active_bins.as_dict(),
            "model": self.model,
        }


def calibration_error(probabilities: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error (Guo et al., ICML 2017): mean gap of confidence and accuracy over 15 equal bins."""
    if not right:
        return 0.0
    sure, hits = np.asarray(probabilities), np.asarray(right, float)
    bins = np.minimum((sure * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = [abs(sure[bins == number].sum() - hits[bins == number].sum()) for number in np.unique(bins)]
    return float(sum(gaps) / len(hits))


def evaluation_of(run: StrategyRun, videos: Sequence[LabeledVideo], dense: StrategyRun | None = None) -> Evaluation:
    """How often a run was right on those of the labeled videos that it has labeled, and agrees with the dense one."""
    labels = run.classifier.model.labels
    index = {name: number for number, name in enumerate(labels)}
    seen = [
        (index[video.label], run.observations[video.path])
        for video in videos
        if video.label is not None and video.path in run.observations
    ]
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    for wanted, one in seen:
        confusion[wanted, one.labels[0].index] += 1
    bins = [(labels[wanted], one.active_bins) for wanted, one in seen if one.active_bins is not None]
    agreed = [
        one.labels[0].index == dense.observations[path].labels[0].index
        for path, one in run.observations.items()
        if dense is not None and path in dense.observations
    ]
    return Evaluation(
        model=run.manifest.name,
        strategy=run.name,
        labels=labels,
        confusion=confusion,
        top5=_mean([any(label.index == wanted for label in one.labels[:5]) for wanted, one in seen]),
        calibration_error=calibration_error(
            [one.labels[0].probability for _, one in seen], [one.labels[0].index == wanted for wanted, one in seen]
        ),
        gmacs_mean=_mean([one.gmacs for _, one in seen]),
        failed=len(run.errors),
        active_bins=active_bins(bins) if bins else None,
        agreement=_mean(agreed) if agreed else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
