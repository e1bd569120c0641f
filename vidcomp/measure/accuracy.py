"""How often a model is right on labelled videos, how sure it is of it, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.inference.engine import Classifier
from vidcomp.inference.prediction import Passes, Prediction
from vidcomp.measure.cost import gmacs
from vidcomp.measure.resolution import TemporalResolution, temporal_resolution
from vidcomp.video import find_videos
from vidcomp.zoo.build import build_network
from vidcomp.zoo.manifest import Manifest

_BINS = 15


class LabelledFolderError(ValueError):
    """A folder's sub-folders do not name classes of the model."""


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over the videos that could be read; shares are of 1.

    ``confusion`` (classes, classes) counts videos by true (row) and predicted (column) class. ``calibration_error`` is
    the expected calibration error over 15 equal bins of the best label's probability. ``gmacs_mean`` counts each
    video at its own number of active bins. ``failed`` are those without labels, ``resolution`` how many bins the others
    kept, ``None`` where the model's first compressor does not group frames.
    """

    strategy: str
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    top5: float
    calibration_error: float
    gmacs_mean: float
    failed: tuple[Prediction, ...]
    resolution: TemporalResolution | None = None

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

    def as_dict(self) -> dict[str, Any]:
        """The evaluation under the keys that scripts read."""
        return {
            "strategy": self.strategy,
            "videos": self.videos,
            "failed": len(self.failed),
            "top1": self.top1,
            "top5": self.top5,
            "per_class": self.per_class,
            "calibration_error": self.calibration_error,
            "gmacs_mean": self.gmacs_mean,
            "active_bins": None if self.resolution is None else self.resolution.as_dict(),
        }


def labelled_folder(folder: Path, labels: Sequence[str]) -> list[tuple[str, int]]:
    """Videos of a folder that has a sub-folder a class, each with its class's index in ``labels``.

    Raises:
        LabelledFolderError: there are no videos, or a sub-folder is not one of ``labels``.
    """
    videos = [(video.path, video.relative.split("/")[0]) for video in find_videos([str(folder)]).videos]
    unknown = sorted({name for _, name in videos} - set(labels))
    if not videos or unknown:
        problem = f"{', '.join(unknown)} are not labels of the model" if unknown else "it holds no videos"
        raise LabelledFolderError(
            f"{folder}: {problem}; give a folder with a sub-folder a class, named as one of {', '.join(labels)}"
        )
    return [(path, list(labels).index(name)) for path, name in videos]


def evaluate(
    classifier: Classifier, videos: Iterable[tuple[str, int]], done: Callable[[Prediction], None]
) -> Evaluation:
    """Label each video of (path, class index) and compare; ``done`` is called after each."""
    labels = classifier.model.labels
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    cost = pass_costs(classifier.model.manifest)
    sure: list[float] = []
    right: list[bool] = []
    in_top5, spent = 0, 0.0
    failed: list[Prediction] = []
    resolutions: list[tuple[str, int]] = []
    strategy = ""
    for path, wanted in videos:
        prediction = classifier.classify(path)
        done(prediction)
        if prediction.passes is None:
            failed.append(prediction)
            continue
        best = prediction.labels[0]
        strategy = prediction.strategy
        confusion[wanted, best.index] += 1
        sure.append(best.probability)
        right.append(best.index == wanted)
        in_top5 += any(label.index == wanted for label in prediction.labels[:5])
        kept = active_bins(prediction)
        if kept is not None:
            resolutions.append((labels[wanted], kept))
        spent += cost(prediction.passes, kept)
    count = max(1, len(right))
    return Evaluation(
        strategy,
        labels,
        confusion,
        in_top5 / count,
        calibration_error(sure, right),
        spent / count,
        tuple(failed),
        temporal_resolution(resolutions) if resolutions else None,
    )


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


def pass_costs(manifest: Manifest) -> Callable[[Passes, int | None], float]:
    """A function that gives the GMACs of a video's passes at its own active bins; equal ones are counted once."""
    with torch.device("meta"):
        network = build_network(manifest).eval()

    @lru_cache(maxsize=1024)
    def cost(passes: Passes, kept: int | None) -> float:
        at = () if kept is None else (kept,)
        return passes.count * gmacs(network, passes.frames, passes.height, passes.width, active_bins=at).total

    return cost
