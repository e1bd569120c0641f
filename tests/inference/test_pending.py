"""What is said of videos in which nothing happens."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidcomp.inference.pending import Variety

STILL = "it shows a still picture throughout: there is no action to be seen, whatever the label"
PLAIN = "it shows one plain color throughout: there is no action to be seen, whatever the label"


def picture() -> NDArray[np.uint8]:
    values = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return values.repeat(8, axis=0).repeat(8, axis=1)


def noisy(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).integers(-2, 3, frames.shape)
    return (frames.astype(int) + noise).clip(0, 255).astype(np.uint8)


def moving() -> NDArray[np.uint8]:
    """A small square that moves before a picture that stands still."""
    frames = np.stack([picture()] * 10)
    for number, frame in enumerate(frames):
        frame[8:16, 4 * number : 4 * number + 8] = 255
    return frames


@pytest.mark.parametrize(
    ("frames", "notes"),
    [
        (noisy(np.stack([picture()] * 10)), (STILL,)),
        (noisy(np.zeros((10, 48, 64, 3), np.uint8)), (PLAIN,)),
        (noisy(np.full((10, 48, 64, 3), 130, np.uint8)), (PLAIN,)),
        (np.zeros((10, 4, 5, 3), np.uint8), (PLAIN,)),
        (noisy(moving()), ()),
        (np.stack([np.full((48, 64, 3), value, np.uint8) for value in (0, 255)]), ()),
        (picture()[None], ()),  # one frame tells nothing
    ],
)
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_still_and_plain_videos_are_told(frames: NDArray[np.uint8], notes: tuple[str, ...], at_once: int) -> None:
    variety = Variety()
    for start in range(0, len(frames), at_once):
        variety.see(frames[start : start + at_once])
    assert variety.notes() == notes
