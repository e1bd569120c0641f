"""Make `kinetics400-i3d-sfc`: SFC behind the first pool, and the layers after it refitted to fewer frames.

    python -m vidcomp.training.recipes.kinetics400_i3d --data DATA --out models/weights

DATA holds a sub-folder a class; what they are called is not used. The network is its own teacher: a convolution that
sees every second frame is given the kernel that comes nearest, by least squares, to what it says where it sees all.
Layer by layer, up to `mixed_4a`, each is fitted to what the refitted ones before it make. What follows sees as many
frames a second as ever, since SFC takes over the stride of `mixed_4a`.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.nn.backbones.i3d_inception import Mixed, SameConvBN
from vidcomp.nn.compressors import SFC, Identity
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.compressor import start_at_own_frames
from vidcomp.training.recipes.ucf16_lite0 import ship
from vidcomp.video import DecodeOptions, DecodeWorker, whole
from vidcomp.video.labeled import find_labeled
from vidcomp.zoo.build import load_backbone
from vidcomp.zoo.manifest import find_manifest

MODEL = "kinetics400-i3d"
CUT = "stem.pool_2a"
TAU = 2
# What lies between the cut and `mixed_4a`.
_REFITTED = ("stem.conv_2b", "stem.conv_2c", "stem.pool_3a", "mixed_3b", "mixed_3")
_FRAMES = 32  # of features, from the middle of a clip: 64 of the video
_POSITIONS = 1200  # of a clip, drawn for each layer
_RIDGE = 1e-3  # of the inputs' mean square: keeps kernels near what they were where these clips say little
_HELD_OUT = 4  # clips on which the fit is judged
_RATIOS = (0.8, 1.5)  # between which a channel's deviation may be changed
_LEAST = 1e-4  # a deviation that is told from none

_log = logging.getLogger(__name__)
# The network's features of a clip, (1, C, T, H, W), and the refitted one's, of every τ-th of these frames.
Both = tuple[Tensor, Tensor]


def main() -> None:
    """Fit and save."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with a sub-folder of clips for each class")
    parser.add_argument("--out", type=Path, default=Path("models/weights"), help="where the weights are written")
    parser.add_argument("--clips", type=int, default=32, help="how many clips, taken from all classes in turn")
    options = parser.parse_args()
    backbone = load_backbone(find_manifest(MODEL)).eval().to(memory_format=torch.channels_last_3d)
    runner = Runner(CompressedModel(backbone, [Insertion(CUT, Identity())]), torch.device("cpu"), precision="float32")
    features = [_middle_of(runner, path) for path in _in_turn(options.data, options.clips)]
    ship(refit(backbone, features), options.out / f"{MODEL}-sfc.refitted.safetensors")
    torch.manual_seed(0)
    sfc = SFC(features[0].shape[1], tau=TAU, pooling="even")
    start_at_own_frames(sfc)
    ship(sfc.state_dict(), options.out / f"{MODEL}-sfc.safetensors")


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
def refit(backbone: nn.Module, features: Sequence[Tensor]) -> dict[str, Tensor]:
    """What changes in the backbone's tensors where what follows the cut is to see every τ-th frame.

    ``features`` (1, C, T, H, W) are those of several clips at the cut, of which the first few judge the fit.
    """
    refitted = copy.deepcopy(backbone)
    pairs = [(part, part[:, :, ::TAU]) for part in features]
    for part in _REFITTED:
        name = f"stages.{part}"
        pairs = _follow(name, backbone.get_submodule(name), refitted.get_submodule(name), pairs)
    before, after = backbone.state_dict(), refitted.state_dict()
    return {name: tensor for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def _follow(name: str, teacher: nn.Module, student: nn.Module, pairs: list[Both]) -> list[Both]:
    """What both make of their features, every convolution of the student being refitted on the way."""
    if isinstance(teacher, SameConvBN):
        assert isinstance(student, SameConvBN)
        refit_convolution(name, teacher, student, pairs)
    parts = [(f"{name}.{part}", module, student.get_submodule(part)) for part, module in teacher.named_children()]
    if isinstance(teacher, nn.Sequential):
        for part in parts:
            pairs = _follow(*part, pairs)
        return pairs
    if isinstance(teacher, Mixed):
        branches = zip(*(_follow(*part, pairs) for part in parts), strict=True)
        return [(torch.cat([full for full, _ in clip], 1), torch.cat([few for _, few in clip], 1)) for clip in branches]
    return [(teacher(full.float()).half(), student(few.float()).half()) for full, few in pairs]


def refit_convolution(name: str, teacher: SameConvBN, student: SameConvBN, pairs: Sequence[Both]) -> None:
    """Fit the student's kernel and bias to the teacher's normalized outputs, at positions drawn at random.

    The nearest outputs vary less than those that they are near to, and what follows would take that for less motion:
    each channel is brought to the mean and the deviation that the teacher's has.
    """
    kernel, mean, variance = student.conv.weight, student.bn.running_mean, student.bn.running_var
    assert mean is not None
    assert variance is not None
    deviation = (variance + student.bn.eps).sqrt()
    # Convolution and BatchNorm as one matrix, whose last row is the bias.
    now = torch.cat([kernel.flatten(1).T, -mean[None]]) / deviation
    now[-1] += student.bn.bias
    random = torch.Generator().manual_seed(0)
    squares, products = torch.zeros(len(now), len(now)), torch.zeros_like(now)
    seen_of, wanted_of = [], []
    for full, few in pairs:
        outputs = teacher.bn(teacher.conv(full.float()))[0, :, ::TAU]
        at = torch.stack([torch.randint(0, size, (_POSITIONS,), generator=random) for size in outputs.shape[1:]])
        seen_of.append(F.pad(_windows(few[0].float(), at, kernel.shape[2]), (0, 1), value=1.0))
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
    student.bn.bias.copy_(fit[-1] + mean / deviation)
    seen, target = torch.cat(seen_of[judged]), torch.cat(wanted_of[judged])
    before, after = (_unexplained(seen @ matrix, target) for matrix in (now, fit))
    _log.info("%s: %.3f of the variance unexplained, %.3f after the fit", name, before, after)


def _unexplained(made: Tensor, target: Tensor) -> float:
    return float((target - made).square().sum() / (target - target.mean(dim=0)).square().sum())


def _windows(features: Tensor, at: Tensor, size: int) -> Tensor:
    """What a convolution of that size sees of (C, T, H, W) at positions (3, n): (n, C·size³)."""
    padded = F.pad(features, [size // 2] * 6)
    t, h, w = (axis[:, None] + torch.arange(size) for axis in at)
    return padded[:, t[:, :, None, None], h[:, None, :, None], w[:, None, None, :]].transpose(0, 1).flatten(1)


if __name__ == "__main__":
    main()
