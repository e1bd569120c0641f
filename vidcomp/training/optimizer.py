"""What changes the weights: a recipe's optimizer, its learning rate from step to step, and the weights' average."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from vidcomp.nn.backbones import CLASSIFIER
from vidcomp.training.config import BackboneRecipe, Recipe

_DECADE = 0.1
# The classifier's decay against that of the other weights: it has to move far from its random start.
_CLASSIFIER_DECAY = 0.2
HINTS = "hints"
"""Before the names of the parameters of the layer that predicts hints."""
# How many times faster that layer learns: it starts from nothing.
_HINT_RATE = 10.0


class Optimizer:
    """SGD or AdamW by the recipe's schedule, with clipped gradients, scaled losses, and an average of the weights."""

    def __init__(
        self,
        parts: nn.Module,
        parameters: Sequence[tuple[str, nn.Parameter]],
        recipe: Recipe,
        steps: int,
        new: Sequence[str] = (),
        device: torch.device | None = None,
    ) -> None:
        """Prepare the first step.

        Args:
            parts: what learns.
            parameters: its parameters, by the names that count here.
            recipe: all numbers.
            steps: of an epoch.
            new: parts of names of parameters that start from nothing.
            device: where it is trained, by default the CPU.
        """
        self._parts = parts
        # The layer that predicts hints is thrown away: its gradients are not to shorten the steps of what is kept.
        self._parameters = [parameter for name, parameter in parameters if not name.startswith(f"{HINTS}.")]
        self._clip = recipe.clip_grad_norm
        groups = parameter_groups(parameters, recipe, new)
        self._optimizer: torch.optim.Optimizer
        if recipe.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
        else:
            self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self._schedule = LambdaLR(self._optimizer, lambda done: rate_factor(recipe, *divmod(done, steps), steps))
        self._scaler = torch.amp.GradScaler(device.type if device else "cpu", enabled=recipe.precision == "fp16")
        self._averaged = _averaged(parts, recipe.ema_decay) if recipe.ema_decay else None

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()

    def step(self) -> None:
        """Change the weights by the gradients, move the average towards them, and clear the gradients."""
        if self._clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        with warnings.catch_warnings():
            # The scaler leaves out the first steps where gradients overflow, of which the schedule would warn.
            warnings.simplefilter("ignore", UserWarning)
            self._schedule.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self._parts)

    @contextlib.contextmanager
    def as_kept(self) -> Iterator[None]:
        """Within this the parts are in evaluation mode and have the weights that training would end with now."""
        current = {name: tensor.clone() for name, tensor in self._parts.state_dict().items()}
        self.keep()
        try:
            yield
        finally:
            self._parts.load_state_dict(current)

    def keep(self) -> None:
        """Put the weights that training ends with into the parts, in evaluation mode."""
        self._parts.eval()
        if self._averaged is not None:
            self._parts.load_state_dict(self._averaged.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that training has changed, for a checkpoint."""
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take :meth:`state_dict` back."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _stateful(self) -> dict[str, Any]:
        averaged = {} if self._averaged is None else {"averaged": self._averaged}
        own = {"optimizer": self._optimizer, "schedule": self._schedule, "scaler": self._scaler}
        return {"parts": self._parts, **averaged, **own}


def rate_factor(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """What the learning rate is multiplied by in a step of ``steps``; epoch and step are counted from 0."""
    done = epoch * steps + step
    factor = min(1.0, done / recipe.warm_up_steps) if recipe.warm_up_steps else 1.0
    if recipe.schedule == "step":
        return float(factor * _DECADE ** sum(epoch + 1 >= milestone for milestone in recipe.milestones))
    progress = min(1.0, done / (steps * (recipe.cosine_epochs or recipe.epochs)))
    return factor * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(
    parameters: Sequence[tuple[str, nn.Parameter]], recipe: Recipe, new: Sequence[str]
) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay, as torch's optimizers take them.

    SGD decays everything, as the papers do. Under AdamW biases and norms are not decayed, the classifier little, and
    other parts that start from nothing not at all.
    """
    factor = recipe.lr_mult if isinstance(recipe, BackboneRecipe) else 1.0
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        rate = recipe.learning_rate * (_HINT_RATE if name.startswith(f"{HINTS}.") else 1.0)
        is_new = any(part in name for part in new)
        decay = recipe.weight_decay
        if recipe.optimizer == "adamw" and is_new:
            decay *= _CLASSIFIER_DECAY if CLASSIFIER in name else 0.0
        elif recipe.optimizer == "adamw" and parameter.ndim <= 1:
            decay = 0.0
        groups.setdefault((rate * (factor if is_new else 1.0), decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def _averaged(parts: nn.Module, ema_decay: float) -> AveragedModel:
    """A moving average of the weights that is fast in the first steps, which know little."""

    @torch.no_grad()
    def average(kept: Sequence[Tensor], new: Sequence[Tensor], count: Tensor | int) -> None:
        weight = 1 - min(ema_decay, (1 + int(count)) / (10 + int(count)))
        for one, other in zip(kept, new, strict=True):
            one.lerp_(other, weight)

    averaged = AveragedModel(parts, multi_avg_fn=average).requires_grad_(False)
    averaged.n_averaged.fill_(1)  # the weights that training starts from count
    return averaged
