"""Foreign footage: as large as the video, without its content, and where it is said to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcomp.training.distractors import DISTRACTOR_FRAMES, insert_distractor, make_distractor

PICTURE = np.random.default_rng(0).uniform(0, 255, (3, 30, 41)).astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_footage_is_pixels_as_large_as_the_picture(seed: int) -> None:
    footage = make_distractor(PICTURE, np.random.default_rng(seed))
    assert footage.shape == (3, DISTRACTOR_FRAMES, 30, 41)
    assert footage.dtype == torch.float32
    assert 0 <= footage.min() <= footage.max() <= 255
    torch.testing.assert_close(footage, make_distractor(PICTURE, np.random.default_rng(seed)), rtol=0, atol=0)
    assert not any(np.array_equal(footage[:, t].numpy(), PICTURE) for t in range(DISTRACTOR_FRAMES))


def test_some_footage_stands_still_and_some_moves() -> None:
    made = [make_distractor(PICTURE, np.random.default_rng(seed)) for seed in range(40)]
    still = sum(bool((footage == footage[:, :1]).all()) for footage in made)
    assert 10 <= still <= 30


@pytest.mark.parametrize("frames", [2, 3, 5, 40])
def test_footage_takes_the_place_of_one_stretch_of_frames(frames: int) -> None:
    video = torch.arange(frames, dtype=torch.float32).view(1, 1, frames, 1, 1).expand(1, 2, frames, 3, 4)
    footage = -1 - torch.arange(3, dtype=torch.float32).view(1, 1, 3, 1, 1).expand(1, 2, 3, 3, 4)
    for seed in range(20):
        joined, own = insert_distractor(video, footage, np.random.default_rng(seed))
        replaced = int((~own).sum())
        assert max(1, 0.2 * frames - 1) <= replaced <= min(frames - 1, 0.6 * frames + 1)
        assert int((own[1:] != own[:-1]).sum()) <= 2
        torch.testing.assert_close(joined[:, :, own], video[:, :, own], rtol=0, atol=0)
        shown = joined[0, 0, ~own, 0, 0]
        assert (shown < 0).all()
        assert (shown[1:] != shown[:-1]).all()  # footage goes on, and over again
    assert video.min() == 0


def test_a_single_frame_stays() -> None:
    video = torch.rand(1, 2, 1, 3, 4)
    joined, own = insert_distractor(video, torch.zeros(1, 2, 8, 3, 4), np.random.default_rng(0))
    assert torch.equal(joined, video)
    assert own.tolist() == [True]
