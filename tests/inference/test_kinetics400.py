"""The model that is the default: the published sample, and the same answer however a video comes and is cut up."""

from __future__ import annotations

import csv
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import clips
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.inference.strategies import DenseViews, Strategy, UniformClips
from vidcomp.inference.windows import Windows
from vidcomp.video.frames import to_input
from vidcomp.zoo.build import LoadedModel, Variant, load_model, load_variant
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import PreprocessingSection, find_manifest

NAME = "kinetics400-i3d"


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_published_sample(shared_data: Path) -> None:
    with Classifier(load_model(NAME), device="cpu") as classifier:
        prediction = classifier.classify(str(shared_data / "vectors" / "cricket.gif"))
    assert prediction.labels[0].label == "playing cricket"
    assert prediction.labels[0].probability >= 0.98
    assert (prediction.frames.decoded, prediction.frames.used) == (79, 79)
    assert prediction.passes is not None
    assert (prediction.passes.height, prediction.passes.width) == (224, 224)


@pytest.mark.shared_data
def test_the_published_sample_is_salient_throughout(shared_data: Path) -> None:
    with Classifier(load_model(NAME, Variant("sfc")), device="cpu") as classifier:
        prediction = classifier.classify(str(shared_data / "vectors" / "cricket.gif"))
    assert prediction.labels[0].label == "playing cricket"
    assert prediction.labels[0].probability >= 0.98
    assert (prediction.frames.decoded, prediction.frames.used) == (79, 79)
    # The first convolution makes 40 frames of 79, each of which attends to itself.
    assert prediction.attention is not None
    assert np.array_equal(prediction.attention.weights, np.eye(40))


def kinetics_names() -> dict[str, set[str]]:
    """The labels that are right for clips of each class of UCF101 that Kinetics names."""
    with (Path(__file__).parent / "ucf101_to_kinetics.csv").open(encoding="utf-8", newline="") as file:
        return {row["ucf101"]: set(row["kinetics400"].split("|")) for row in csv.DictReader(file)}


def test_every_name_is_a_label() -> None:
    known = set(labels_of(find_manifest(NAME)))
    assert all(names <= known for names in kinetics_names().values())


@pytest.mark.slow
@pytest.mark.shared_data
def test_clips_whose_actions_kinetics_names(shared_data: Path) -> None:
    """One clip of each group of the validation clips, among all 400 labels: 28 and 33 of 34 when it was measured."""
    paths = [
        next(iter(group))
        for name in kinetics_names()
        for _, group in groupby(sorted((shared_data / "ucf16" / "val" / name).iterdir()), lambda path: path.stem[:-4])
    ]
    first = among_five = 0
    with Classifier(load_model(NAME)) as classifier:
        for path in paths:
            best = [label.label for label in classifier.classify(str(path)).labels[:5]]
            right = kinetics_names()[path.parent.name]
            first += best[0] in right
            among_five += not right.isdisjoint(best)
    assert len(paths) == 34
    assert first >= 27
    assert among_five >= 32


@pytest.fixture(scope="module")
def small() -> LoadedModel:
    """The network itself, on pictures that take no time."""
    feeding = PreprocessingSection(short_side=40, crop=32, central=True)
    return load_variant(find_manifest(NAME).with_changes(preprocessing=feeding))


@pytest.fixture(scope="module")
def classifier(small: LoadedModel) -> Classifier:
    return Classifier(small, device="cpu")


@pytest.mark.parametrize(
    ("ending", "frames", "fps", "used"),
    [
        ("mp4", 7, 5, 35),
        ("mp4", 240, 240, 25),
        ("mp4", 29, 25, 29),
        ("gif", 20, 25, 20),
        ("mp4", 1, 25, 16),
    ],
)
def test_samples_whatever_the_rate(
    classifier: Classifier, tmp_path: Path, ending: str, frames: int, fps: int, used: int
) -> None:
    codec, pixels = ("gif", "rgb8") if ending == "gif" else ("libx264", "yuv420p")
    clip = clips.make_clip(
        tmp_path / f"clip.{ending}", frames, fps=fps, size=(64, 48), codec=codec, pixel_format=pixels
    )
    prediction = classifier.classify(str(clip))
    assert prediction.ok, prediction.error
    assert (prediction.frames.decoded, prediction.frames.used) == (frames, used)
    assert prediction.frames.duration_s == pytest.approx(frames / fps, abs=0.01)
    assert any("repeated 15×" in note for note in prediction.notes) == (frames == 1)


def test_a_stream_without_timestamps(classifier: Classifier, tmp_path: Path) -> None:
    prediction = classifier.classify(str(clips.make_clip(tmp_path / "clip.h264", 30, size=(64, 48))))
    assert prediction.ok, prediction.error
    assert prediction.frames.used == 30


def same(one: Prediction, other: Prediction) -> None:
    assert [label.index for label in one.labels[:3]] == [label.index for label in other.labels[:3]]
    ours, theirs = ({label.index: label.probability for label in given.labels} for given in (one, other))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_chunks_and_threads_change_nothing(classifier: Classifier, tmp_path: Path) -> None:
    clip = str(clips.make_clip(tmp_path / "clip.mp4", 40, size=(64, 48), fps=24))
    first = classifier.classify(clip)
    usual, threads = classifier.runner.chunk_frames, torch.get_num_threads()
    try:
        for chunk_frames, count in ((1, 1), (7, 2), (200, 2)):
            classifier.runner.chunk_frames = chunk_frames
            torch.set_num_threads(count)
            same(classifier.classify(clip), first)
    finally:
        classifier.runner.chunk_frames = usual
        torch.set_num_threads(threads)


def test_in_windows_of_the_stages_as_in_one_pass(classifier: Classifier) -> None:
    spec, network = classifier.runner.spec, classifier.runner.network
    pixels = np.random.default_rng(0).integers(0, 256, (104, 32, 32, 3), np.uint8)
    output = classifier.runner.whole(np.array_split(pixels, 9))
    with torch.inference_mode():
        at_once = network(to_input(pixels, spec.mean, spec.std).unsqueeze(0))
    torch.testing.assert_close(output.logits, at_once.logits, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("strategy", "passes", "frames"),
    [(DenseViews(clips=2, crops=2), 4, 64), (UniformClips(2, 24), 1, 48), (Windows(1.0, 1.5), 4, 38)],
)
def test_every_strategy_samples_by_the_second(
    small: LoadedModel, tmp_path: Path, strategy: Strategy, passes: int, frames: int
) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 20, size=(64, 48), fps=5)
    with Classifier(small, device="cpu", strategy=strategy) as classifier:
        prediction = classifier.classify(str(clip))
    assert prediction.ok, prediction.error
    assert prediction.passes is not None
    assert (prediction.passes.count, prediction.passes.frames) == (passes, frames)
    assert prediction.frames.duration_s == pytest.approx(4)
    assert not prediction.notes
    assert [part.start_s for part in prediction.windows] == ([0, 1, 2, 3] if passes == 4 and frames == 38 else [])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_time_lapse_is_as_long_as_it_lasts(classifier: Classifier, tmp_path: Path, name: str) -> None:
    """Twenty frames in thirteen minutes are 20,000 samples: too many to be passed whole.

    The header of the MP4 tells the average rate, that of the MKV 25 frames a second.
    """
    clip = clips.make_clip(tmp_path / name, 20, size=(64, 48), times=range(0, 20_000, 1000))
    prediction = classifier.classify(str(clip))
    assert prediction.error is None
    assert prediction.strategy == "uniform8x128"
    assert prediction.frames.used == 8 * 128
