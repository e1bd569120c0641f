"""A network of which some parts learn: losses and gradients of a batch of videos, and how right it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.inference.device import PRECISIONS, autocast
from vidcomp.nn.compressors import SFC, Features, FeaturesError
from vidcomp.nn.compressors.base import join_features, map_pathways, pathways_of
from vidcomp.nn.video_model import ModelOutput, noting_features, rollout
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training import TrainingError
from vidcomp.training.config import BitstreamRecipe, CompressorRecipe, Recipe

_NORM_MOMENTUM = 0.1
# Attention that is all but gone would give a loss, and with it gradients, without bounds.
_LEAST_SHARE = 1e-4
# Of a feature that is the same in all videos.
_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Example:
    """One view: its features or clip (a batch of one), class, the teacher's probabilities (classes,), SFC's τ.

    ``own`` (T,) tells the video's frames from distractors; ``None`` where there is none.
    """

    path: str
    features: Features
    label: int | None
    taught: Tensor | None
    tau: float | None
    own: Tensor | None = None


@dataclass(frozen=True)
class BatchResult:
    """Sum of the losses of a batch, and how many of its best labels were right."""

    loss: float
    right: int


class Objective:
    """Fits ``parts`` of a network and leaves everything else as it is, BatchNorm's statistics included.

    The loss is the cross-entropy with the label, with what a teacher says, or with both as the recipe weighs them;
    with distractors in a view, that of the attention which falls on them is added. With hints it also has the mean
    squared error with which a linear layer, :attr:`hints`, predicts another network's features from those of this one
    (Romero et al., FitNets, 2015); the former are scaled to a mean of 0 and a deviation of 1 over the videos.
    """

    hints: nn.Linear | None = None

    def __init__(
        self,
        network: CompressedModel,
        parts: Sequence[nn.Module],
        recipe: Recipe,
        device: torch.device,
        *,
        from_clips: bool = False,
        frozen_bn: Sequence[nn.Module] = (),
        hints: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Choose what learns.

        Args:
            network: the whole.
            parts: modules of it that learn.
            recipe: what the network is to say, and in which precision (``auto`` resolved).
            device: where it is trained.
            from_clips: whether examples are clips for the head, rather than its features.
            frozen_bn: those of ``parts`` that were trained before: their BatchNorm keeps the statistics it has, which
                small batches of few videos would spoil. Elsewhere it takes them from the examples.
            hints: another network's features (C,) of the examples, by path.
        """
        self.network = network.to(device).to(memory_format=torch.channels_last_3d).eval().requires_grad_(False)
        self.parts = nn.ModuleList(parts).requires_grad_(True)
        self.device = device
        self._recipe = recipe
        self._from_clips = from_clips
        self._frozen_bn = {id(module) for part in frozen_bn for module in part.modules()}
        self._teacher_weight = self._distractor_weight = self._hint_weight = 0.0
        self._teacher = "none"
        if isinstance(recipe, CompressorRecipe):
            self._distractor_weight = recipe.distractor_weight
            self._teacher = recipe.teacher
            self._hint_weight = recipe.hint_weight
        if isinstance(recipe, CompressorRecipe | BitstreamRecipe):
            self._teacher_weight = recipe.teacher_weight
        self._hints: dict[str, Tensor] = {}
        if hints:
            every = torch.stack(list(hints.values())).to(device)
            mean, deviation = every.mean(dim=0), every.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION)
            self._hints = dict(zip(hints, (every - mean) / deviation, strict=True))
            channels = sum(next(layer.parameters()).shape[1] for layer in network.classifiers)
            self.hints = nn.Linear(channels, every.shape[1])
            nn.init.zeros_(self.hints.weight)
            nn.init.zeros_(self.hints.bias)
            self.parts.append(self.hints.to(device))

    def train(self) -> None:
        """Put what learns in training mode, and nothing else."""
        for module in self.parts.modules():
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            module.training = not (is_norm and id(module) in self._frozen_bn)

    def learn(
        self, examples: Sequence[Example], random: np.random.Generator, backward: Callable[[Tensor], None]
    ) -> BatchResult:
        """Hand the batch's mean loss to ``backward``, in as many parts as it has shapes.

        Videos of the same shape and τ run together; with hints, each by itself where a compressor may
        leave more of one than of another.

        Raises:
            TrainingError: a loss is not finite; the message names the files.
        """
        groups: dict[tuple[object, ...], list[Example]] = {}
        for example in examples:
            shapes = (part.shape for part in pathways_of(example.features))
            alone = example.path if self._hints and not self._even else None
            groups.setdefault((alone, example.tau, *shapes), []).append(example)
        mix = self._recipe.mixup > 0 and random.random() < 0.5
        losses, right = 0.0, 0
        for members in groups.values():
            share = float(random.beta(self._recipe.mixup, self._recipe.mixup)) if mix else 1.0
            loss, correct = self._loss(members, share)
            if not np.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss became {loss.item()} on {', '.join(member.path for member in members)}: look at these "
                    "files, or lower learning_rate"
                )
            backward(loss / len(examples))
            losses += loss.item()
            right += correct
        return BatchResult(losses, right)

    def _loss(self, members: Sequence[Example], share: float) -> tuple[Tensor, int]:
        """Summed cross-entropy of videos of one shape with their targets, each mixed with another."""
        features = join_features([member.features for member in members])
        set_tau(self.network, members[0].tau)
        with autocast(self.device, PRECISIONS[self._recipe.precision]):
            targets = mixed = self.targets(members, features)
            if share < 1:
                features = map_pathways(features, lambda part: share * part + (1 - share) * part.flip(0))
                mixed = share * targets + (1 - share) * targets.flip(0)
            self._weigh_statistics()
            try:
                need_attention = any(member.own is not None for member in members)
                output = self._finish(self._head(features), need_attention)
            except FeaturesError as error:
                raise TrainingError(f"{', '.join(member.path for member in members)}: {error}") from None
        logits = output.logits.float()
        loss = F.cross_entropy(logits, mixed, reduction="sum")
        for number, member in enumerate(members):
            if member.own is not None:
                loss = loss + self._distractor_weight * self.stray_attention(output, number, member.own)
        if self.hints is not None:
            assert output.features is not None
            hints = torch.stack([self._hints[member.path] for member in members])
            told = self.hints(output.features.mean(dim=1))
            assert told.shape == hints.shape
            errors = F.mse_loss(told, hints, reduction="none")
            loss = loss + self._hint_weight * errors.mean(dim=1).sum()
        return loss, int((logits.argmax(dim=1) == targets.argmax(dim=1)).sum())

    def _finish(self, features: Features, need_attention: bool) -> ModelOutput:
        def run() -> ModelOutput:
            return self.network.finish(features, need_attention=need_attention)

        return run() if self.hints is None else noting_features(self.network, run)

    @property
    def _even(self) -> bool:
        """Whether videos of one length have one length behind the compressors too."""
        # A subclass may keep as many frames as the video has that matter.
        return all(type(compressor) is SFC for compressor in self.network.compressors)

    def _weigh_statistics(self) -> None:
        """Let BatchNorm's first statistics count fully and the next ones as parts of a mean, until the usual tenth.

        They start as 0 and 1, which would still be felt where a training has few steps.
        """
        for module in self.parts.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                assert module.num_batches_tracked is not None
                module.momentum = max(_NORM_MOMENTUM, 1 / (int(module.num_batches_tracked) + 1))

    def _head(self, features: Features) -> Features:
        """The head's features, also where examples are clips."""
        made: Features = self.network.head(features) if self._from_clips else features
        return made

    def stray_attention(self, output: ModelOutput, number: int, own: Tensor) -> Tensor:
        """−log of the share of a video's attention that its ``own`` frames (T,) have."""
        weights = rollout(self.network, output, number)
        assert weights is not None
        stride = self.network.temporal_strides[0] if self._from_clips else 1
        mass = weights.sum(dim=0)
        return -((mass * own[::stride][: len(mass)]).sum() / mass.sum()).clamp(min=_LEAST_SHARE).log()

    @torch.no_grad()
    def targets(self, members: Sequence[Example], features: Features) -> Tensor:
        """What is to be said of each video, as probabilities (N, classes)."""
        asked = self._uncompressed(members, features) if self._teacher == "whole" else None
        smoothing, classes = self._recipe.label_smoothing, self._classes
        rows = []
        for number, member in enumerate(members):
            taught = asked[number] if asked is not None else member.taught
            taught = None if taught is None else taught.to(self.device).float()
            if member.label is None:
                assert taught is not None
                rows.append(taught)
                continue
            row = torch.full((classes,), smoothing / classes, device=self.device)
            row[member.label] += 1 - smoothing
            rows.append(row if taught is None else (1 - self._teacher_weight) * row + self._teacher_weight * taught)
        return torch.stack(rows)

    def _uncompressed(self, members: Sequence[Example], features: Features) -> Tensor:
        """Probabilities (N, classes) without compression, and without a view's distractors."""
        if all(member.own is None for member in members):
            return self._pass_whole(features)
        return torch.cat([self._pass_whole(_own_frames(member)) for member in members])

    def _pass_whole(self, features: Features) -> Tensor:
        features = self._head(features)
        for segment in list(self.network.segments)[1:]:
            features = segment(features)
        assert isinstance(features, Tensor)
        return features.float().softmax(dim=1)

    @property
    def _classes(self) -> int:
        linear = [module for module in self.network.segments[-1].modules() if isinstance(module, nn.Linear)]
        return linear[-1].out_features


def _own_frames(member: Example) -> Features:
    """What is the video's own of a view."""
    own = member.own
    return member.features if own is None else map_pathways(member.features, lambda part: part[:, :, own])


def set_tau(network: CompressedModel, tau: float | None) -> None:
    """Let the network's SFC compress by ``tau``, if one is given."""
    if tau is not None:
        for compressor in network.compressors:
            if isinstance(compressor, SFC):
                compressor.tau = tau
