"""Recipes: the paper's numbers by default, what a file and options change, and what is wrong in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidcomp.training import RecipeError
from vidcomp.training.config import BackboneRecipe, CompressorRecipe, make_recipe


def test_the_defaults_are_the_papers() -> None:
    recipe = make_recipe(CompressorRecipe, None, {})
    assert (recipe.optimizer, recipe.momentum, recipe.learning_rate, recipe.weight_decay) == ("sgd", 0.9, 0.01, 1e-5)
    assert (recipe.epochs, recipe.milestones, recipe.schedule, recipe.flip) == (15, (8, 12), "step", True)


def test_options_go_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("epochs: 3\ntaus: [2, 4]\n")
    recipe = make_recipe(CompressorRecipe, file, {"epochs": 5})
    assert (recipe.epochs, recipe.taus, recipe.batch) == (5, (2.0, 4.0), 8)
    (tmp_path / "empty.yaml").write_text("")
    assert make_recipe(BackboneRecipe, tmp_path / "empty.yaml", {}) == BackboneRecipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", r"epoch: unknown key; allowed here are epochs, seed"),
        ("start_gain: 0.4", "start_gain is called init_gain now"),
        ("square: 160", "square is called random_resized_crop now"),
        ("thinning: [2]", r"thinning: unknown key; allowed here are epochs"),
        ("precision: bfloat16", "precision: bfloat16: it is called bf16 now"),
        ("precision: int4", "precision: int4: choose auto, fp32, bf16, fp16"),
        ("epochs: 0", r"epochs: Input should be greater than or equal to 1 — epochs is passes over all videos"),
        ("learning_rate: .inf", "learning_rate: Input should be a finite number"),
        ("taus: [2, .nan]", r"taus\.1: Input should be a finite number — taus is compression ratios"),
        (f"seed: {2**63}", "seed: Input should be less than"),
        ("taus: [0.5]", "taus must be at least 1"),
        ("scale: [1.2, 1.0]", "scale must be two numbers of at least 1"),
        ("milestones: [8, 3]", "milestones must be ascending"),
        ("- 1", "a recipe must be a mapping of keys"),
        (
            "epochs: 3\nseed: 1\nepochs: 4",
            r"r\.yaml, line 3: not valid YAML: the key epochs stands twice, first in line 1",
        ),
        ("a: [", "line 1: not valid YAML|line 2: not valid YAML"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        make_recipe(CompressorRecipe, file, {})
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_option_does_not_blame_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("epochs: 3")
    with pytest.raises(RecipeError, match=r"^recipe: teacher: nobody: unknown strategy"):
        make_recipe(CompressorRecipe, file, {"teacher": "nobody"})
    for other in ("sfc", "sgs+sfc", "uniform8-tau4"):
        told = f"recipe: teacher: {other} is no teacher: choose none, whole, dense30"
        with pytest.raises(RecipeError, match=f"^{re.escape(told)}"):
            make_recipe(CompressorRecipe, file, {"teacher": other})
    for name in ("none", "whole", "dense10x1", "uniform8", "uniform8x32"):
        assert make_recipe(CompressorRecipe, file, {"teacher": name}).teacher == name
    with pytest.raises(RecipeError, match="there is no such recipe"):
        make_recipe(CompressorRecipe, tmp_path / "nowhere.yaml", {})
