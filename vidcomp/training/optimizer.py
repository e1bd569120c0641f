"""The optimizer of a recipe, and its learning rate from step to step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from vidcomp.nn.backbones import CLASSIFIER
from vidcomp.training.config import BackboneRecipe, Recipe

_DECADE = 0.1
# The classifier's decay against that of the other weights: it has to move far from its random start.
_CLASSIFIER_DECAY = 0.2


class Optimizer:
    """SGD or AdamW whose learning rates follow the recipe's schedule."""

    def __init__(
        self, parameters: Sequence[tuple[str, nn.Parameter]], recipe: Recipe, steps: int, new: Sequence[str] = ()
    ) -> None:
        """Take named parameters; an epoch has ``steps`` steps, and names with a part in ``new`` start from nothing."""
        self._recipe = recipe
        self._steps = steps
        self._parameters = [parameter for _, parameter in parameters]
        groups = _groups(parameters, recipe, new)
        self.torch: torch.optim.Optimizer
        if recipe.optimizer == "sgd":
            self.torch = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
        else:
            self.torch = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self._rates = [group["lr"] for group in self.torch.param_groups]

    def begin(self, epoch: int, step: int) -> float:
        """Clear gradients and set the learning rates of a step (both counted from 0); returns the base rate."""
        self.torch.zero_grad(set_to_none=True)
        factor = rate_factor(self._recipe, epoch, step, self._steps)
        for group, rate in zip(self.torch.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        return self._recipe.learning_rate * factor

    def finish(self, scaler: torch.amp.GradScaler) -> None:
        """Clip what is too long, and take the step."""
        if self._recipe.clip_grad_norm is not None:
            scaler.unscale_(self.torch)
            nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip_grad_norm)
        scaler.step(self.torch)
        scaler.update()


def rate_factor(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """What the learning rate is multiplied by in a step of ``steps``; epoch and step are counted from 0."""
    done = epoch * steps + step
    factor = min(1.0, done / recipe.warm_up_steps) if recipe.warm_up_steps else 1.0
    if recipe.schedule == "step":
        return float(factor * _DECADE ** sum(epoch + 1 >= milestone for milestone in recipe.milestones))
    progress = min(1.0, done / (steps * (recipe.cosine_epochs or recipe.epochs)))
    return factor * 0.5 * (1 + math.cos(math.pi * progress))


def _groups(
    parameters: Sequence[tuple[str, nn.Parameter]], recipe: Recipe, new: Sequence[str]
) -> list[dict[str, object]]:
    """Parameters by learning rate and weight decay.

    SGD decays everything, as the papers do. Under AdamW biases and norms are not decayed, the classifier little, and
    other parts that start from nothing not at all.
    """
    factor = recipe.lr_mult if isinstance(recipe, BackboneRecipe) else 1.0
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        is_new = any(part in name for part in new)
        decay = recipe.weight_decay
        if recipe.optimizer == "adamw" and is_new:
            decay *= _CLASSIFIER_DECAY if CLASSIFIER in name else 0.0
        elif recipe.optimizer == "adamw" and parameter.ndim <= 1:
            decay = 0.0
        groups.setdefault((recipe.learning_rate * (factor if is_new else 1.0), decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
