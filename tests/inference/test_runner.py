"""The ways to run a network faster, each held to the answer of the plain way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_model import make_tiny_model
from vidcomp.inference.device import PRECISIONS, BatchSize, choose_precision, cpu_has_bf16, precision_name
from vidcomp.inference.runner import Runner, dummy_clip
from vidcomp.zoo.build import build_network, load_model
from vidcomp.zoo.manifest import find_manifest

CPU = torch.device("cpu")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(load_model(str(make_tiny_model(tmp_path))).network, CPU)


def logits(runner: Runner, *chunks: np.ndarray) -> np.ndarray:
    return runner.whole(chunks).logits.numpy()


def count_head_frames(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    tensor = runner.tensor
    monkeypatch.setattr(runner, "tensor", lambda pixels: seen.append(len(pixels)) or tensor(pixels))
    return seen


def test_a_still_video_in_chunks_has_the_answer_of_one_pass(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = dummy_clip(5, 16, 16)
    video = moving[[0, 0, 0, 1, 1, 2, 0, 3, 4, 4, 4, 2]]
    field = runner.network.head_field
    assert field is not None
    assert field.framewise
    with torch.inference_mode():
        expected = runner.network(runner.tensor(video)).logits.numpy()
    seen = count_head_frames(runner, monkeypatch)
    np.testing.assert_allclose(logits(runner, video[:7], video[7:]), expected, atol=1e-5)
    assert sum(seen) == 12


def test_a_head_that_looks_around_sees_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    runner = Runner(build_network(find_manifest("x3d_xs-sgs")), CPU)
    field = runner.network.head_field
    assert field is None or not field.framewise
    seen = count_head_frames(runner, monkeypatch)
    logits(runner, dummy_clip(1, 64, 64).repeat(6, axis=0))
    assert sum(seen) == 6


class FakeDevice:
    """Has memory for so many items at once."""

    def __init__(self, fits: int, error: type[Exception] = torch.cuda.OutOfMemoryError) -> None:
        self.fits = fits
        self.error = error
        self.tried: list[int] = []

    def work(self, items: Sequence[int]) -> list[int]:
        self.tried.append(len(items))
        if len(items) > self.fits:
            raise self.error("CUDA out of memory")
        return [10 * item for item in items]


def test_batches_are_halved_until_they_fit_and_nothing_is_lost() -> None:
    device, size = FakeDevice(fits=3), BatchSize(8)
    results = [value for group in size.run(range(11), device.work) for value in group]
    assert results == [10 * item for item in range(11)]
    assert device.tried == [8, 4, 2, 2, 2, 2, 2, 1]
    assert size.most == 2
    list(size.run(range(2), device.work))
    assert device.tried[-1] == 2


@pytest.mark.parametrize(("fits", "error"), [(0, torch.cuda.OutOfMemoryError), (2, ZeroDivisionError)])
def test_what_smaller_batches_do_not_mend_is_raised(fits: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(BatchSize(4).run(range(4), FakeDevice(fits, error).work))


def test_precisions_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("fp32", CPU) == torch.float32
    assert [precision_name(dtype) for dtype in PRECISIONS.values()] == list(PRECISIONS)
    for name, message in (
        ("fp16", "too slow"),
        ("int4", "choose auto, fp32, bf16, fp16"),
        ("float32", "called fp32 now"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_precision(name, CPU)
    monkeypatch.setattr("vidcomp.inference.device.cpu_has_bf16", lambda: False)
    with pytest.raises(ValueError, match="emulate"):
        choose_precision("bf16", CPU)
    monkeypatch.setattr("vidcomp.inference.device.cpu_has_bf16", lambda: True)
    assert choose_precision("bf16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "precision"), [((9, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)]
)
def test_precisions_of_a_gpu(
    capability: tuple[int, int], precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda")) == precision
    if capability < (8, 0):
        with pytest.raises(ValueError, match="emulate"):
            choose_precision("bf16", torch.device("cuda"))


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2\nbugs: bf16\n", False),
        ("", False),
    ],
)
def test_whether_a_cpu_has_bfloat16_is_read_from_its_flags(cpuinfo: str, has: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert cpu_has_bf16(tmp_path / "cpuinfo") is has
    assert not cpu_has_bf16(tmp_path / "nowhere")


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU would have to emulate bfloat16")
def test_bfloat16_answers_nearly_the_same_in_float32_numbers(tmp_path: Path) -> None:
    network = load_model(str(make_tiny_model(tmp_path))).network
    video = dummy_clip(10, 16, 16)
    exact = logits(Runner(network, CPU), video)
    rough = logits(Runner(network, CPU, precision="bf16"), video)
    assert rough.dtype == np.float32
    assert not np.array_equal(rough, exact)
    np.testing.assert_allclose(rough, exact, atol=0.05 * np.abs(exact).max())


@pytest.mark.slow
def test_compiled_answers_are_the_same_for_any_length(runner: Runner) -> None:
    videos = [dummy_clip(frames, 16, size) for frames, size in ((20, 24), (9, 16), (1, 16))]
    expected = [logits(runner, video) for video in videos]
    compilation = runner.compile()
    assert compilation.problem is None
    assert compilation.seconds > 0
    for video, wanted in zip(videos, expected, strict=True):
        np.testing.assert_allclose(logits(runner, video), wanted, atol=1e-4)


def test_head_and_tail_are_compiled_and_warmed_up(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    video = dummy_clip(9, 16, 16)
    expected = logits(runner, video)
    calls: list[str] = []

    def fake_compile(module: torch.nn.Module, *, dynamic: bool) -> torch.nn.Module:
        assert not dynamic  # but for the frames
        module.register_forward_hook(lambda *_: calls.append(type(module).__name__))
        return torch.nn.Sequential(module)

    monkeypatch.setattr(torch, "compile", fake_compile)
    assert runner.compile().problem is None
    assert len(calls) >= 2 * len(runner.network.segments)
    np.testing.assert_array_equal(logits(runner, video), expected)


def test_without_a_compiler_the_network_runs_as_before(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    video = dummy_clip(9, 16, 16)
    expected = logits(runner, video)

    class NoCompiler(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            raise OSError("backend failed:\nInvalidCxxCompiler: No working C++ compiler found\nset a variable")

    monkeypatch.setattr(torch, "compile", lambda module, dynamic: NoCompiler())
    assert runner.compile().problem == "InvalidCxxCompiler: No working C++ compiler found"
    np.testing.assert_array_equal(logits(runner, video), expected)


def test_noise_is_the_same_each_time_and_has_no_frame_twice() -> None:
    first, second = dummy_clip(20, 4, 4), dummy_clip(20, 4, 4)
    np.testing.assert_array_equal(first, second)
    assert len({hashlib.sha256(frame.tobytes()).digest() for frame in first}) == 20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_cuda_answers_as_the_cpu_does(tmp_path: Path) -> None:
    manifest = str(make_tiny_model(tmp_path))
    video = dummy_clip(70, 16, 16)
    expected = logits(Runner(load_model(manifest).network, CPU), video)
    exact = Runner(load_model(manifest).network, torch.device("cuda"), precision="fp32")
    np.testing.assert_allclose(exact.whole([video]).logits.cpu().numpy(), expected, atol=1e-2)
    fast = Runner(load_model(manifest).network, torch.device("cuda"))
    np.testing.assert_allclose(
        fast.whole([video]).logits.cpu().numpy(), expected, atol=0.05 * np.abs(expected).max() + 1e-2
    )
