"""Fine-tune a backbone's tail on labelled clips, its head frozen."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones import CLASSIFIER, Backbone, BackboneSpec
from vidcomp.training.augment import augment, take_clip
from vidcomp.training.frame_store import FrameStore


@dataclass(frozen=True)
class BackboneRecipe:
    """How a backbone is fine-tuned.

    AdamW with a linear warm-up and a half-period cosine; the classifier and the temporal convolutions, which start
    from nothing, learn ``new_factor`` times faster. ``cosine_epochs`` is the cosine's length where training is to stop
    before its end. ``mixup`` is the parameter of the Beta distribution, used on every
    second batch. ``averaging`` is the decay of the moving average of the weights, which is what is kept.
    """

    epochs: int
    crop: int
    seed: int
    cosine_epochs: int | None = None
    frozen_up_to: str = "res3"
    batch: int = 8
    learning_rate: float = 4e-4
    new_factor: float = 4.0
    weight_decay: float = 0.05
    warm_up_steps: int = 100
    smallest_crop: float = 0.35
    label_smoothing: float = 0.1
    mixup: float = 0.4
    averaging: float = 0.998
    gradient_norm: float = 2.0


def normalise(clips: Tensor, spec: BackboneSpec) -> Tensor:
    """Pixels (N, 3, T, H, W) from 0 to 255 to what the backbone expects, laid out for convolutions in time."""
    mean = torch.tensor(spec.mean).view(1, 3, 1, 1, 1) * 255
    std = torch.tensor(spec.std).view(1, 3, 1, 1, 1) * 255
    return ((clips - mean) / std).contiguous(memory_format=torch.channels_last_3d)


def fit_backbone(
    backbone: Backbone,
    store: FrameStore,
    labels: Sequence[str],
    recipe: BackboneRecipe,
    log: Callable[[str], None],
    after_epoch: Callable[[int, nn.Module], str],
) -> None:
    """Train ``backbone`` in place on the videos of ``store``.

    BatchNorm must be frozen or folded already: batches are too small to re-estimate it. ``log`` gets a line an epoch,
    ended by what ``after_epoch`` says of the epoch's number and the averaged tail. At the end the backbone holds the
    averaged weights.
    """
    random = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    head, tail = backbone.split([recipe.frozen_up_to])
    head.eval().requires_grad_(False)
    averaged = copy.deepcopy(tail).requires_grad_(False)
    optimiser = torch.optim.AdamW(_groups(backbone, tail, recipe), lr=recipe.learning_rate)
    rates = [group["lr"] for group in optimiser.param_groups]
    steps = len(store.videos) // recipe.batch
    for epoch in range(1, recipe.epochs + 1):
        tail.train()
        began, losses, right = time.monotonic(), 0.0, 0
        order = random.permutation(len(store.videos))
        for index in range(steps):
            step = (epoch - 1) * steps + index
            progress = step / (steps * (recipe.cosine_epochs or recipe.epochs))
            scale = min(1.0, step / recipe.warm_up_steps) * 0.5 * (1 + math.cos(math.pi * progress))
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * scale
            chosen = order[index * recipe.batch : (index + 1) * recipe.batch]
            clips, wanted, targets = _batch(store, labels, chosen.tolist(), backbone.spec, recipe, random)
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    features = head(clips)
                logits = tail(features).float()
            loss = -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
            if not torch.isfinite(loss):
                names = ", ".join(store.videos[i].path for i in chosen)
                raise FloatingPointError(f"the loss is {loss.item()} in epoch {epoch} on {names}")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(tail.parameters(), recipe.gradient_norm)
            optimiser.step()
            _average(averaged, tail, min(recipe.averaging, (2 + step) / (11 + step)))
            losses += loss.item()
            right += int((logits.argmax(dim=1) == wanted).sum())
        averaged.eval()
        log(
            f"epoch {epoch} loss {losses / steps:.4f} train {right / (steps * recipe.batch):.4f} "
            f"{time.monotonic() - began:.0f} s {after_epoch(epoch, averaged)}".rstrip()
        )
    tail.load_state_dict(averaged.state_dict())


def _batch(
    store: FrameStore,
    labels: Sequence[str],
    chosen: Sequence[int],
    spec: BackboneSpec,
    recipe: BackboneRecipe,
    random: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised clips, their classes, and the smoothed (on every second batch mixed) targets."""
    videos = [store.videos[index] for index in chosen]
    clips = torch.stack(
        [
            augment(
                take_clip(store.pixels(video), spec.clip_frames, random),
                recipe.crop,
                recipe.crop,
                recipe.smallest_crop,
                random,
            )
            for video in videos
        ]
    )
    wanted = torch.tensor([labels.index(video.label) for video in videos])
    targets = F.one_hot(wanted, len(labels)).float()
    if random.random() < 0.5:
        share = float(random.beta(recipe.mixup, recipe.mixup))
        clips = share * clips + (1 - share) * clips.flip(0)
        targets = share * targets + (1 - share) * targets.flip(0)
    targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / len(labels)
    return normalise(clips, spec), wanted, targets


def _groups(backbone: Backbone, tail: nn.Module, recipe: BackboneRecipe) -> list[dict[str, object]]:
    """Parameters by learning rate and weight decay: biases and temporal mixing are not decayed."""
    classifier = {id(parameter) for parameter in backbone.get_submodule(f"stages.{CLASSIFIER}.linear").parameters()}
    fast = recipe.learning_rate * recipe.new_factor
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in tail.named_parameters():
        if id(parameter) in classifier:
            key = (fast, recipe.weight_decay / 5)
        elif ".mix." in name:
            key = (fast, 0.0)
        else:
            key = (recipe.learning_rate, recipe.weight_decay if parameter.ndim > 1 else 0.0)
        groups.setdefault(key, []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


@torch.no_grad()
def _average(averaged: nn.Module, current: nn.Module, decay: float) -> None:
    for kept, new in zip(averaged.parameters(), current.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
