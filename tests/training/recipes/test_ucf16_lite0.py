"""The recipe of the model that ships: what is saved is what was trained."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from vidcomp.nn.backbones import CLASSIFIER, Backbone
from vidcomp.nn.backbones.lite0 import lite0_slow, lite0_two_stream
from vidcomp.nn.layers import fuse_bn
from vidcomp.training.backbone import class_layers
from vidcomp.training.recipes.ucf16_lite0 import (
    CHAINED_CHANNELS,
    CHAINED_FILE,
    RECIPES,
    STAGES,
    file_of,
    own_frames,
    plan_stream,
    unfold,
    unfold_stream,
)
from vidcomp.zoo.build import build_backbone
from vidcomp.zoo.manifest import find_manifest, models_folder


def fold_as_if_trained(backbone: Backbone) -> None:
    """Fold BatchNorm whose statistics are not those that it starts with."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    fuse_bn(backbone.eval())


def test_unfolded_weights_give_the_folded_networks_logits() -> None:
    torch.manual_seed(0)
    trained = lite0_slow(classes=3)
    fold_as_if_trained(trained)
    shipped = lite0_slow(classes=3)
    shipped.load_state_dict(unfold(trained.state_dict()))
    clip = torch.randn(1, 3, 2, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(shipped.eval()(clip), trained(clip), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_what_the_recipe_calls_new_is_in_the_folded_network(name: str) -> None:
    planned = plan_stream(name, ("a", "b", "c"))
    backbone = build_backbone(planned)
    fuse_bn(backbone.eval())
    names = [name for name, _ in backbone.named_parameters()]
    layers = class_layers(planned)
    assert layers == {f"stages.{CLASSIFIER}.linear.weight", f"stages.{CLASSIFIER}.linear.bias"}
    assert layers < set(names)
    assert all(any(part in name for name in names) for part in RECIPES[name].new)


def test_streams_that_ship_apart_are_those_that_were_trained_together() -> None:
    torch.manual_seed(0)
    trained = lite0_two_stream(classes=3)
    fold_as_if_trained(trained)
    shipped = lite0_two_stream(classes=3)
    parts = [unfold_stream(trained, name) for name in RECIPES]
    shipped.load_state_dict({**parts[0], **parts[1]})
    clip = torch.randn(1, 3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(shipped.eval()(clip), trained(clip), rtol=1e-3, atol=1e-4)


def test_what_the_recipe_makes_is_what_ships() -> None:
    files = {file_of(section) for stage in STAGES for section in find_manifest(stage.model).compressors}
    shipped = {path.name for path in (models_folder() / "weights").glob("ucf16-lite0-*.safetensors")}
    assert {*files, CHAINED_FILE} == shipped - {f"ucf16-lite0-{name}.safetensors" for name in RECIPES}
    made = own_frames(CHAINED_CHANNELS)
    kept = load_file(models_folder() / "weights" / CHAINED_FILE)
    assert made.keys() == kept.keys()
    for name, tensor in made.items():
        torch.testing.assert_close(kept[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-4)
