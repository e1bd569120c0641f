"""How often a model is right on labelled videos, how sure it is of it, and what it costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.evaluation.cost import gmacs
from vidcomp.evaluation.resolution import TemporalResolution, temporal_resolution
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import ForwardStats, Prediction
from vidcomp.inference.strategies import WholeVideo
from vidcomp.video.labeled import check_labeled, find_labeled
from vidcomp.zoo.build import build_network
from vidcomp.zoo.manifest import Manifest

_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over the videos that could be read; shares are of 1.

    ``confusion`` (classes, classes) counts videos by true (row) and predicted (column) class. ``calibration_error`` is
    the expected calibration error over 15 equal bins of the best label's probability. ``gmacs_mean`` counts each
    video at its own number of active bins. ``failed`` are those without labels, ``resolution`` how many bins the others
    kept, ``None`` where the model's first compressor does not group frames. ``agreement`` is the share of videos whose
    best label is also that of another way of passing them, ``None`` where none was asked for.
    """

    strategy: str
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    top5: float
    calibration_error: float
    gmacs_mean: float
    failed: tuple[Prediction, ...]
    resolution: TemporalResolution | None = None
    agreement: float | None = None

    @property
    def videos(self) -> int:
        """Videos that were labelled."""
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

    def _confused(self) -> dict[str, dict[str, int]]:
        """Videos by true and then by predicted class, where there are any."""
        return {
            label: {self.labels[j]: int(self.confusion[i, j]) for j in np.flatnonzero(self.confusion[i])}
            for i, label in enumerate(self.labels)
            if self.confusion[i].any()
        }

    def as_dict(self) -> dict[str, Any]:
        """The evaluation under the keys that scripts read."""
        return {
            "strategy": self.strategy,
            "videos": self.videos,
            "failed": len(self.failed),
            "top1": self.top1,
            "top5": self.top5,
            "per_class": self.per_class,
            "confusion": self._confused(),
            "calibration_error": self.calibration_error,
            "agreement_dense30": self.agreement,
            "gmacs_mean": self.gmacs_mean,
            "active_bins": None if self.resolution is None else self.resolution.as_dict(),
        }


def labelled_folder(folder: Path, labels: Sequence[str]) -> list[tuple[str, int]]:
    """Videos of a folder with a sub-folder a class, or of a CSV file of ``path,label``, with their class's index.

    Raises:
        LabelError: there are no videos, one has no class, or a class is not one of ``labels``.
        SourceError: ``folder`` does not exist, or is not such a file.
    """
    videos, _ = find_labeled([str(folder)])
    check_labeled(str(folder), videos, labels)
    index = {name: number for number, name in enumerate(labels)}
    return [(video.path, index[video.label or ""]) for video in videos]


class Evaluator:
    """Adds up what a model says of labelled videos, one after the other; the result is there at any time."""

    def __init__(self, classifier: Classifier, other: Classifier | None = None) -> None:
        """Evaluate ``classifier``, and how often it agrees with the ``other``."""
        self._classifier = classifier
        self._other = other
        self._labels = classifier.model.labels
        self._confusion = np.zeros((len(self._labels), len(self._labels)), np.int64)
        self._cost = pass_costs(classifier.model.manifest)
        self._sure: list[float] = []
        self._right: list[bool] = []
        self._agreed: list[bool] = []
        self._in_top5, self._spent = 0, 0.0
        self._failed: list[Prediction] = []
        self._resolutions: list[tuple[str, int]] = []
        self._strategy = (classifier.strategy or WholeVideo()).name

    def add_all(self, videos: Iterable[tuple[str, int]]) -> Iterator[Prediction]:
        """Label and count videos of (path, class index) in order, the next ones being decoded meanwhile."""
        drawn: deque[tuple[str, int]] = deque()

        def paths() -> Iterator[str]:
            for video in videos:
                drawn.append(video)
                yield video[0]

        for prediction in self._classifier.classify_all(paths()):
            self._count(prediction, *drawn.popleft())
            yield prediction

    def _count(self, prediction: Prediction, path: str, wanted: int) -> None:
        if prediction.passes is None:
            self._failed.append(prediction)
            return
        reference = self._other.classify(path) if self._other is not None else None
        best = prediction.labels[0]
        self._strategy = prediction.strategy
        self._confusion[wanted, best.index] += 1
        self._sure.append(best.probability)
        self._right.append(best.index == wanted)
        self._in_top5 += any(label.index == wanted for label in prediction.labels[:5])
        kept = active_bins(prediction)
        if kept is not None:
            self._resolutions.append((self._labels[wanted], kept))
        self._spent += self._cost(prediction.passes, kept)
        if reference is not None and reference.labels:
            self._agreed.append(reference.labels[0].index == best.index)

    def result(self) -> Evaluation:
        """What there is so far."""
        count = max(1, len(self._right))
        return Evaluation(
            self._strategy,
            self._labels,
            self._confusion.copy(),
            self._in_top5 / count,
            calibration_error(self._sure, self._right),
            self._spent / count,
            tuple(self._failed),
            temporal_resolution(self._resolutions) if self._resolutions else None,
            sum(self._agreed) / len(self._agreed) if self._agreed else None,
        )


def evaluate(
    classifier: Classifier, videos: Iterable[tuple[str, int]], done: Callable[[Prediction], None]
) -> Evaluation:
    """Label each video of (path, class index) and compare; ``done`` is called after each."""
    evaluator = Evaluator(classifier)
    for prediction in evaluator.add_all(videos):
        done(prediction)
    return evaluator.result()


def active_bins(prediction: Prediction) -> int | None:
    """Frames that a compressor which groups them (SGS) kept of the video; ``None`` where there is none."""
    groups = None if prediction.attention is None else prediction.attention.groups
    return None if groups is None else len(groups)


def calibration_error(probabilities: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error (Guo et al., ICML 2017): mean gap of confidence and accuracy over 15 equal bins."""
    if not right:
        return 0.0
    sure, hits = np.asarray(probabilities), np.asarray(right, float)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    return float(sum(_gap(sure[bins == b], hits[bins == b]) for b in np.unique(bins)) / len(hits))


def _gap(sure: NDArray[np.float64], hits: NDArray[np.float64]) -> float:
    return float(abs(sure.sum() - hits.sum()))


def pass_costs(manifest: Manifest) -> Callable[[ForwardStats, int | None], float]:
    """A function that gives the GMACs of a video's passes at its own active bins; equal ones are counted once."""
    with torch.device("meta"):
        network = build_network(manifest).eval()

    @lru_cache(maxsize=1024)
    def cost(passes: ForwardStats, kept: int | None) -> float:
        at = () if kept is None else (kept,)
        return passes.count * gmacs(network, passes.frames, passes.height, passes.width, active_bins=at).total

    return cost
