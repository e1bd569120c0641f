"""A real file through the embedded backbone with SGS: its record names the bins, and NaN fails one video."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vidcomp.evaluation.accuracy import evaluation_of
from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.inference.classifier import Classifier
from vidcomp.nn.compressors import SGS
from vidcomp.video.labeled import LabeledVideo
from vidcomp.zoo.build import LoadedModel, Variant, load_model


@pytest.fixture
def model() -> LoadedModel:
    """The embedded network with an untrained SGS where its SFC would be; it averages, so that the tail can follow."""
    loaded = load_model("ucf16-lite0", Variant(compressor="none"))
    cut = loaded.manifest.compressors[0].cut
    torch.manual_seed(0)
    channels = loaded.network.head(torch.zeros(1, 3, 2, 64, 64)).shape[1]
    loaded.network.compressors[0] = SGS(channels, kernel="kronecker", center=True).eval()
    sgs = {"cut": cut, "kind": "sgs"}
    return LoadedModel(loaded.manifest.with_changes(compressors=(sgs,)), loaded.network, loaded.labels)


def test_the_record_names_the_frames_of_every_bin(model: LoadedModel, clip: Path) -> None:
    with Classifier(model, device="cpu") as classifier:
        prediction = classifier.classify(str(clip))
        attention = prediction.to_dict(top_k=1)["attention"]
        assert attention["compressor"] == "sgs"
        assert attention["active_bins"] == len(attention["bins"]) > 1
        assert sorted(frame for frames in attention["bins"] for frame in frames) == list(range(prediction.frames.used))
        run = StrategyRun("sgs", classifier)
        assert list(run.label_all([str(clip)])) == [str(clip)]
    answer = evaluation_of(run, [LabeledVideo(str(clip), model.labels[0])]).as_dict()
    assert answer["active_bins"]["histogram"] == {str(attention["active_bins"]): 1}
    assert list(answer["active_bins"]["lowest"]) == [model.labels[0]]


def test_features_that_are_no_numbers_fail_their_video_alone(model: LoadedModel, clip: Path) -> None:
    with torch.no_grad():
        next(model.network.head.parameters()).fill_(torch.nan)
    with Classifier(model, device="cpu") as classifier:
        prediction = classifier.classify(str(clip))
    assert prediction.error is not None
    assert prediction.error.kind == "bad_features"
    assert "frame 0" in prediction.error.message
