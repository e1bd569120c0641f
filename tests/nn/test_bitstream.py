"""Neurons obey their equations, and a model over bitstreams says the same of a video however it is handed over."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vidcomp.nn.backbones import CutError
from vidcomp.nn.backbones.bitstream import ENCODERS, GRID, bitstream
from vidcomp.nn.bitstream.modulators import MODULATIONS, PEncoder, mean_over_steps, plain_convolutions
from vidcomp.nn.bitstream.neurons import LIF, spike
from vidcomp.nn.bitstream.tokens import JointTransformer, Mixer, motion_pictures, residual_pictures
from vidcomp.nn.bitstream_model import BitstreamModel
from vidcomp.nn.compressors import COMPRESSORS
from vidcomp.nn.compressors.base import Ragged
from vidcomp.nn.video_model import blank_input, rollout
from vidcomp.nn.whole_video import Insertion

CHANNELS = 8


def lif(leak: float, threshold: float, rise: float, fading: float) -> LIF:
    neurons = LIF(1, leak=leak, threshold=threshold, fading=fading)
    with torch.no_grad():
        neurons._rise.fill_(math.log(math.expm1(rise)))
    return neurons.double()


def fire(neurons: LIF, inputs: list[float]) -> list[float]:
    return neurons(torch.tensor(inputs, dtype=torch.float64).view(1, 1, -1, 1, 1)).flatten().tolist()


def test_a_neuron_fires_as_worked_by_hand() -> None:
    # λ 0.5, θ 1, β 0.5, ρ 0.5. The membrane and the threshold at each step:
    # u 0.8 < 1 | 0.4 + 0.8 = 1.2 ≥ 1, fires, a = 1 | 0.6 + 0.8 − 1 = 0.4 < 1.5, a = 0.5
    # | 0.2 + 1.1 = 1.3 ≥ 1.25, fires, a = 1.25 | 0.65 + 2 − 1.25 = 1.4 < 1.625, a = 0.625 | 0.7 + 0.7 = 1.4 ≥ 1.3125
    neurons = lif(leak=0.5, threshold=1.0, rise=0.5, fading=0.5)
    assert fire(neurons, [0.8, 0.8, 0.8, 1.1, 2.0, 0.7]) == [0, 1, 0, 1, 0, 1]
    # At a threshold that stays: | 0.65 + 2 − 1 = 1.65 ≥ 1, fires | 0.825 + 0.7 − 1 = 0.525 < 1.
    assert fire(lif(0.5, 1.0, 1e-9, 0.5), [0.8, 0.8, 0.8, 1.1, 2.0, 0.7]) == [0, 1, 0, 1, 1, 0]


def test_a_neuron_that_leaks_faster_needs_more_to_fire() -> None:
    inputs = [0.6] * 6
    assert sum(fire(lif(0.9, 1.0, 0.1, 0.5), inputs)) > sum(fire(lif(0.1, 1.0, 0.1, 0.5), inputs)) == 0


@pytest.mark.parametrize("over", [-1.5, -0.1, 0.0, 0.4])
def test_the_surrogate_is_the_derivative_of_an_arctangent(over: float) -> None:
    values = torch.tensor([over], dtype=torch.float64, requires_grad=True)
    spikes = spike(values)
    assert spikes.item() == float(over >= 0)
    spikes.sum().backward()
    assert values.grad is not None

    def smooth(x: float) -> float:
        return math.atan(math.pi * x) / math.pi

    step = 1e-6
    assert values.grad.item() == pytest.approx((smooth(over + step) - smooth(over - step)) / (2 * step), rel=1e-6)


def test_every_parameter_of_a_neuron_learns_through_the_surrogate() -> None:
    neurons = LIF(2)
    neurons(torch.rand(3, 2, 6, 2, 2)).mean().backward()
    for parameter in neurons.parameters():
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).all())


def test_a_gradient_through_time_is_that_of_the_equations() -> None:
    # Two steps, no spike before the last: ds₂/dx₁ = λ · h(u₂ − θ), where h is the surrogate's derivative.
    neurons = lif(leak=0.5, threshold=1.0, rise=0.5, fading=0.5)
    inputs = torch.tensor([0.4, 0.5], dtype=torch.float64, requires_grad=True)
    neurons(inputs.view(1, 1, 2, 1, 1)).flatten()[1].backward()
    assert inputs.grad is not None

    def slope(over: float) -> float:
        return 1 / (1 + (math.pi * over) ** 2)

    last = slope(0.7 - 1.0)
    # The first step's own spike, though 0, has a slope: it would reset the membrane by θ and raise the threshold by β.
    first = slope(0.4 - 1.0)
    assert inputs.grad[1].item() == pytest.approx(last)
    assert inputs.grad[0].item() == pytest.approx(last * (0.5 - 1.0 * first - 0.5 * first))


@pytest.mark.parametrize("wrong", [{"leak": 1.0}, {"fading": 0.0}, {"threshold": 0.0}])
def test_a_neuron_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="leak and fading"):
        LIF(1, **wrong)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_steps_that_are_absent_change_nothing(modulation: Any) -> None:
    torch.manual_seed(0)
    encoder = PEncoder(plain_convolutions(3, ((4, 2), (6, 1))), 6, CHANNELS, GRID, modulation).eval()
    pictures = torch.randn(2, 3, 5, 12, 16)
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    both = encoder(pictures, present)
    assert both.shape == (2, CHANNELS, GRID, GRID)
    torch.testing.assert_close(both[1:], encoder(pictures[1:, :, :3], present[1:, :3]), atol=1e-5, rtol=1e-4)
    pictures[1, :, 3:] = 100.0
    torch.testing.assert_close(both, encoder(pictures, present))


def test_a_group_without_p_frames_has_a_mean_of_zero() -> None:
    values = torch.ones(1, 2, 3, 1, 1)
    assert mean_over_steps(values, torch.zeros(1, 3)).abs().sum() == 0
    assert mean_over_steps(values, torch.tensor([[1, 0, 0]])).flatten().tolist() == [1, 1]


def test_an_unknown_modulation_is_refused() -> None:
    with pytest.raises(ValueError, match="spiking, leaky, gru, mean"):
        bitstream(2, modulation="loud")  # type: ignore[arg-type]


@pytest.mark.parametrize("height", [240, 480])
def test_motion_is_measured_by_the_size_of_the_picture(height: int) -> None:
    rows, columns = height // 8, height // 6
    motion = torch.zeros(1, 1, rows, columns, 2)
    motion[..., 0] = height / 24  # half a twelfth of the shorter side
    motion[..., 1] = -height  # more than can be
    pictures = motion_pictures(motion, torch.ones(1, 1, rows, columns))
    assert pictures.shape == (1, 3, 1, 24, 32)
    assert pictures[0, :, 0, 5, 5].tolist() == pytest.approx([0.5, -1.0, 1.0])


def test_residuals_are_brought_to_one_size() -> None:
    pictures = residual_pictures(torch.full((1, 2, 120, 160), -255, dtype=torch.int16))
    assert pictures.shape == (1, 1, 2, 72, 96)
    assert pictures.unique().tolist() == [-2.0]


def joint(longest: int = 64) -> JointTransformer:
    torch.manual_seed(0)
    return JointTransformer(CHANNELS, 2, 2, GRID, 3, 0.0, longest).eval()


def test_the_transformer_looks_from_group_to_group_but_not_beyond_its_window() -> None:
    features = torch.randn(1, CHANNELS, 6, GRID, 3 * GRID)
    changed = features.clone()
    changed[:, :, 5] *= -1
    whole = joint()
    assert (whole(features) - whole(changed)).abs()[:, :, 0].max() > 1e-5
    windows = joint(longest=3)
    difference = (windows(features) - windows(changed)).abs().amax(dim=(0, 1, 3, 4))
    assert difference[:3].max() == 0
    assert difference[3:].min() > 0


def test_attention_is_rolled_out_over_groups() -> None:
    features = torch.randn(2, CHANNELS, 5, GRID, 3 * GRID)
    weights = joint().rollout(features)
    assert weights.shape == (2, 5, 5)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 5))
    # Half of each of two layers is the group itself.
    assert weights.diagonal(dim1=1, dim2=2).min() > 0.25
    assert joint(longest=3).rollout(features)[:, 0, 3:].abs().max() == 0


def test_the_mixer_keeps_groups_apart() -> None:
    mixer = Mixer(CHANNELS, 3 * GRID**2, 0.0).eval()
    features = torch.randn(1, CHANNELS, 4, GRID, 3 * GRID)
    torch.testing.assert_close(mixer(features)[:, :, 2:3], mixer(features[:, :, 2:3]))


def model(kind: str = "identity", **options: Any) -> BitstreamModel:
    torch.manual_seed(0)
    backbone = bitstream(3, channels=CHANNELS, layers=1, heads=2, **options)
    compressor = COMPRESSORS[kind](CHANNELS)
    return BitstreamModel(backbone, [Insertion(ENCODERS, compressor)]).eval()


def groups(network: BitstreamModel, count: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    blank = blank_input(network.input_spec, count, 32, 48)
    assert isinstance(blank, dict)
    chunk = {name: 40 * torch.randn(values.shape, generator=random) for name, values in blank.items()}
    chunk["keyframes"] = chunk["keyframes"].abs().clamp(max=255)
    if "present" in chunk:
        chunk["present"] = torch.ones_like(chunk["present"])
        chunk["present"][:, -1, 20:] = 0
    if "differs" in chunk:
        chunk["differs"] = torch.ones_like(chunk["differs"])
        chunk["differs"][:, -1, 2:] = 0
    return chunk


def parts(chunk: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    count = chunk["keyframes"].shape[1]
    return [{name: values[:, at : at + size] for name, values in chunk.items()} for at in range(0, count, size)]


@pytest.mark.parametrize("difference", [None, "leaky"])
@pytest.mark.parametrize("kind", ["identity", "sfc", "sgs"])
def test_a_video_is_the_same_alone_in_a_batch_and_in_chunks(kind: str, difference: str | None) -> None:
    network = model(kind, difference=difference)
    with torch.inference_mode():
        videos = [groups(network, 4, seed=1), groups(network, 6, seed=2)]
        whole = [network.encode([video]) for video in videos]
        chunked = [network.encode(parts(video, 1)) for video in videos]
        alone = [network.finish(features, need_attention=True) for features in whole]
        batch = network.finish(Ragged(tuple(chunked)), need_attention=True)
    torch.testing.assert_close(batch.logits, torch.cat([output.logits for output in alone]), atol=1e-5, rtol=1e-4)
    for number, output in enumerate(alone):
        own, other = rollout(network, output), rollout(network, batch, number)
        assert own is not None
        assert other is not None
        assert own.shape[1] == (4, 6)[number]
        torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-4)
    kinds = network.attention_kinds
    assert kinds == (kind, "transformer")
    assert len(alone[0].attention) == len(kinds) == len(network.temporal_strides)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, ("keyframes", "motion", "mask", "residual", "present")),
        ({"motion": False}, ("keyframes", "residual", "present")),
        ({"residual": False}, ("keyframes", "motion", "mask", "present")),
        ({"motion": False, "residual": False, "mixer": False}, ("keyframes",)),
        (
            {"residual": False, "difference": "leaky"},
            ("keyframes", "motion", "mask", "present", "difference", "differs"),
        ),
        ({"motion": False, "residual": False, "difference": "leaky"}, ("keyframes", "difference", "differs")),
    ],
)
def test_a_model_asks_for_what_it_looks_at(options: dict[str, Any], wanted: tuple[str, ...]) -> None:
    network = model(**options)
    assert network.input_spec.modalities == wanted
    chunk = groups(network, 2)
    assert set(chunk) == set(wanted)
    with torch.inference_mode():
        output = network.finish(network.encode([chunk]), need_moments=True)
    assert output.logits.shape == (1, 3)
    assert output.moments is not None
    torch.testing.assert_close(output.moments[0].mean(dim=0, keepdim=True), output.logits)


def test_differences_and_motion_alone_add_their_own_logits() -> None:
    network = model(residual=False, difference="leaky")
    with torch.inference_mode():
        one, other = (network.encode([groups(network, 3, seed)]) for seed in (1, 2))
        image, motion, difference = one.split(GRID, dim=4)
        other_image = other[..., :GRID]
        nothing = torch.zeros_like(image)

        def logits(*grids: Tensor) -> Tensor:
            return network.finish(torch.cat(grids, dim=4)).logits

        # What a difference adds does not depend on what the picture shows.
        adds = logits(image, motion, difference) - logits(image, motion, nothing)
        torch.testing.assert_close(
            adds, logits(other_image, motion, difference) - logits(other_image, motion, nothing), atol=1e-5, rtol=1e-4
        )
        assert adds.abs().max() > 1e-4
        # Without a picture, what all say together is what motion says alone.
        through = torch.cat([nothing, motion, difference], dim=4)
        for stage in list(network.segments[-1])[:-1]:
            through = stage(through)
        torch.testing.assert_close(through[..., : 2 * GRID], through[..., 2 * GRID : 4 * GRID])
        torch.testing.assert_close(through[..., 4 * GRID :], difference)


def test_compressors_stand_between_encoders_and_transformer_and_nowhere_else() -> None:
    backbone = bitstream(3, channels=CHANNELS, layers=1, heads=2)
    assert backbone.cuts == (ENCODERS,)
    with pytest.raises(CutError, match="transformer"):
        BitstreamModel(backbone, [Insertion("transformer", COMPRESSORS["identity"](CHANNELS))])


def test_a_video_without_groups_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one group"):
        model().encode([])
