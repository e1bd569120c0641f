"""Real files through the embedded model: the same answer alone, after others, on any chunking, on every run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import vidcomp
from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.inference.strategies import DenseViews, Strategy, UniformClips, WholeVideo
from vidcomp.inference.windows import Windows
from vidcomp.video import dense_views
from vidcomp.video.frames import crop, to_input
from vidcomp.zoo.build import LoadedModel, Variant, load_model, load_variant, vary
from vidcomp.zoo.manifest import PreprocessingSection, find_manifest

SMALL = PreprocessingSection(short_side=64, crop=64)


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    with vidcomp.load("ucf16-lite0", device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def small() -> LoadedModel:
    """The same model on pictures that take little time."""
    return load_variant(find_manifest("ucf16-lite0").with_changes(preprocessing=SMALL))


@pytest.fixture(scope="module")
def quick(small: LoadedModel) -> Iterator[Classifier]:
    with Classifier(small, device="cpu") as classifier:
        yield classifier


def probabilities(prediction: Prediction) -> np.ndarray:
    assert prediction.error is None, prediction.error
    values = np.zeros(len(prediction.labels))
    for label in prediction.labels:
        values[label.index] = label.probability
    return values


def test_a_prediction_is_complete(classifier: Classifier, clip: Path) -> None:
    prediction = classifier.classify(str(clip))
    assert prediction.ok
    assert prediction.model == "ucf16-lite0"
    assert prediction.strategy == "whole"
    assert [label.probability for label in prediction.labels] == sorted(
        (label.probability for label in prediction.labels), reverse=True
    )
    assert probabilities(prediction).sum() == pytest.approx(1)
    assert prediction.frames.decoded == 60
    assert prediction.frames.used == 16
    assert prediction.frames.duration_s == pytest.approx(60 / 25, abs=0.05)
    assert prediction.notes == ("shorter than a clip: the last frame was repeated 1×",)
    assert prediction.attention is not None
    assert prediction.attention.weights.shape == (8, 16)
    np.testing.assert_allclose(prediction.attention.weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(prediction.attention.seconds[:4], [0, 0.16, 0.32, 0.48], atol=1e-6)


def test_same_alone_after_others_and_on_any_chunking(small: LoadedModel, clip: Path, tmp_path: Path) -> None:
    other = clips.make_clip(tmp_path / "other.mp4", 90, size=(64, 120))
    with Classifier(small, device="cpu") as classifier:
        alone = probabilities(classifier.classify(str(clip)))
        *_, after = classifier.classify_all([str(other), str(clip)])
        np.testing.assert_allclose(probabilities(after), alone, atol=1e-6)
        for chunk in (1, 3, 64):
            classifier.runner.chunk_frames = chunk
            np.testing.assert_allclose(probabilities(classifier.classify(str(clip))), alone, atol=1e-5)


def test_videos_that_go_together_are_answered_as_alone(small: LoadedModel, clip: Path, tmp_path: Path) -> None:
    """Two of one shape with a longer and a broken one between them."""
    same = clips.make_clip(tmp_path / "same.mp4", 60, first=20)
    longer = clips.make_clip(tmp_path / "longer.mp4", 90)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    paths = [str(path) for path in (clip, longer, broken, same)]
    with Classifier(small, device="cpu") as classifier:
        alone = [classifier.classify(path) for path in paths]
    batches: list[int] = []
    with Classifier(small, device="cpu", batch=4) as together:
        tail = together.runner.network.segments[-1]
        tail.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
        answers = list(together.classify_all(paths))
    assert sorted(batches) == [1, 2]
    assert [answer.path for answer in answers] == paths
    for answer, other in zip(answers, alone, strict=True):
        assert (answer.error and answer.error.kind) == (other.error and other.error.kind)
        if answer.ok:
            np.testing.assert_allclose(probabilities(answer), probabilities(other), atol=1e-5)
            assert answer.attention is not None
            assert other.attention is not None
            np.testing.assert_allclose(answer.attention.weights, other.attention.weights, atol=1e-5)
            np.testing.assert_array_equal(answer.attention.seconds, other.attention.seconds)


def test_a_bad_file_is_an_answer_and_the_next_video_is_unharmed(quick: Classifier, clip: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    bad, good = quick.classify_all([str(empty), str(clip)])
    assert bad.error is not None
    assert bad.error.kind == "empty"
    assert str(empty) in bad.error.message
    assert bad.labels == ()
    assert good.ok


def test_a_killed_decoder_costs_one_video(quick: Classifier, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quick.classify(str(clip)).ok
    (pid,) = quick.pool.pids
    assert pid is not None
    run = quick.runner.encode

    def kill_first(chunks: Iterator[np.ndarray]) -> object:
        with suppress(ProcessLookupError):  # gone by the second try
            os.kill(pid, signal.SIGKILL)
        return run(chunks)

    monkeypatch.setattr(quick.runner, "encode", kill_first)
    crashed = quick.classify(str(clip))
    monkeypatch.undo()
    assert crashed.error is None or crashed.error.kind == "crashed"
    assert quick.classify(str(clip)).ok
    assert quick.pool.pids != [pid]


def test_dense_views_are_the_mean_over_views_of_the_plain_network(clip: Path) -> None:
    """Two clips by two crops, put together by hand from the decoded frames."""
    model = load_variant(
        vary(find_manifest("ucf16-lite0"), Variant(compressor="none")).with_changes(preprocessing=SMALL)
    )
    with Classifier(model, device="cpu", strategy=DenseViews(clips=2, crops=2)) as dense:
        prediction = dense.classify(str(clip))
    assert prediction.strategy == "dense2x2"
    assert prediction.frames.used == 4 * 16
    expected = np.zeros(16)
    spec = model.spec
    pixels = _all_frames(model, clip)
    for view in dense_views(60, 16, 4, clips=2, crops=2):
        square = crop(pixels[list(view.frame_indices)], spec.crop, view.crop)
        clip_tensor = to_input(square, spec.mean, spec.std).unsqueeze(0)
        with torch.inference_mode():
            expected += model.network(clip_tensor).logits.softmax(dim=1)[0].double().numpy() / 4
    np.testing.assert_allclose(probabilities(prediction), expected, atol=1e-4)


def _all_frames(model: LoadedModel, clip: Path) -> np.ndarray:
    from vidcomp.video import DecodeOptions, open_reader

    with open_reader(str(clip), DecodeOptions(short_side=model.spec.short_side)) as reader:
        return np.concatenate([chunk.pixels for chunk in reader.chunks()])


def test_videos_longer_than_the_model_takes_are_passed_as_uniform_clips(small: LoadedModel, clip: Path) -> None:
    short = LoadedModel(small.manifest.with_changes(max_frames=40), small.network, small.labels)
    with Classifier(short, device="cpu") as chosen:
        assert chosen.classify(str(clip)).strategy == "uniform8x128"
    with Classifier(small, device="cpu", strategy=UniformClips(clips=2, clip_frames=32)) as uniform:
        prediction = uniform.classify(str(clip))
    assert prediction.strategy == "uniform2x32"
    assert prediction.passes is not None
    assert prediction.passes.count == 1
    assert prediction.passes.frames == 16
    # The second clip's last frame, at stride 4, is not the video's last one.
    assert prediction.frames.duration_s == pytest.approx(60 / 25)


def test_without_compression_there_is_no_attention(clip: Path) -> None:
    with Classifier(load_model("ucf16-lite0", Variant(compressor="none")), strategy=WholeVideo()) as plain:
        assert plain.classify(str(clip)).attention is None


def test_cuda_where_there_is_none_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="no usable CUDA device"):
        vidcomp.load("ucf16-lite0", device="cuda")


def test_what_memory_does_not_hold_is_refused_before_it_is_taken(
    classifier: Classifier, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = str(clips.make_clip(tmp_path / "wide.mp4", 9, size=(160, 32)))
    monkeypatch.setattr("vidcomp.inference.pending.MODEST_BYTES", 300 * 2**20)
    monkeypatch.setattr("vidcomp.inference.pending.memory_at_hand", lambda: 600 * 2**20)
    assert classifier.classify(wide).ok
    monkeypatch.setattr("vidcomp.inference.pending.memory_at_hand", lambda: 10 * 2**20)
    refused, ordinary = classifier.classify_all([wide, str(clip)])
    assert refused.error is not None
    assert refused.error.kind == "too_large"
    assert "3 pictures of 160×32 pixels, scaled to 800×160, take 0.5 GiB" in refused.error.message
    # What all videos take is not asked for: it could be had a moment later.
    assert ordinary.ok


@pytest.mark.parametrize(
    ("strategy", "frames", "bytes_each"),
    [
        # Features of 5 bytes a pixel and half as many for what joins them; windows hold pixels too, views nothing else.
        (WholeVideo(), 1000, 7.5),
        (Windows(10.0, 10.0), 250, 7.5 + 6),
        (DenseViews(), 1000, 6.0),
    ],
)
def test_memory_is_asked_for_what_a_strategy_holds(
    classifier: Classifier, strategy: Strategy, frames: int, bytes_each: float
) -> None:
    held = strategy.bytes_held(classifier.runner, 1000, 100.0, 1000)
    assert held == pytest.approx(frames * bytes_each * 1000, rel=0.02)


def test_the_limit_of_damage(quick: Classifier, clip: Path, tmp_path: Path) -> None:
    damaged = str(clips.damage(clip, tmp_path / "damaged.mp4", 0.5, 0.6))
    accepted = quick.classify(damaged)
    assert accepted.ok
    assert 0 < accepted.frames.repaired < 0.5 * accepted.frames.decoded
    with Classifier(quick.model, device="cpu", max_damage=0.0) as strict:
        refused = strict.classify(damaged)
        assert refused.error is not None
        assert refused.error.kind == "damaged"
        assert strict.classify(str(clip)).ok
    with pytest.raises(ValueError, match="max_damage is a share"):
        Classifier(quick.model, device="cpu", max_damage=30)


@pytest.mark.parametrize(
    ("window_s", "ends", "used"),
    [
        # Of 60 frames, 0.04 s each, the model looks at every fourth.
        (1.0, [1, 2, 2.4], 7 + 6 + 2),
        (0.08, [round(0.08 * number, 2) for number in range(1, 31)], 15),
        (
            0.25,
            [*(0.25 * number for number in range(1, 10)), 2.4],
            15 + 1,
        ),  # the last window has the frame shown in the one before
    ],
)
def test_windows_cover_the_video_to_its_end(
    tmp_path: Path, clip: Path, window_s: float, ends: list[float], used: int
) -> None:
    """However few frames the model looks at; windows that see the same are passed once."""
    model = load_model(make_tiny_model(tmp_path, stride=4))
    with Classifier(model, device="cpu", strategy=Windows(window_s, window_s)) as classifier:
        prediction = classifier.classify(str(clip))
    assert [part.end_s for part in prediction.windows] == pytest.approx(ends)
    assert [part.start_s for part in prediction.windows] == pytest.approx([0, *ends[:-1]])
    assert (prediction.frames.used, prediction.notes) == (used, ())


@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1)])
def test_the_last_window_ends_with_a_video_of_varying_rate(tmp_path: Path, first: int, second: int) -> None:
    """The last frame lasts as long as one does on average; where windows end has nothing to do with the stride."""
    times = [*range(0, 21 * first, first), *range(21 * first, 21 * first + 20 * second, second)]
    clip = clips.make_clip(tmp_path / "varying.mp4", 41, size=(64, 48), times=times)
    model = load_model(make_tiny_model(tmp_path, stride=8))
    with Classifier(model, device="cpu", strategy=Windows(10, 10)) as classifier:
        prediction = classifier.classify(str(clip))
    (window,) = prediction.windows
    assert window.end_s == prediction.frames.end_s
    assert window.end_s == pytest.approx(times[-1] / 25, abs=0.13)
