"""A linear classifier on features: its strength chosen, and its probabilities calibrated, on videos it never saw.

Nothing here knows of files or networks. A video is the features of its moments (M, C); how their logits become those of
the video is the network's own way, and is given.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Join = Callable[[Tensor], Tensor]
"""Logits (N, M, classes) of moments to those (N, classes) of videos."""

STRENGTHS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Weight decays that are tried, where features are centered and of length 1 on average."""

_FOLDS = 5
_ITERATIONS = 100
# Parts of a video that are learned from, each the mean of its moments: neighbors are nearly the same, and cost as much.
_PARTS = 4
# Scales of the logits among which the one of the least loss is sought, as powers of e.
_SCALES = (-5.0, 8.0)
_SCALE_STEPS = 24
# Nearest means know no loss on other videos: the videos learned from are named with this probability on average.
_SURE = 0.9


@dataclass(frozen=True)
class Examples:
    """Videos: the features of their moments, one tensor (M, C) each, their classes (N,), and the groups they are of."""

    features: Sequence[Tensor]
    classes: Tensor
    groups: Sequence[str]

    def of(self, numbers: Sequence[int]) -> Examples:
        """Some of them."""
        groups = [self.groups[number] for number in numbers]
        return Examples([self.features[number] for number in numbers], self.classes[list(numbers)], groups)


@dataclass(frozen=True)
class Linear:
    """``weight`` (classes, C) and ``bias`` (classes,)."""

    weight: Tensor
    bias: Tensor

    def logits(self, features: Sequence[Tensor], join: Join, scale: float = 1.0) -> Tensor:
        """Logits (N, classes) of videos, those of their moments being scaled first."""
        return torch.cat([join((scale * (rows @ self.weight.T + self.bias))[None]) for rows in features])

    def scaled(self, scale: float) -> Linear:
        """The same with logits so many times as large."""
        return Linear(self.weight * scale, self.bias * scale)


@dataclass(frozen=True)
class Fitted:
    """The classifier, and what it made of videos that it had not learned from.

    ``kept_out`` (N, classes) are probabilities; NaN for a video whose class has no other group. ``strength`` is the
    weight decay chosen; ``None`` where the nearest class mean decides, since there was nothing to choose it by.
    """

    linear: Linear
    kept_out: Tensor
    strength: float | None


def fit(examples: Examples, classes: int, join: Join, progress: Callable[[], None] = lambda: None) -> Fitted:
    """Fit a classifier to all examples, its strength chosen by cross-validation over groups.

    Every class counts the same, whatever the number of its videos. ``progress`` is called :data:`steps` times.

    Args:
        examples: at least one of each class.
        classes: how many there are.
        join: as the network joins logits of moments.
        progress: told after each step.
    """
    unseen = torch.full((len(examples.features), classes), math.nan)
    folds = folds_of(examples, classes)
    if not folds:
        linear = nearest_means(examples, classes)
        for _ in range(steps(examples, classes)):
            progress()
        return Fitted(linear.scaled(_scale_for(linear, examples, join)), unseen, None)
    tested = [number for _, kept_out in folds for number in kept_out]
    best = (math.inf, 0.0, 1.0)
    for strength in STRENGTHS:
        fitted: list[tuple[Linear, Examples]] = []
        for learned, kept_out in folds:
            fitted.append((fit_linear(examples.of(learned), classes, strength), examples.of(kept_out)))
            progress()

        def loss(scale: float, fitted: Sequence[tuple[Linear, Examples]] = tuple(fitted)) -> float:
            parts = [
                F.cross_entropy(linear.logits(videos.features, join, scale), videos.classes, reduction="sum")
                for linear, videos in fitted
            ]
            return float(sum(parts)) / len(tested)

        scale = _least(loss)
        if (found := loss(scale)) < best[0]:
            best = (found, strength, scale)
            logits = torch.cat([linear.logits(videos.features, join, scale) for linear, videos in fitted])
            unseen[tested] = logits.softmax(dim=1)
    _, strength, scale = best
    return Fitted(fit_linear(examples, classes, strength).scaled(scale), unseen, strength)


def steps(examples: Examples, classes: int) -> int:
    """How often :func:`fit` tells of its progress."""
    return len(STRENGTHS) * max(1, len(folds_of(examples, classes)))


def folds_of(examples: Examples, classes: int) -> list[tuple[list[int], list[int]]]:
    """At most five pairs of the videos to learn from and those kept out, no group being on both sides.

    A video whose class is in no other group than those kept out is on neither side there. Without two groups of any
    class there are no folds.
    """
    members: defaultdict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(examples.groups):
        members[group].append(number)
    count = min(_FOLDS, len(members))
    counts = torch.zeros(count, classes)
    fold_of: dict[int, int] = {}
    # The largest first, each where its classes are rarest.
    for numbers in sorted(members.values(), key=lambda numbers: (-len(numbers), numbers)):
        own = torch.bincount(examples.classes[numbers], minlength=classes).float()
        fold = min(range(count), key=lambda fold: (float(counts[fold] @ own), float(counts[fold].sum())))
        counts[fold] += own
        fold_of |= dict.fromkeys(numbers, fold)
    folds = []
    for fold in range(count):
        learned = [number for number in range(len(examples.groups)) if fold_of[number] != fold]
        there = Counter(examples.classes[learned].tolist())
        kept_out = [
            number
            for number in range(len(examples.groups))
            if fold_of[number] == fold and there[int(examples.classes[number])]
        ]
        if kept_out and len(there) > 1:
            folds.append((learned, kept_out))
    return folds


def fit_linear(examples: Examples, classes: int, strength: float) -> Linear:
    """Multinomial logistic regression with weight decay, by L-BFGS; classes without an example get no weight.

    Each class counts the same, each video of it, and each quarter of the video.
    """
    few = [_quarters(rows) for rows in examples.features]
    rows, targets = torch.cat(few), torch.cat([examples.classes[[n]].expand(len(part)) for n, part in enumerate(few)])
    counts = torch.bincount(examples.classes, minlength=classes)
    weights = torch.cat(
        [1.0 / (len(part) * counts[examples.classes[number]].expand(len(part))) for number, part in enumerate(few)]
    )
    weights = weights / weights.sum()
    mean = weights @ rows
    length = float((weights @ (rows - mean).square()).sum().sqrt()) or 1.0
    rows = (rows - mean) / length
    weight, bias = torch.zeros(classes, rows.shape[1], requires_grad=True), torch.zeros(classes, requires_grad=True)
    absent = torch.where(counts > 0, 0.0, -math.inf)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = F.cross_entropy(rows @ weight.T + bias + absent, targets, reduction="none")
        loss = weights @ losses + 0.5 * strength * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    scaled = weight.detach() / length
    # A class that it never saw is not to be named, yet must not make a NaN of what is scaled later.
    return Linear(scaled, bias.detach() - scaled @ mean + torch.where(counts > 0, 0.0, -1e4))


def nearest_means(examples: Examples, classes: int) -> Linear:
    """The class whose mean lies in the direction of the video, both seen from the mean of all classes."""
    videos = torch.stack([rows.mean(dim=0) for rows in examples.features])
    means = torch.stack([videos[examples.classes == number].mean(dim=0) for number in range(classes)])
    middle = means.mean(dim=0)
    weight = F.normalize(means - middle, dim=1)
    return Linear(weight, -(weight @ middle))


def _quarters(moments: Tensor) -> Tensor:
    """The means of a video's parts, in time, from its moments (M, C)."""
    return torch.stack([part.mean(dim=0) for part in moments.tensor_split(min(_PARTS, len(moments)))])


def _least(loss: Callable[[float], float]) -> float:
    """The scale of the least loss, by golden-section search over its logarithm."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = _SCALES
    inner = [high - ratio * (high - low), low + ratio * (high - low)]
    values = [loss(math.exp(point)) for point in inner]
    for _ in range(_SCALE_STEPS):
        if values[0] <= values[1]:
            high = inner[1]
            inner = [high - ratio * (high - low), inner[0]]
            values = [loss(math.exp(inner[0])), values[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + ratio * (high - low)]
            values = [values[1], loss(math.exp(inner[1]))]
    return math.exp((low + high) / 2)


def _scale_for(linear: Linear, examples: Examples, join: Join) -> float:
    """The scale at which the mean loss of the videos learned from is that of a probability of :data:`_SURE`."""
    wanted = -math.log(_SURE)
    return _least(
        lambda scale: abs(
            float(F.cross_entropy(linear.logits(examples.features, join, scale), examples.classes)) - wanted
        )
    )
