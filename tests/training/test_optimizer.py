"""Learning rates worked by hand, and which parameters decay."""

from __future__ import annotations

import pytest
from torch import nn

from vidcomp.training.config import BackboneRecipe, CompressorRecipe
from vidcomp.training.optimizer import parameter_groups, rate_factor


def test_a_tenth_from_epoch_8_and_again_from_12() -> None:
    factors = [rate_factor(CompressorRecipe(), epoch, 3, 10) for epoch in range(15)]
    assert factors == pytest.approx([1] * 7 + [0.1] * 4 + [0.01] * 4)


def test_a_warm_up_and_half_a_cosine() -> None:
    recipe = BackboneRecipe(epochs=2, warm_up_steps=4)
    assert rate_factor(recipe, 0, 0, 10) == 0
    assert rate_factor(recipe, 0, 2, 10) == pytest.approx(0.5 * 0.5 * (1 + 0.9510565))
    assert rate_factor(recipe, 1, 0, 10) == pytest.approx(0.5)
    longer = BackboneRecipe(epochs=2, warm_up_steps=0, cosine_epochs=4)
    assert rate_factor(longer, 1, 0, 10) == pytest.approx(0.5 * (1 + 0.7071068))


def test_what_is_new_learns_faster_and_biases_do_not_decay() -> None:
    network = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("body", "mix", "classifier")})
    recipe = BackboneRecipe(learning_rate=0.1, weight_decay=0.5, lr_mult=4)
    named = list(network.named_parameters())
    groups = parameter_groups(named, recipe, ("mix", "classifier"))
    found = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert found == {(0.1, 0.5): 1, (0.1, 0.0): 1, (0.4, 0.0): 2, (0.4, 0.1): 2}
    (all_alike,) = parameter_groups(named, CompressorRecipe(), ())
    assert (all_alike["lr"], all_alike["weight_decay"], len(all_alike["params"])) == (0.01, 1e-5, 6)
