from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcomp.video.transforms import crop, crop_box, to_input

MEAN, STD = (0.45, 0.4, 0.35), (0.225, 0.25, 0.3)


@pytest.mark.parametrize(
    ("width", "height", "position", "expected"),
    [
        (342, 256, 0.0, (0, 0)),
        (342, 256, 0.5, (43, 0)),
        (342, 256, 1.0, (86, 0)),
        (256, 342, 1.0, (0, 86)),
        (300, 276, 0.5, (22, 10)),
    ],
)
def test_crop_box(width: int, height: int, position: float, expected: tuple[int, int]) -> None:
    assert crop_box(width, height, 256, position) == expected


def test_crop_is_a_view() -> None:
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    right = crop(pixels, 4, 1.0)
    assert isinstance(right, np.ndarray)
    assert np.shares_memory(right, pixels)
    assert (right == pixels[:, :, 2:]).all()


def test_a_crop_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        crop_box(100, 200, 112, 0.5)


def test_to_input_by_hand() -> None:
    pixels = np.array([[[[0, 51, 255]]], [[[255, 102, 0]]]], np.uint8)
    result = to_input(pixels, MEAN, STD)
    assert result.shape == (3, 2, 1, 1)
    assert result.dtype == torch.float32
    expected = [[(0 - 0.45) / 0.225, (1 - 0.45) / 0.225], [(0.2 - 0.4) / 0.25, 0.0], [(1 - 0.35) / 0.3, -0.35 / 0.3]]
    assert torch.allclose(result.flatten(1), torch.tensor(expected), atol=1e-6)


def test_chunks_are_normalised_as_the_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    whole = to_input(pixels, MEAN, STD)
    parts = torch.cat([to_input(pixels[:3], MEAN, STD), to_input(torch.from_numpy(pixels[3:]), MEAN, STD)], dim=1)
    assert torch.equal(whole, parts)
    assert whole.is_contiguous()


def test_to_input_takes_a_crop_and_a_dtype() -> None:
    pixels = np.zeros((2, 4, 6, 3), np.uint8)
    assert to_input(crop(pixels, 4), MEAN, STD, dtype=torch.float16).dtype == torch.float16


def test_to_input_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="uint8"):
        to_input(np.zeros((2, 4, 4, 3), np.float32), MEAN, STD)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="std above 0"):
        to_input(np.zeros((2, 4, 4, 3), np.uint8), MEAN, (0.0, 1.0, 1.0))
