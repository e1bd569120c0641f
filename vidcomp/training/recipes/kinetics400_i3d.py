"""Make the compressors of `kinetics400-i3d`: SFC by saliency behind the first pool, and SGS after the stem.

    python -m vidcomp.training.recipes.kinetics400_i3d --actions ACTIONS --nothing NOTHING --out models/weights

ACTIONS and NOTHING hold videos: clips of actions, whatever they are, and footage in which nobody does anything. To the
latter come cards, noise, and pans over stills of both, so that it takes motion, and not only looks, to be salient.
The network that scores frames is fitted to sequences of such pieces; the rest of the model stays as it is.

SGS joins neighbors whose features have all but the same length in a random projection; nothing of it is fitted.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.nn.compressors import SGS, Identity
from vidcomp.nn.compressors.saliency import SalientFrames, picture_statistics
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.recipes.ucf16_lite0 import ship
from vidcomp.video import DecodeOptions, DecodeWorker, whole
from vidcomp.zoo.build import load_backbone
from vidcomp.zoo.manifest import find_manifest

MODEL = "kinetics400-i3d"
CUT = "stem.pool_2a"
SGS_CHANNELS = 192  # of the stem
_SECONDS = 3  # of each clip
_MADE_FRAMES = 50
_STILLS = 37  # of which pans are made; every fourth stands still
_CARDS = 10  # and as many noises
_SEQUENCE = 250  # feature frames that the network is shown at once
_BATCH, _STEPS, _RATE, _DECAY = 8, 1500, 2e-3, 1e-2
_GAIN = 0.1  # deviation of the factor by which a sequence's contrast is changed
_DROPOUT = 0.2

_log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


def main() -> None:
    """Fit and save."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=Path, required=True, help="folder with clips of actions")
    parser.add_argument("--nothing", type=Path, required=True, help="folder with footage without any")
    parser.add_argument("--out", type=Path, default=Path("models/weights"), help="where the weights are written")
    parser.add_argument("--clips", type=int, default=192, help="clips of actions, drawn at random")
    options = parser.parse_args()
    backbone = load_backbone(find_manifest(MODEL)).eval().to(memory_format=torch.channels_last_3d)
    runner = Runner(CompressedModel(backbone, [Insertion(CUT, Identity())]), torch.device("cpu"), precision="fp32")
    actions = sorted(path for path in options.actions.rglob("*") if path.is_file())
    actions = random.Random(1).sample(actions, min(options.clips, len(actions)))
    nothing = sorted(path for path in options.nothing.rglob("*") if path.is_file())
    salient = [_statistics(runner, _pixels(runner, path)) for path in actions]
    real = [_statistics(runner, _pixels(runner, path)) for path in nothing]
    stills = [*actions[: 2 * _STILLS // 3], *nothing[: _STILLS // 3 + 1]]
    made = [_statistics(runner, pixels) for pixels in _made(runner, stills)]
    compressor = SalientFrames(salient[0].shape[1] // 3)
    fit(compressor, salient, real, made)
    ship(compressor.state_dict(), options.out / f"{MODEL}-sfc.safetensors")
    torch.manual_seed(1)
    sgs = SGS(SGS_CHANNELS, block=2, bins=32, kernel="kronecker")
    ship(sgs.state_dict(), options.out / f"{MODEL}-sgs.safetensors")


def _pixels(runner: Runner, path: Path) -> Pixels:
    """The first frames (T, H, W, 3) of a clip as the network sees them."""
    spec = runner.spec
    options = DecodeOptions(spec.short_side, whole(spec.stride, spec.fps), chunk_frames=runner.chunk_frames)
    frames: list[Pixels] = []
    most = round(_SECONDS * (spec.fps or 25))
    with DecodeWorker() as worker, worker.open(str(path), options) as reader:
        for chunk in reader.chunks():
            frames.append(seen_whole(spec, chunk.pixels))
            if sum(map(len, frames)) >= most:
                break
    return np.concatenate(frames)[:most]


def _statistics(runner: Runner, pixels: Pixels) -> Tensor:
    """What the scoring network sees of them (T, 3C)."""
    features = runner.encode([pixels])
    assert isinstance(features, Tensor)
    return picture_statistics(features)[0]


def _made(runner: Runner, stills: list[Path]) -> Iterator[Pixels]:
    """Pans, still pictures, cards and noise, as large as the network's picture."""
    side, generator = runner.spec.crop, np.random.default_rng(0)
    for number, path in enumerate(stills):
        still = _pixels(runner, path)[10]
        yield still[None].repeat(_MADE_FRAMES, axis=0) if number % 4 == 3 else pan(still, _MADE_FRAMES, generator)
    for number in range(_CARDS):
        card = np.broadcast_to(generator.integers(0, 256, 3, np.uint8), (_MADE_FRAMES, side, side, 3)).copy()
        if number % 2:
            card[:, side // 4 : 3 * side // 4, side // 8 : -side // 8] = generator.integers(0, 256, 3, np.uint8)
        yield card
        coarse = side // (1, 1, 8)[number % 3]
        grains = generator.normal(128, (74, 20 + 20 * number, 74)[number % 3], (_MADE_FRAMES, coarse, coarse, 3))
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


def fit(compressor: SalientFrames, salient: list[Tensor], real: list[Tensor], made: list[Tensor]) -> None:
    """Fit the scoring network to tell statistics (T, 3C) of actions from those of nothing, within sequences of both."""
    torch.manual_seed(0)
    drawn, network = random.Random(0), compressor.network
    every = torch.log1p(torch.cat([*salient, *real, *made]))
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


if __name__ == "__main__":
    main()
