"""The linear classifier on features: folds keep groups apart, strength and scale come from videos it never saw."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidcomp.training.linear import STRENGTHS, Examples, fit, fit_linear, folds_of, nearest_means, steps


def mean(logits: Tensor) -> Tensor:
    return logits.mean(dim=1)


def examples(groups: int = 6, per_group: int = 4, noise: float = 1.0, classes: int = 3, seed: int = 0) -> Examples:
    """Gaussian classes of which each group lies elsewhere, in 20 dimensions; videos of one to three moments."""
    random = torch.Generator().manual_seed(seed)
    features, labels, names = [], [], []
    for group in range(groups):
        offset = 0.5 * torch.randn(20, generator=random)
        for label in range(classes):
            for number in range(per_group):
                rows = offset + noise * torch.randn(1 + number % 3, 20, generator=random)
                rows[:, label] += 3
                features.append(rows)
                labels.append(label)
                names.append(f"g{group}")
    return Examples(features, torch.tensor(labels), names)


def test_no_group_is_on_both_sides_and_each_video_is_kept_out_once() -> None:
    videos = examples(groups=7)
    folds = folds_of(videos, 3)
    assert len(folds) == 5
    for learned, kept_out in folds:
        assert not {videos.groups[n] for n in learned} & {videos.groups[n] for n in kept_out}
    assert sorted(n for _, kept_out in folds for n in kept_out) == list(range(len(videos.groups)))


def test_a_class_of_one_group_is_never_tested_and_the_others_are() -> None:
    videos = examples(groups=3)
    lonely = Examples(
        [*videos.features, *videos.features[:2]],
        torch.cat([videos.classes, torch.tensor([3, 3])]),
        [*videos.groups, "x", "x"],
    )
    tested = {n for _, kept_out in folds_of(lonely, 4) for n in kept_out}
    assert tested == set(range(len(videos.groups)))
    fitted = fit(lonely, 4, mean)
    assert fitted.kept_out[-2:].isnan().all()
    assert not fitted.kept_out[:-2].isnan().any()


def test_what_can_be_told_apart_is_told_apart_and_the_probabilities_are_about_right() -> None:
    videos, others = examples(noise=1.0), examples(seed=1)
    told = 0

    def tell() -> None:
        nonlocal told
        told += 1

    fitted = fit(videos, 3, mean, tell)
    assert told == steps(videos, 3)
    assert fitted.strength in STRENGTHS
    logits = fitted.linear.logits(others.features, mean)
    right = (logits.argmax(dim=1) == others.classes).float().mean()
    assert right > 0.85
    confidence = logits.softmax(dim=1).amax(dim=1).mean()
    assert float(confidence) == pytest.approx(float(right), abs=0.08)
    kept_out = F.nll_loss(fitted.kept_out.log(), videos.classes)
    assert kept_out < math.log(3)


def test_noise_is_told_to_be_noise() -> None:
    """Where nothing can be learned, no class is said to be sure."""
    random = torch.Generator().manual_seed(0)
    videos = Examples(
        [torch.randn(1, 30, generator=random) for _ in range(60)], torch.arange(60) % 2, [str(n) for n in range(60)]
    )
    fitted = fit(videos, 2, mean)
    assert fitted.linear.logits(videos.features, mean).softmax(dim=1).amax() < 0.75


def test_every_class_counts_the_same_however_many_videos_it_has() -> None:
    random = torch.Generator().manual_seed(0)
    features = [torch.randn(1, 4, generator=random) for _ in range(110)]
    classes = torch.tensor([0] * 100 + [1] * 10)
    linear = fit_linear(Examples(features, classes, ["g"] * 110), 2, 10.0)
    # Held back so strongly that only the bias is left, which must not say how many there were.
    assert linear.logits(features, mean).softmax(dim=1)[:, 0].mean().item() == pytest.approx(0.5, abs=0.02)


def test_one_video_a_class_is_named_by_the_nearest_mean() -> None:
    videos = Examples([torch.eye(3)[[n]] for n in range(3)], torch.arange(3), ["a", "b", "c"])
    fitted = fit(videos, 3, mean)
    assert fitted.strength is None
    assert fitted.kept_out.isnan().all()
    probabilities = fitted.linear.logits(videos.features, mean).softmax(dim=1)
    assert probabilities.diagonal().tolist() == pytest.approx([0.9] * 3, abs=0.01)
    near = nearest_means(videos, 3).logits([torch.tensor([[0.1, 0.9, 0.0]])], mean)
    assert near.argmax().item() == 1


def test_the_networks_own_way_to_join_moments_is_what_is_calibrated() -> None:
    videos = examples()
    fitted = fit(videos, 3, lambda logits: logits.amax(dim=1))
    logits = torch.cat(
        [(rows @ fitted.linear.weight.T + fitted.linear.bias).amax(dim=0)[None] for rows in videos.features]
    )
    torch.testing.assert_close(logits, fitted.linear.logits(videos.features, lambda logits: logits.amax(dim=1)))
