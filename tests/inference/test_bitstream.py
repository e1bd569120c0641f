"""A model of the bitstream labels files as any other does, and is a row beside models of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests import clips
from vidcomp.evaluation.cost import ModelCost
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import StrategyError, parse_strategy
from vidcomp.inference.prediction import ForwardStats
from vidcomp.nn.backbones.bitstream import bitstream
from vidcomp.video import DecodeOptions, Frames
from vidcomp.video.groups import GroupReader
from vidcomp.zoo.build import load_model
from vidcomp.zoo.manifest import find_manifest

MODALITIES = ("keyframes", "motion", "mask", "residual", "present")
MANIFEST = """
name: tiny-bitstream
summary: random weights, for tests
backbone: {family: bitstream, classes: 3, options: {channels: 8, layers: 1, heads: 2}, weights: {file: w.safetensors}}
compressors: [{cut: encoders, kind: identity}]
labels: [jump, run, swim]
preprocessing: {short_side: 32, crop: 32}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the bitstream, one of frames whose sibling it is, and two videos."""
    folder = tmp_path_factory.mktemp("bitstream")
    torch.manual_seed(0)
    save_file(bitstream(3, channels=8, layers=1, heads=2).state_dict(), folder / "w.safetensors")
    (folder / "tiny-bitstream.yaml").write_text(MANIFEST)
    clips.make_clip(folder / "a.mp4", 80, options={"g": "12", "bf": "0", "sc_threshold": "0"})
    clips.make_clip(folder / "b.mp4", 30, options={"g": "12", "bf": "0", "sc_threshold": "0"}, first=200)
    return folder


def _chunks(path: str, joined: int) -> list[Frames]:
    with GroupReader(path, DecodeOptions(32, modalities=MODALITIES, joined=joined)) as reader:
        return list(reader.chunks())


def test_groups_are_joined_to_one_anchor(folder: Path) -> None:
    path = str(folder / "a.mp4")
    joined = _chunks(path, 3)
    apart, together = (
        {name: np.concatenate([chunk.data[name] for chunk in chunks]) for name in MODALITIES}
        for chunks in (_chunks(path, 1), joined)
    )
    assert [index for chunk in joined for index in chunk.indices.tolist()] == [0, 36, 72]
    np.testing.assert_array_equal(together["keyframes"], apart["keyframes"][::3])
    assert together["present"].sum(axis=1).tolist() == [33, 33, 7]
    for name in ("motion", "mask", "residual"):
        np.testing.assert_array_equal(together[name][1], apart[name][3:6].reshape(33, *apart[name].shape[2:]))


def test_a_video_is_labeled_the_same_alone_and_among_others(folder: Path) -> None:
    paths = [str(folder / name) for name in ("a.mp4", "b.mp4")]
    model = load_model(folder / "tiny-bitstream.yaml")
    with Classifier(model, device="cpu", precision="fp32", batch=2) as classifier:
        together = list(classifier.classify_all(paths))
        classifier.runner.chunk_frames = 1
        alone = [classifier.classify(path) for path in paths]
    for one, other in zip(alone, together, strict=True):
        assert one.error is None
        for mine, theirs in zip(one.labels, other.labels, strict=True):
            assert (mine.label, mine.probability) == (theirs.label, pytest.approx(theirs.probability, abs=1e-5))
    assert alone[0].passes == ForwardStats(1, 3, 32, 32, kept=(0,))
    assert alone[0].attention is not None
    assert alone[0].attention.compressor == "transformer"
    assert alone[0].attention.seconds.tolist() == pytest.approx([0.0, 1.44, 2.88])
    np.testing.assert_allclose(alone[0].attention.weights.sum(axis=1), 1, atol=1e-5)


def test_what_it_costs_follows_from_the_groups(folder: Path) -> None:
    cost = ModelCost(find_manifest(folder / "tiny-bitstream.yaml"))
    one, two = (cost.gmacs(ForwardStats(1, groups, 32, 32)) for groups in (1, 2))
    assert 0 < one < two < 2.1 * one


def test_the_strategy_finds_the_sibling_of_a_model(folder: Path) -> None:
    own = find_manifest(folder / "tiny-bitstream.yaml")
    named = parse_strategy("bitstream")
    assert named.manifest(own) == own
    assert named.name(own) == "bitstream"
    for wrong in ("bitstream-tau2", "bitstream+sfc"):
        with pytest.raises(StrategyError):
            parse_strategy(wrong)
    with pytest.raises(StrategyError, match="sgs"):
        parse_strategy("bitstream", compressor="sgs")


def test_strategies_of_frames_are_refused(folder: Path) -> None:
    model = load_model(folder / "tiny-bitstream.yaml")
    with pytest.raises(ValueError, match="takes a video whole"):
        Classifier(model, strategy=parse_strategy("uniform8").strategy)


def test_moments_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="cannot tell when something happens"):
        Classifier(load_model(folder / "tiny-bitstream.yaml"), device="cpu", moments=True)
