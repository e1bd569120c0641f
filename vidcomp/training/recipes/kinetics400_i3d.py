"""Make the compressors of `kinetics400-i3d`: SFC behind the first pool, with what follows fitted to it, and SGS.

    python -m vidcomp.training.recipes.kinetics400_i3d --data DATA --out models/weights

DATA holds a sub-folder a class; what they are called is not used. The network is its own teacher: the first convolution
with a temporal kernel is given the kernel that comes nearest, by least squares, to saying of every second frame what it
says where it sees all of them. SFC then takes over the stride of `mixed_4a`, so that what follows sees as many frames a
second as ever. To refit the layers between, too, makes their features more alike and the answers less.

SGS joins neighbors whose features have all but the same length in a random projection; nothing of it is fitted.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.nn.backbones.i3d_inception import SameConvBN
from vidcomp.nn.compressors import SFC, SGS, Identity
from vidcomp.nn.compressors.sfc import start_at_own_frames
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.recipes.ucf16_lite0 import ship
from vidcomp.video import DecodeOptions, DecodeWorker, whole
from vidcomp.video.labeled import find_labeled
from vidcomp.zoo.build import load_backbone
from vidcomp.zoo.manifest import find_manifest

MODEL = "kinetics400-i3d"
BEFORE = "stem.conv_2b"
TAU = 2
LAYER = "stages.stem.conv_2c"
SGS_CHANNELS = 192  # of the stem
REFITTED = ("conv.weight", "bn.bias")
_FRAMES = 32  # of features, from the middle of a clip: 64 of the video
_POSITIONS = 1400  # of a clip, drawn for each layer
_RIDGE = 1e-3  # of the inputs' mean square: keeps kernels near what they were where these clips say little
_HELD_OUT = 4  # clips on which the fit is judged
_RATIOS = (0.8, 1.5)  # between which a channel's deviation may be changed
_LEAST = 1e-4  # a deviation that is told from none

_log = logging.getLogger(__name__)


def main() -> None:
    """Fit and save."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with a sub-folder of clips for each class")
    parser.add_argument("--out", type=Path, default=Path("models/weights"), help="where the weights are written")
    parser.add_argument("--clips", type=int, default=24, help="how many clips, taken from all classes in turn")
    options = parser.parse_args()
    backbone = load_backbone(find_manifest(MODEL)).eval().to(memory_format=torch.channels_last_3d)
    runner = Runner(CompressedModel(backbone, [Insertion(BEFORE, Identity())]), torch.device("cpu"), precision="fp32")
    features = [_middle_of(runner, path) for path in _in_turn(options.data, options.clips)]
    layer = backbone.get_submodule(LAYER)
    assert isinstance(layer, SameConvBN)
    refit_convolution(layer, features)
    refitted = {f"{LAYER}.{name}": tensor for name, tensor in layer.state_dict().items() if name in REFITTED}
    ship(refitted, options.out / f"{MODEL}-sfc.refitted.safetensors")
    torch.manual_seed(0)
    sfc = SFC(features[0].shape[1], tau=TAU, pooling="even")
    start_at_own_frames(sfc)
    ship(sfc.state_dict(), options.out / f"{MODEL}-sfc.safetensors")
    torch.manual_seed(1)
    sgs = SGS(SGS_CHANNELS, block=2, bins=32, kernel="kronecker")
    ship(sgs.state_dict(), options.out / f"{MODEL}-sgs.safetensors")


def _in_turn(folder: str, count: int) -> list[str]:
    """The first clip of each class, the second of each, and so on."""
    by_class: defaultdict[str | None, list[str]] = defaultdict(list)
    for video in find_labeled([folder])[0]:
        by_class[video.label].append(video.path)
    rounds = itertools.zip_longest(*by_class.values())
    return [path for paths in rounds for path in paths if path is not None][:count]


def _middle_of(runner: Runner, path: str) -> Tensor:
    """The head's features of the middle of a clip, in half precision."""
    spec = runner.spec
    options = DecodeOptions(spec.short_side, whole(spec.stride, spec.fps), chunk_frames=runner.chunk_frames)
    with DecodeWorker() as worker, worker.open(path, options) as reader:
        features = runner.encode(seen_whole(spec, chunk.pixels) for chunk in reader.chunks())
    assert isinstance(features, Tensor)
    first = max(0, features.shape[2] - _FRAMES) // 2
    return features[:, :, first : first + _FRAMES].half()


@torch.no_grad()
def refit_convolution(layer: SameConvBN, features: Sequence[Tensor]) -> None:
    """Fit a layer's kernel and bias, from every τ-th frame, to its normalized outputs from all of them.

    ``features`` (1, C, T, H, W) are its inputs, of several clips of which the first few judge the fit. Positions are
    drawn at random.

    The nearest outputs vary less than those that they are near to, and what follows would take that for less motion:
    each channel is brought to the mean and the deviation that it had.
    """
    kernel, mean, variance = layer.conv.weight, layer.bn.running_mean, layer.bn.running_var
    assert mean is not None
    assert variance is not None
    deviation = (variance + layer.bn.eps).sqrt()
    # Convolution and BatchNorm as one matrix, whose last row is the bias.
    now = torch.cat([kernel.flatten(1).T, -mean[None]]) / deviation
    now[-1] += layer.bn.bias
    random = torch.Generator().manual_seed(0)
    squares, products = torch.zeros(len(now), len(now)), torch.zeros_like(now)
    seen_of, wanted_of = [], []
    for clip in features:
        outputs = layer.bn(layer.conv(clip.float()))[0, :, ::TAU]
        at = torch.stack([torch.randint(0, size, (_POSITIONS,), generator=random) for size in outputs.shape[1:]])
        seen_of.append(F.pad(_windows(clip[0, :, ::TAU].float(), at, kernel.shape[2]), (0, 1), value=1.0))
        wanted_of.append(outputs[:, at[0], at[1], at[2]].T)
    judged, fitted = slice(0, _HELD_OUT), slice(_HELD_OUT, None)
    for seen, wanted in zip(seen_of[fitted], wanted_of[fitted], strict=True):
        squares += seen.T @ seen
        products += seen.T @ (wanted - seen @ now)
    ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares))
    nearest = now + torch.linalg.solve(squares + ridge, products)
    made = torch.cat([seen @ nearest for seen in seen_of[fitted]])
    target = torch.cat(wanted_of[fitted])
    ratio = (target.std(dim=0) / made.std(dim=0).clamp(min=_LEAST)).clamp(*_RATIOS)
    fit = nearest * ratio
    fit[-1] += target.mean(dim=0) - made.mean(dim=0) * ratio
    kernel.copy_((fit[:-1] * deviation).T.reshape(kernel.shape))
    layer.bn.bias.copy_(fit[-1] + mean / deviation)
    seen, target = torch.cat(seen_of[judged]), torch.cat(wanted_of[judged])
    before, after = (_unexplained(seen @ matrix, target) for matrix in (now, fit))
    _log.info("%.3f of the variance unexplained, %.3f after the fit", before, after)


def _unexplained(made: Tensor, target: Tensor) -> float:
    return float((target - made).square().sum() / (target - target.mean(dim=0)).square().sum())


def _windows(features: Tensor, at: Tensor, size: int) -> Tensor:
    """What a convolution of that size sees of (C, T, H, W) at positions (3, n): (n, C·size³)."""
    padded = F.pad(features, [size // 2] * 6)
    t, h, w = (axis[:, None] + torch.arange(size) for axis in at)
    return padded[:, t[:, :, None, None], h[:, None, :, None], w[:, None, None, :]].transpose(0, 1).flatten(1)


if __name__ == "__main__":
    main()
