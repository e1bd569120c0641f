"""Augmentation: shapes, ranges, and that chance comes from the generator alone."""

from __future__ import annotations

import numpy as np
import torch

from vidcomp.training.augment import augment, take_clip


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) + np.zeros((1, 12, 16, 3), np.uint8)


def test_a_clip_is_consecutive_frames() -> None:
    clip = take_clip(numbered(20), 5, np.random.default_rng(3))
    assert np.diff(clip[:, 0, 0, 0]).tolist() == [1, 1, 1, 1]


def test_a_short_video_has_its_last_frame_repeated() -> None:
    clip = take_clip(numbered(3), 5, np.random.default_rng(0))
    assert clip[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]


def test_augmented_clips_have_the_size_asked_for_and_the_same_chance_gives_the_same_clip() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 12, 16, 3), dtype=np.uint8)
    first, second, other = (augment(frames, 8, 10, 0.4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert tuple(first.shape) == (3, 4, 8, 10)
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    still = np.random.default_rng(0).integers(0, 256, (1, 12, 16, 3), dtype=np.uint8).repeat(4, axis=0)
    clip = augment(still, 8, 8, 0.4, np.random.default_rng(5))
    assert torch.equal(clip[:, 0], clip[:, 3])
