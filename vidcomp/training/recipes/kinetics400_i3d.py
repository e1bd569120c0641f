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
from pathlib import Path

import torch

from vidcomp.inference.runner import Runner
from vidcomp.nn.compressors import SGS, Identity
from vidcomp.nn.compressors.saliency import SalientFrames
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.recipes.ucf16_lite0 import ship
from vidcomp.training.saliency import fit_to
from vidcomp.zoo.build import load_backbone
from vidcomp.zoo.manifest import find_manifest

MODEL = "kinetics400-i3d"
CUT = "stem.pool_2a"
SFC_CHANNELS = 64  # of the first pool
SGS_CHANNELS = 192  # of the stem


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
    compressor = SalientFrames(SFC_CHANNELS)
    fit_to(compressor.network, runner, actions, nothing)
    ship(compressor.state_dict(), options.out / f"{MODEL}-sfc.safetensors")
    torch.manual_seed(1)
    sgs = SGS(SGS_CHANNELS, block=2, bins=32, kernel="kronecker")
    ship(sgs.state_dict(), options.out / f"{MODEL}-sgs.safetensors")


if __name__ == "__main__":
    main()
