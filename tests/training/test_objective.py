"""What learns and what must not, targets worked by hand, and losses that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from vidcomp.nn.backbones.lite0 import lite0_slow
from vidcomp.nn.compressors import SFC, SGS, saliency
from vidcomp.nn.whole_video import CompressedModel, Insertion, ModelOutput
from vidcomp.training import TrainingError
from vidcomp.training.config import BackboneRecipe, CompressorRecipe, Recipe
from vidcomp.training.objective import Example, Objective
from vidcomp.training.optimizer import Optimizer

CPU = torch.device("cpu")


def features(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 40, frames, 4, 5, generator=torch.Generator().manual_seed(seed))


def example(frames: int = 4, label: int | None = 1, tau: float | None = 2.0, **changes: object) -> Example:
    return Example(f"{frames}.mp4", features(frames), label, None, tau, **changes)  # type: ignore[arg-type]


def fitting(recipe: Recipe, parts: Sequence[str] = ("compressors",), *, chained: bool = False) -> Objective:
    torch.manual_seed(0)
    stands = [Insertion("res2", SGS(24)), Insertion("res3", SFC(40))] if chained else [Insertion("res3", SFC(40))]
    network = CompressedModel(lite0_slow(2), stands)
    chosen: list[nn.Module] = [module for part in parts for module in getattr(network, part)]
    return Objective(network, chosen, recipe, CPU, frozen_bn=list(network.segments))


def optimizer_of(fitted: Objective, recipe: Recipe) -> Optimizer:
    named = [pair for pair in fitted.network.named_parameters() if pair[1].requires_grad]
    return Optimizer(fitted.parts, named, recipe, 1)


def learn(fitted: Objective, examples: list[Example]) -> float:
    """The batch's loss, with its gradients."""
    return fitted.learn(examples, np.random.default_rng(0), torch.Tensor.backward).loss


def step(fitted: Objective, recipe: Recipe, examples: list[Example]) -> Optimizer:
    optimizer = optimizer_of(fitted, recipe)
    fitted.train()
    fitted.learn(examples, np.random.default_rng(0), optimizer.backward)
    optimizer.step()
    return optimizer


def test_only_the_compressor_changes_to_the_last_bit() -> None:
    recipe = CompressorRecipe()
    fitted = fitting(recipe)
    before = {name: tensor.clone() for name, tensor in fitted.network.state_dict().items()}
    step(fitted, recipe, [example(4), example(5, 0)])
    changed = {name for name, tensor in fitted.network.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed
    assert all(name.startswith("compressors.") for name in changed)
    assert {"compressors.0.theta_q.weight", "compressors.0.theta_k.weight"} <= changed


def test_the_whole_network_learns_but_its_batchnorm_keeps_its_statistics() -> None:
    recipe = CompressorRecipe()
    fitted = fitting(recipe, ("compressors", "segments"))
    before = {name: tensor.clone() for name, tensor in fitted.network.state_dict().items()}
    step(fitted, recipe, [example(4)])
    changed = {name for name, tensor in fitted.network.state_dict().items() if not torch.equal(before[name], tensor)}
    assert any(name.startswith("segments.1.") for name in changed)
    assert not any(name.startswith("segments.") and "running" in name for name in changed)
    assert any(name.startswith("compressors.") and "running" in name for name in changed)


def test_sgs_and_sfc_in_a_row_both_learn() -> None:
    recipe = CompressorRecipe()
    fitted = fitting(recipe, chained=True)
    before = {name: tensor.clone() for name, tensor in fitted.parts.named_parameters()}
    head = torch.rand(1, 24, 6, 8, 10)
    step(fitted, recipe, [Example("a.mp4", head, 0, None, 2.0), Example("b.mp4", head.flip(3), 1, None, 2.0)])
    after = dict(fitted.parts.named_parameters())
    assert not torch.equal(before["0.network.embed.weight"], after["0.network.embed.weight"])
    assert not torch.equal(before["1.theta_q.weight"], after["1.theta_q.weight"])


def test_a_batch_of_several_lengths_is_the_sum_of_its_videos() -> None:
    recipe = CompressorRecipe()
    fitted = fitting(recipe)
    fitted.parts.eval()  # without BatchNorm's statistics, which a batch shares
    together = learn(fitted, [example(4), example(6), example(4, tau=4.0)])
    alone = sum(learn(fitted, [one]) for one in (example(4), example(6), example(4, tau=4.0)))
    assert together == pytest.approx(alone, rel=1e-5)


def test_targets_worked_by_hand() -> None:
    taught = torch.tensor([0.8, 0.2])
    fitted = fitting(CompressorRecipe(label_smoothing=0.2, teacher="dense30", teacher_weight=0.25))
    members = [
        Example("label", features(4), 1, None, None),
        Example("both", features(4), 1, taught, None),
        Example("teacher", features(4), None, taught, None),
    ]
    targets = fitted.targets(members, torch.cat([member.features for member in members]))  # type: ignore[misc]
    expected = [[0.1, 0.9], [0.75 * 0.1 + 0.25 * 0.8, 0.75 * 0.9 + 0.25 * 0.2], [0.8, 0.2]]
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_the_uncompressed_network_teaches_what_it_says() -> None:
    fitted = fitting(CompressorRecipe(teacher="whole", teacher_weight=1.0))
    with torch.no_grad():
        expected = fitted.network.segments[1](features(4)).softmax(dim=1)
    torch.testing.assert_close(fitted.targets([example(4)], features(4)), expected)


def test_a_loss_that_is_no_number_names_the_file() -> None:
    fitted = fitting(CompressorRecipe())
    bad = Example("bad.mp4", features(5) * math.nan, 1, None, 2.0)
    with pytest.raises(TrainingError, match=r"the loss became nan on bad\.mp4: look at"):
        learn(fitted, [example(4), bad])


def test_averaged_weights_are_kept_and_those_that_learn_come_back() -> None:
    recipe = BackboneRecipe(ema_decay=0.9, warm_up_steps=0)
    fitted = fitting(recipe)
    start = fitted.parts.state_dict()["0.theta_q.weight"].clone()
    optimizer = step(fitted, recipe, [example(4)])
    now = fitted.parts.state_dict()["0.theta_q.weight"].clone()
    with optimizer.as_kept():
        kept = fitted.parts.state_dict()["0.theta_q.weight"].clone()
    # In the first step the average takes 9/11 of what is new.
    torch.testing.assert_close(kept, start + (now - start) * 9 / 11)
    assert torch.equal(fitted.parts.state_dict()["0.theta_q.weight"], now)
    optimizer.keep()
    assert torch.equal(fitted.parts.state_dict()["0.theta_q.weight"], kept)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_on_a_gpu(precision: str) -> None:
    recipe = CompressorRecipe(precision=precision)
    network = CompressedModel(lite0_slow(2), [Insertion("res3", SFC(40))])
    fitted = Objective(network, list(network.compressors), recipe, torch.device("cuda"))
    fitted.train()
    named = [pair for pair in network.named_parameters() if pair[1].requires_grad]
    optimizer = Optimizer(fitted.parts, named, recipe, 1, device=fitted.device)
    one = Example("a.mp4", features(4).cuda(), 1, None, 2.0)
    for _ in range(2):
        assert math.isfinite(fitted.learn([one], np.random.default_rng(0), optimizer.backward).loss)
        optimizer.step()


def test_attention_on_distractors_is_weighed_by_hand() -> None:
    fitted = fitting(CompressorRecipe(distractor_weight=2.0))
    own = torch.tensor([True, True, False, False])
    maps = torch.tensor([[[0.5, 0.1, 0.4, 0.0], [0.2, 0.0, 0.3, 0.5]]])
    share = 0.8 / 2.0
    output = ModelOutput(torch.zeros(1, 2), (maps,))
    assert fitted.stray_attention(output, 0, own).item() == pytest.approx(-math.log(share))


def test_distractors_add_their_share_to_the_loss() -> None:
    plain, marked = (
        fitting(CompressorRecipe()),
        fitting(CompressorRecipe(distractor_weight=0.5)),
    )
    for fitted in (plain, marked):
        fitted.parts.eval()
    own = torch.tensor([True, False, True, True])
    without = learn(plain, [example(4)])
    together = learn(marked, [example(4, own=own)])
    with torch.no_grad():
        astray = marked.stray_attention(marked.network.finish(features(4), need_attention=True), 0, own).item()
    assert together == pytest.approx(without + 0.5 * astray, rel=1e-4)
    assert astray > 0


def test_attention_learns_to_leave_distractors_out() -> None:
    recipe = CompressorRecipe(learning_rate=0.1, distractor_weight=1.0)
    fitted = fitting(recipe)
    optimizer = optimizer_of(fitted, recipe)
    random = np.random.default_rng(0)
    video = features(6) * 2
    video[:, :, 3:5] = 0.3
    own = torch.tensor([True, True, True, False, False, True])

    @torch.no_grad()
    def share() -> float:
        return math.exp(-fitted.stray_attention(fitted.network.finish(video, need_attention=True), 0, own).item())

    assert 0.5 < share() < 0.75
    for _ in range(3):
        fitted.train()
        fitted.learn([Example("a.mp4", video, 1, None, 2.0, own)], random, optimizer.backward)
        optimizer.step()
    assert share() > 0.9


def test_the_teacher_is_not_shown_distractors() -> None:
    fitted = fitting(CompressorRecipe(teacher="whole", teacher_weight=1.0))
    own = torch.tensor([True, False, False, True])
    with torch.no_grad():
        expected = fitted.network.segments[1](features(4)[:, :, own]).softmax(dim=1)
    torch.testing.assert_close(fitted.targets([example(4, own=own)], features(4)), expected)


def hinted(recipe: CompressorRecipe, hints: dict[str, torch.Tensor], *, chained: bool = False) -> Objective:
    torch.manual_seed(0)
    stands = [Insertion("res2", SGS(24)), Insertion("res3", SFC(40))] if chained else [Insertion("res3", SFC(40))]
    network = CompressedModel(lite0_slow(2), stands)
    parts = [*network.compressors, *list(network.segments)[1:]]
    return Objective(network, parts, recipe, CPU, frozen_bn=list(network.segments), hints=hints)


def test_hints_worked_by_hand() -> None:
    # 1 and 3 have a mean of 2 and a deviation of 1, and become −1 and 1; the third feature is the same in both. A layer
    # of zeros tells nothing: its squared errors are 1, 1 and 0 for each video.
    hints = {"4.mp4": torch.tensor([1.0, 3.0, 7.0]), "5.mp4": torch.tensor([3.0, 1.0, 7.0])}
    plain = fitting(CompressorRecipe(), ("compressors", "segments"))
    fitted = hinted(CompressorRecipe(hints="larger", hint_weight=0.75), hints)
    for one in (plain, fitted):
        one.parts.eval()
    for videos in ([example(4)], [example(5)], [example(4), example(5)]):
        assert learn(fitted, videos) - learn(plain, videos) == pytest.approx(0.75 * 2 / 3 * len(videos), abs=1e-4)


def test_a_layer_that_tells_the_hints_exactly_costs_nothing() -> None:
    hints = {"4.mp4": torch.tensor([1.0]), "5.mp4": torch.tensor([3.0])}
    plain = fitting(CompressorRecipe(), ("compressors", "segments"))
    fitted = hinted(CompressorRecipe(hints="larger"), hints)
    for one in (plain, fitted):
        one.parts.eval()
    assert fitted.hints is not None
    with torch.no_grad():
        fitted.hints.bias.fill_(-1.0)
    assert learn(fitted, [example(4)]) == pytest.approx(learn(plain, [example(4)]), abs=1e-5)
    assert learn(fitted, [example(5)]) == pytest.approx(learn(plain, [example(5)]) + 0.5 * 4, abs=1e-4)


def test_hints_are_of_each_video_where_salience_keeps_more_of_one_than_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def scores(network: nn.Module, videos: torch.Tensor) -> torch.Tensor:
        """The second half of the first video is nothing."""
        first = (videos == features(6)).flatten(1).all(dim=1, keepdim=True)
        return torch.where(first & (torch.arange(6) > 2), -100.0, 0.0)

    monkeypatch.setattr(saliency, "scores_of", scores)
    torch.manual_seed(0)
    compressor = saliency.SalientSFC(40, pooling="even")
    network = CompressedModel(lite0_slow(2), [Insertion("res3", compressor)])
    hints = {"a.mp4": torch.tensor([1.0, 0.0]), "b.mp4": torch.tensor([0.0, 1.0])}
    fitted = Objective(network, list(network.segments)[1:], CompressorRecipe(hints="larger"), CPU, hints=hints)
    fitted.parts.eval()
    assert fitted.hints is not None
    nn.init.normal_(fitted.hints.weight)
    examples = [Example("a.mp4", features(6), 0, None, 2.0), Example("b.mp4", features(6, 1), 1, None, 2.0)]
    assert learn(fitted, examples) == pytest.approx(sum(learn(fitted, [one]) for one in examples), rel=1e-4)


@pytest.mark.parametrize("chained", [False, True])
def test_hints_teach_the_tail_and_each_video_is_told_its_own(chained: bool) -> None:
    recipe = CompressorRecipe(hints="larger", hint_weight=100.0)
    fitted = hinted(recipe, {"a.mp4": torch.tensor([1.0, 0.0]), "b.mp4": torch.tensor([0.0, 1.0])}, chained=chained)
    fitted.parts.eval()
    assert fitted.hints is not None
    nn.init.normal_(fitted.hints.weight)
    shape = (1, 24, 6, 8, 10) if chained else (1, 40, 6, 4, 5)
    seen = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    examples = [Example("a.mp4", seen, 0, None, 2.0), Example("b.mp4", seen.flip(3), 1, None, 2.0)]
    together = learn(fitted, examples)
    assert together == pytest.approx(sum(learn(fitted, [one]) for one in examples), rel=1e-4)
    gradients = [parameter.grad for name, parameter in fitted.network.named_parameters() if "segments.1" in name]
    assert any(gradient is not None and float(gradient.abs().sum()) > 0 for gradient in gradients)
