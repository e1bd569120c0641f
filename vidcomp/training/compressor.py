"""Fit SFC between a frozen head and a frozen tail (SFC paper, section 4), on whole videos."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.backbones import Backbone
from vidcomp.nn.compressors import SFC
from vidcomp.training.augment import augment, take_clip
from vidcomp.training.backbone import normalise
from vidcomp.training.frame_store import FrameStore


@dataclass(frozen=True)
class CompressorRecipe:
    """How SFC is fitted: SGD with momentum on whole videos, one at a time, gradients gathered over a batch.

    ``taus`` are the compression ratios drawn from, a video each; ``teacher`` weighs, against the labels, what the
    uncompressed network says of the same frames. ``longest`` bounds the frames of a training video.
    """

    epochs: int
    seed: int
    taus: tuple[float, ...] = (2.0,)
    batch: int = 8
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-5
    teacher: float = 0.5
    height: int = 168
    width: int = 224
    smallest_crop: float = 0.6
    longest: int = 64
    gradient_norm: float = 1.0


@torch.no_grad()
def start_near_identity(sfc: SFC) -> None:
    """Let every kept frame begin by attending to itself and its likes: θ_q and θ_k start as the identity."""
    for theta in (sfc.theta_q, sfc.theta_k):
        nn.init.dirac_(theta.weight)


def fit_sfc(
    backbone: Backbone,
    cut: str,
    sfc: SFC,
    store: FrameStore,
    labels: Sequence[str],
    recipe: CompressorRecipe,
    log: Callable[[str], None],
    after_epoch: Callable[[int, SFC], str],
) -> None:
    """Train ``sfc`` in place after ``cut``; nothing of ``backbone`` changes, BatchNorm's statistics included.

    ``log`` gets a line an epoch, ended by what ``after_epoch`` says.
    """
    random = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    head, tail = backbone.eval().requires_grad_(False).split([cut])
    optimiser = torch.optim.SGD(
        sfc.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    steps = len(store.videos) // recipe.batch
    for epoch in range(1, recipe.epochs + 1):
        sfc.train()
        began, losses, right = time.monotonic(), 0.0, 0
        order = random.permutation(len(store.videos))
        for step in range(steps):
            progress = (epoch - 1 + step / steps) / recipe.epochs
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
            optimiser.zero_grad(set_to_none=True)
            for index in order[step * recipe.batch : (step + 1) * recipe.batch]:
                video = store.videos[index]
                clip = augment(
                    take_clip(store.pixels(video), min(video.frames, recipe.longest), random),
                    recipe.height,
                    recipe.width,
                    recipe.smallest_crop,
                    random,
                )
                sfc.tau = float(random.choice(recipe.taus))
                wanted = torch.tensor([labels.index(video.label)])
                loss, logits = _loss(head, sfc, tail, normalise(clip.unsqueeze(0), backbone.spec), wanted, recipe)
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss.item()} in epoch {epoch} on {video.path}")
                (loss / recipe.batch).backward()
                losses += loss.item()
                right += int(logits.argmax(dim=1).item() == wanted.item())
            nn.utils.clip_grad_norm_(sfc.parameters(), recipe.gradient_norm)
            optimiser.step()
        sfc.eval()
        seen = steps * recipe.batch
        log(
            f"epoch {epoch} loss {losses / seen:.4f} train {right / seen:.4f} "
            f"{time.monotonic() - began:.0f} s {after_epoch(epoch, sfc)}".rstrip()
        )


def _loss(
    head: nn.Module, sfc: SFC, tail: nn.Module, clip: Tensor, wanted: Tensor, recipe: CompressorRecipe
) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            features = head(clip)
            taught = tail(features).float().softmax(dim=1) if recipe.teacher else None
        logits = tail(sfc(features).features).float()
    loss = (1 - recipe.teacher) * F.cross_entropy(logits, wanted)
    if taught is not None:
        loss = loss + recipe.teacher * F.kl_div(logits.log_softmax(dim=1), taught, reduction="batchmean")
    return loss, logits
