"""A network of which some parts learn: losses and gradients of a batch of videos, and how right it is."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.inference.device import cpu_has_bf16
from vidcomp.nn.compressors import SFC, Features, FeaturesError
from vidcomp.nn.compressors.base import join_features, map_pathways, pathways_of
from vidcomp.nn.rollout import rollout
from vidcomp.nn.whole_video import CompressedModel, ModelOutput
from vidcomp.training.config import Precision, Recipe
from vidcomp.training.errors import RequestError, TrainingError

_NORM_MOMENTUM = 0.1
# Attention that is all but gone would give a loss, and with it gradients, without bounds.
_LEAST_SHARE = 1e-4
_DTYPES: dict[Precision, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@contextlib.contextmanager
def compute(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within this, arithmetic has the precision asked for."""
    with torch.autocast(device.type, _DTYPES.get(precision), enabled=precision in _DTYPES):
        yield


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device has no instructions for.

    Raises:
        RequestError: it would be wrong, or some hundred times slower than float32.
    """
    if precision == "float16" and device.type == "cpu":
        raise RequestError("precision=float16 is for GPUs; use float32, or bfloat16 where the processor has it")
    if precision == "bfloat16" and device.type == "cpu" and not cpu_has_bf16():
        raise RequestError(
            "precision=bfloat16: this processor would have to emulate it, many times slower; use float32"
        )


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
class StepResult:
    """Sum of the losses of a batch, how many of its best labels were right, and how many videos it had."""

    loss: float
    right: int
    videos: int


@dataclass(frozen=True)
class Objective:
    """What the network is to say.

    ``teacher_weight`` is the teacher's against the label (1 where there is no label); ``ask_whole`` makes the
    uncompressed network the teacher of the same view. ``distractor_weight`` is that of the attention to distractors.
    """

    label_smoothing: float = 0.0
    mixup: float = 0.0
    teacher_weight: float = 0.0
    ask_whole: bool = False
    distractor_weight: float = 0.0


class Learner:
    """Fits ``parts`` of a network and leaves everything else as it is, BatchNorm's statistics included."""

    def __init__(
        self,
        network: CompressedModel,
        parts: Sequence[nn.Module],
        recipe: Recipe,
        objective: Objective,
        device: torch.device,
        *,
        from_clips: bool = False,
        settled: Sequence[nn.Module] = (),
        named_in: nn.Module | None = None,
        new: Sequence[str] = (),
    ) -> None:
        """Choose what learns.

        Args:
            network: the whole.
            parts: modules of it that learn.
            recipe: batch size, decay of the weights' average, precision.
            objective: what the network is to say.
            device: where it is trained.
            from_clips: whether examples are clips for the head, rather than its features.
            settled: those of ``parts`` that were trained before: their BatchNorm keeps the statistics it has, which
                small batches of few videos would spoil. Elsewhere it takes them from the examples.
            named_in: the module whose names of parameters count, by default the network.
            new: parts of names of parameters that start from nothing.
        """
        self.network = network.to(device).to(memory_format=torch.channels_last_3d).eval().requires_grad_(False)
        self.parts = nn.ModuleList(parts).requires_grad_(True)
        self.device = device
        self._recipe = recipe
        self._objective = objective
        self._from_clips = from_clips
        self._settled = {id(module) for part in settled for module in part.modules()}
        self._named_in = named_in or network
        self.new = tuple(new)
        self._averaged = copy.deepcopy(self.parts).requires_grad_(False) if recipe.ema_decay else None

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What learns, by name."""
        return [(name, value) for name, value in self._named_in.named_parameters() if value.requires_grad]

    def train(self) -> None:
        """Put what learns in training mode, and nothing else."""
        for module in self.parts.modules():
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            module.training = not (is_norm and id(module) in self._settled)

    def learn(
        self, examples: Sequence[Example], random: np.random.Generator, scaler: torch.amp.GradScaler
    ) -> StepResult:
        """Add the gradients of the batch's mean loss to the parameters.

        Videos of the same shape and τ run together.

        Raises:
            TrainingError: a loss is not finite; the message names the files.
        """
        groups: dict[tuple[object, ...], list[Example]] = {}
        for example in examples:
            groups.setdefault((example.tau, *(part.shape for part in pathways_of(example.features))), []).append(
                example
            )
        mix = self._objective.mixup > 0 and random.random() < 0.5
        losses, right = 0.0, 0
        for members in groups.values():
            share = float(random.beta(self._objective.mixup, self._objective.mixup)) if mix else 1.0
            loss, correct = self._loss(members, share)
            if not np.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss became {loss.item()} on {', '.join(member.path for member in members)}: look at these "
                    "files, or lower learning_rate"
                )
            scaler.scale(loss / len(examples)).backward()
            losses += loss.item()
            right += correct
        return StepResult(losses, right, len(examples))

    def _loss(self, members: Sequence[Example], share: float) -> tuple[Tensor, int]:
        """Summed cross-entropy of videos of one shape with their targets, each mixed with another."""
        features = join_features([member.features for member in members])
        set_tau(self.network, members[0].tau)
        with compute(self._recipe.precision, self.device):
            targets = self._targets(members, features)
            if share < 1:
                features = map_pathways(features, lambda part: share * part + (1 - share) * part.flip(0))
                mixed = share * targets + (1 - share) * targets.flip(0)
            else:
                mixed = targets
            self._weigh_statistics()
            try:
                output = self.output(features, need_attention=any(member.own is not None for member in members))
            except FeaturesError as error:
                raise TrainingError(f"{', '.join(member.path for member in members)}: {error}") from None
        logits = output.logits.float()
        loss = -(mixed * F.log_softmax(logits, dim=1)).sum()
        for number, member in enumerate(members):
            if member.own is not None:
                loss = loss + self._objective.distractor_weight * self._astray(output, number, member.own)
        return loss, int((logits.argmax(dim=1) == targets.argmax(dim=1)).sum())

    def _weigh_statistics(self) -> None:
        """Let BatchNorm's first statistics count fully and the next ones as parts of a mean, until the usual tenth.

        They start as 0 and 1, which would still be felt where a training has few steps.
        """
        for module in self.parts.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                assert module.num_batches_tracked is not None
                module.momentum = max(_NORM_MOMENTUM, 1 / (int(module.num_batches_tracked) + 1))

    def output(self, features: Features, *, need_attention: bool = False) -> ModelOutput:
        """What the network makes of the head's features, or of clips where the head learns too."""
        if self._from_clips:
            assert isinstance(features, Tensor)
            features = self.network.head(features)
        return self.network.finish(features, need_attention=need_attention)

    def _astray(self, output: ModelOutput, number: int, own: Tensor) -> Tensor:
        """−log of the share of a video's attention that its own frames have."""
        weights = rollout(self.network, output, number)
        assert weights is not None
        stride = self.network.temporal_strides[0] if self._from_clips else 1
        mass = weights.sum(dim=0)
        return -((mass * own[::stride][: len(mass)]).sum() / mass.sum()).clamp(min=_LEAST_SHARE).log()

    @torch.no_grad()
    def _targets(self, members: Sequence[Example], features: Features) -> Tensor:
        """What is to be said of each video, as probabilities (N, classes)."""
        asked = self._uncompressed(members, features) if self._objective.ask_whole else None
        rows = []
        for number, member in enumerate(members):
            taught = asked[number] if asked is not None else member.taught
            if taught is not None:
                taught = taught.to(self.device).float()
            if member.label is None:
                assert taught is not None
                rows.append(taught)
                continue
            row = self._one_hot(member.label)
            weight = self._objective.teacher_weight
            rows.append(row if taught is None else (1 - weight) * row + weight * taught)
        return torch.stack(rows)

    def _one_hot(self, label: int) -> Tensor:
        smoothing, classes = self._objective.label_smoothing, self.classes
        row = torch.full((classes,), smoothing / classes, device=self.device)
        row[label] += 1 - smoothing
        return row

    def _uncompressed(self, members: Sequence[Example], features: Features) -> Tensor:
        """Probabilities (N, classes) without compression, and without a view's distractors."""
        if all(member.own is None for member in members):
            return self._pass_whole(features)
        return torch.cat([self._pass_whole(_own_frames(member)) for member in members])

    def _pass_whole(self, features: Features) -> Tensor:
        if self._from_clips:
            assert isinstance(features, Tensor)
            features = self.network.head(features)
        for segment in list(self.network.segments)[1:]:
            features = segment(features)
        assert isinstance(features, Tensor)
        return features.float().softmax(dim=1)

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        linear = [module for module in self.network.segments[-1].modules() if isinstance(module, nn.Linear)]
        return linear[-1].out_features

    def average(self, step: int) -> None:
        """Move the weights' average towards what they are now; fast in the first steps, which know little."""
        if self._averaged is None:
            return
        decay = min(self._recipe.ema_decay, (2 + step) / (11 + step))
        with torch.no_grad():
            for kept, new in zip(self._averaged.parameters(), self.parts.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
            for held, current in zip(self._averaged.buffers(), self.parts.buffers(), strict=True):
                held.copy_(current)

    @contextlib.contextmanager
    def as_kept(self) -> Iterator[None]:
        """Within this the network is in evaluation mode and has the weights that training would end with now."""
        self.parts.eval()
        current = None
        if self._averaged is not None:
            current = {name: tensor.clone() for name, tensor in self.parts.state_dict().items()}
            self.parts.load_state_dict(self._averaged.state_dict())
        try:
            yield
        finally:
            if current is not None:
                self.parts.load_state_dict(current)

    def keep(self) -> None:
        """Put the weights that training ends with into the network."""
        self.parts.eval()
        if self._averaged is not None:
            self.parts.load_state_dict(self._averaged.state_dict())

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All that learning has changed, for a checkpoint."""
        averaged = {} if self._averaged is None else self._averaged.state_dict()
        return {"parts": self.parts.state_dict(), "averaged": averaged}

    def restore(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Take :meth:`state` back."""
        self.parts.load_state_dict(state["parts"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])


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
