"""Footage in which nothing happens, put into videos: what a compressor is to learn to leave out.

Title cards, cutaways, frozen pictures and lost signals stand between the shots that matter. None of the videos at hand
need have them, so they are made: pictures with the colors and textures of real ones and with no content, which stand
still, pass by or flicker.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Frames of footage that are made for a view; they are repeated where more are wanted.
DISTRACTOR_FRAMES = 8
# Share of a video's frames that footage takes the place of.
_SHARE = (0.2, 0.6)


def make_distractor(picture: NDArray[np.float32], random: np.random.Generator) -> Tensor:
    """Footage without any action: pixels (3, 8, H, W) from 0 to 255, as large as ``picture`` (3, H, W).

    It is a card of one color or two, noise, clouds, or the picture with its parts in another order; half of it stands
    still, the rest moves through the frame, and noise may be another in every frame.
    """
    kind = random.integers(4)
    make = (_card, _noise, _clouds, _shuffled)[kind]
    still = make(picture, random)
    if kind == 1 and random.random() < 0.75:
        frames = [make(picture, random) for _ in range(DISTRACTOR_FRAMES)]
    elif random.random() < 0.5:
        frames = [still] * DISTRACTOR_FRAMES
    else:
        down, right = random.normal(0, 0.04, 2) * picture.shape[1:]
        frames = [np.roll(still, (round(down * t), round(right * t)), (1, 2)) for t in range(DISTRACTOR_FRAMES)]
    return torch.from_numpy(np.stack(frames, axis=1).clip(0, 255))


def insert_distractor(features: Tensor, footage: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Let footage (1, C, t, H, W) take the place of a random stretch of a video's frames (1, C, T, H, W).

    Returns:
        The features, and which of the T frames are the video's own (T,). A single frame stays.
    """
    frames = features.shape[2]
    count = min(frames - 1, max(1, round(frames * random.uniform(*_SHARE))))
    own = torch.ones(frames, dtype=torch.bool, device=features.device)
    if count < 1:
        return features, own
    start = int(random.integers(0, frames - count + 1))
    first = int(random.integers(footage.shape[2]))
    chosen = torch.arange(first, first + count, device=footage.device) % footage.shape[2]
    own[start : start + count] = False
    joined = features.clone()
    joined[:, :, ~own] = footage[:, :, chosen].to(features.dtype)
    return joined, own


def _card(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """One color that turns into another from one side to the other; every second card has one alone."""
    one, other = random.uniform(0, 255, (2, 3, 1, 1))
    if random.random() < 0.5:
        other = one
    place = np.linspace(0, 1, picture.shape[2])[None, None]
    return np.broadcast_to(one + (other - one) * place, picture.shape).astype(np.float32)


def _noise(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Grains of 1 to 8 pixels, gray or colored."""
    grain = int(random.integers(1, 9))
    return _enlarged(picture, random, -(-max(picture.shape[1:]) // grain), "nearest")


def _clouds(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Soft spots, 2 to 12 of them along a side."""
    return _enlarged(picture, random, int(random.integers(2, 13)), "bilinear")


def _enlarged(picture: NDArray[np.float32], random: np.random.Generator, cells: int, mode: str) -> NDArray[np.float32]:
    colors = 3 if random.random() < 0.5 else 1
    values = torch.from_numpy(random.uniform(0, 255, (1, colors, cells, cells)).astype(np.float32))
    grown = F.interpolate(values, size=picture.shape[1:], mode=mode)[0]
    enlarged: NDArray[np.float32] = grown.expand(picture.shape).numpy()
    return enlarged


def _shuffled(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The picture cut into 3 × 3 to 8 × 8 parts, each at the place of another: its colors without its content."""
    parts = int(random.integers(3, 9))
    height, width = (max(1, side // parts) for side in picture.shape[1:])
    shuffled: NDArray[np.float32] = picture.copy()
    places = [(row, column) for row in range(parts) for column in range(parts)]
    for (row, column), number in zip(places, random.permutation(len(places)), strict=True):
        from_row, from_column = places[number]
        shuffled[:, row * height : (row + 1) * height, column * width : (column + 1) * width] = picture[
            :, from_row * height : (from_row + 1) * height, from_column * width : (from_column + 1) * width
        ]
    return shuffled
