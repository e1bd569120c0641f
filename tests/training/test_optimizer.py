"""Learning rates worked by hand, and which parameters decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcomp.training.config import BackboneRecipe, CompressorRecipe
from vidcomp.training.optimizer import Optimizer, parameter_groups, rate_factor


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


def one_step(optimizer: Optimizer, network: nn.Linear, factor: float = 1.0) -> torch.Tensor:
    """The weights after a step on the sum of them."""
    optimizer.backward(network.weight.sum() * factor)
    optimizer.step()
    return network.weight.detach().clone()


def test_gradients_that_overflow_in_float16_are_left_out_and_halve_the_scale() -> None:
    network = nn.Linear(2, 2, bias=False)
    recipe = CompressorRecipe(precision="fp16", momentum=0.0, weight_decay=0.0, learning_rate=0.5)
    optimizer = Optimizer(network, list(network.named_parameters()), recipe, 1)
    start = network.weight.detach().clone()
    assert torch.equal(one_step(optimizer, network, 1e38), start)
    torch.testing.assert_close(one_step(optimizer, network), start - 0.5)


def test_what_goes_on_from_its_state_is_what_was_never_stopped() -> None:
    recipe = BackboneRecipe(learning_rate=0.1, warm_up_steps=3, ema_decay=0.9, epochs=2)
    torch.manual_seed(0)
    whole, parts = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    unbroken, first, second = (Optimizer(net, list(net.named_parameters()), recipe, 3) for net in (whole, parts, parts))
    first.load_state_dict(unbroken.state_dict())
    for _ in range(2):
        one_step(unbroken, whole)
        one_step(first, parts)
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        assert torch.equal(one_step(unbroken, whole), one_step(second, parts))
    unbroken.keep()
    second.keep()
    assert torch.equal(whole.weight, parts.weight)
