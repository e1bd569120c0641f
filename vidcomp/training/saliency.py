"""Fit what tells frames in which something is going on from those in which nothing is.

Clips of actions, footage without any, and pictures that are made (pans, stills, cards, noise) are passed through a
network's head once. The scoring network is fitted to sequences of such pieces.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.nn.compressors.saliency import SaliencyNetwork, picture_statistics, signed_log
from vidcomp.video import DecodeWorker

_SECONDS = 3  # of each clip
_MADE_SECONDS = 2
_STILLS = 37  # of which pans are made; every fourth stands still
_CARDS = 10  # and as many noises
_SEQUENCE = 250  # feature frames that the network is shown at once
_BATCH, _STEPS, _RATE, _DECAY = 8, 1500, 2e-3, 1e-2
_GAIN = 0.1  # deviation of the factor by which a sequence's contrast is changed
_DROPOUT = 0.2
_FPS = 25  # of a video whose network goes by its frames

_log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


def fit_to(network: SaliencyNetwork, runner: Runner, actions: Sequence[Path], nothing: Sequence[Path]) -> None:
    """Fit the scoring network to what ``runner``'s head says of videos of actions and of such without.

    Raises:
        VideoError: one of them cannot be read.
    """
    shown = {path: _pixels(runner, path) for path in nothing}
    real = [_statistics(runner, pixels) for pixels in shown.values()]
    stills = [pixels[len(pixels) // 4] for pixels in list(shown.values())[: _STILLS // 3 + 1]]
    salient: list[Tensor] = []
    cuts = [_statistics(runner, np.stack([one[-1], other[0]]))[:1] for one, other in pairwise(shown.values())]
    for path in actions:
        pixels = _pixels(runner, path)
        salient.append(_statistics(runner, pixels))
        if len(stills) < _STILLS:
            stills.append(pixels[len(pixels) // 4])
    fit(network, salient, real, [_statistics(runner, pixels) for pixels in _made(runner, stills)], cuts)


def _rate(runner: Runner) -> float:
    """Frames a second that the network is shown, about."""
    return runner.spec.fps or _FPS / runner.spec.stride


def _pixels(runner: Runner, path: Path) -> Pixels:
    """The first frames (T, H, W, 3) of a clip as the network sees them."""
    frames: list[Pixels] = []
    most = round(_SECONDS * _rate(runner))
    with DecodeWorker() as worker, worker.open(str(path), runner.decoding) as reader:
        for chunk in reader.chunks():
            frames.append(seen_whole(runner.spec, chunk.pixels))
            if sum(map(len, frames)) >= most:
                break
    return np.concatenate(frames)[:most]


def _statistics(runner: Runner, pixels: Pixels) -> Tensor:
    """What the scoring network sees of them (T, 3C)."""
    features = runner.encode([pixels])
    assert isinstance(features, Tensor)
    return picture_statistics(features)[0]


def _made(runner: Runner, stills: Sequence[Pixels]) -> Iterator[Pixels]:
    """Pans, still pictures, cards and noise, as large as the network's picture."""
    side, generator, frames = runner.spec.crop, np.random.default_rng(0), round(_MADE_SECONDS * _rate(runner))
    for number, still in enumerate(stills):
        yield still[None].repeat(frames, axis=0) if number % 4 == 3 else pan(still, frames, generator)
    for number in range(_CARDS):
        card = np.broadcast_to(generator.integers(0, 256, 3, np.uint8), (frames, side, side, 3)).copy()
        if number % 2:
            card[:, side // 4 : 3 * side // 4, side // 8 : -side // 8] = generator.integers(0, 256, 3, np.uint8)
        yield card
        coarse = side // (1, 1, 8)[number % 3]
        grains = generator.normal(128, (74, 20 + 20 * number, 74)[number % 3], (frames, coarse, coarse, 3))
        grown = F.interpolate(torch.from_numpy(grains).permute(0, 3, 1, 2), (side, side), mode="bilinear")
        yield grown.permute(0, 2, 3, 1).clamp(0, 255).byte().numpy()


def pan(still: Pixels, frames: int, generator: np.random.Generator) -> Pixels:
    """A slow pan and zoom over a picture (H, W, 3): frames (T, H, W, 3)."""
    zooms, starts = generator.uniform(0.7, 1, 2), generator.uniform(-0.2, 0.2, 2)
    moves = generator.uniform(-0.25, 0.25, 2)
    picture = torch.from_numpy(still).permute(2, 0, 1)[None].float()
    shown = []
    for at in np.linspace(0, 1, frames):
        zoom, (x, y) = zooms[0] + (zooms[1] - zooms[0]) * at, starts + moves * at
        window = torch.tensor([[[zoom, 0, x], [0, zoom, y]]]).float()
        grid = F.affine_grid(window, [1, *picture.shape[1:]], align_corners=False)
        moved = F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)
        shown.append(moved[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())
    return np.stack(shown)


def fit(
    network: SaliencyNetwork,
    salient: Sequence[Tensor],
    real: Sequence[Tensor],
    made: Sequence[Tensor],
    cuts: Sequence[Tensor] = (),
) -> None:
    """Fit the scoring network to tell statistics (T, 3C) of actions from those of nothing, within sequences of both.

    ``cuts`` (1, 3C) are those of frames before a cut, which a head that looks at differences takes for motion: pieces
    may end in one.
    """
    torch.manual_seed(0)
    drawn = random.Random(0)
    every = signed_log(torch.cat([*salient, *real, *made]))
    network.mean.copy_(every.mean(dim=0))
    network.deviation.copy_(every.std(dim=0) + 1e-3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, _STEPS)

    def sequence() -> tuple[Tensor, Tensor]:
        pieces: list[Tensor] = []
        targets: list[Tensor] = []
        while sum(len(piece) for piece in pieces) < _SEQUENCE:
            kind = drawn.choices((salient, real, made), (0.4, 0.4, 0.2))[0]
            piece = drawn.choice(kind)
            if kind is salient and drawn.random() < 0.5:
                length = drawn.randint(min(12, len(piece)), len(piece))
                start = drawn.randint(0, len(piece) - length)
                piece = piece[start : start + length]
            if cuts and drawn.random() < 0.7:
                piece = torch.cat([piece[:-1], drawn.choice(cuts)])
            pieces.append(piece)
            targets.append(torch.full((len(piece),), float(kind is salient)))
        return torch.cat(pieces)[:_SEQUENCE], torch.cat(targets)[:_SEQUENCE]

    for step in range(_STEPS):
        batch = [sequence() for _ in range(_BATCH)]
        shown = torch.stack([pieces for pieces, _ in batch]) * torch.exp(_GAIN * torch.randn(_BATCH, 1, 1))
        scores = network(shown, dropout=_DROPOUT)
        loss = F.binary_cross_entropy_with_logits(scores, torch.stack([target for _, target in batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 499:
            _log.info("step %d: loss %.4f", step + 1, loss.item())
