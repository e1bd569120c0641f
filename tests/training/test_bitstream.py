"""A model of the bitstream learns what moves which way, and its views are right for vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests import clips
from vidcomp.inference.classifier import Classifier
from vidcomp.nn.backbones.bitstream import bitstream
from vidcomp.training import Interrupted, RequestError
from vidcomp.training.bitstream import BitstreamJob, bitstream_of, mirror, train_bitstream, zoomed
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.config import BitstreamRecipe, Paths
from vidcomp.zoo.build import load_model
from vidcomp.zoo.manifest import find_manifest

MANIFEST = """
name: tiny-bitstream
summary: random weights, for tests
backbone: {family: bitstream, classes: 3, options: {channels: 8, layers: 1, heads: 2, residual: false},
           weights: {file: w.safetensors}}
compressors: [{cut: encoders, kind: identity}]
labels: [jump, run, swim]
preprocessing: {short_side: 32, crop: 32}
"""


def test_what_moves_right_moves_left_in_the_mirror() -> None:
    motion = torch.zeros(1, 1, 1, 2, 3, 2)
    motion[..., 0, 0, :] = torch.tensor([4.0, 5.0])  # the upper left cell moves right and down
    chunk = {
        "keyframes": torch.arange(6).view(1, 1, 2, 3, 1).expand(-1, -1, -1, -1, 3),
        "motion": motion,
        "present": torch.tensor([[[1, 0]]]),
    }
    mirrored = mirror(chunk)
    assert mirrored["motion"][0, 0, 0, 0, 2].tolist() == [-4.0, 5.0]
    assert mirrored["keyframes"][0, 0, 0, :, 0].tolist() == [2, 1, 0]
    assert mirrored["present"].tolist() == [[[1, 0]]]


def test_motion_grows_with_the_picture() -> None:
    pictures = torch.full((1, 1, 3, 2, 24, 32), 0.5)
    seen = zoomed(pictures, 1.25, [0.0, 0.0])
    assert seen[0, 0, :, 0, 12, 16].tolist() == pytest.approx([0.625, 0.625, 0.5])
    residual = zoomed(torch.full((1, 1, 1, 2, 72, 96), 0.5), 1.25, [0.0, 0.0])
    assert residual[0, 0, 0, 0, 36, 48].item() == pytest.approx(0.5)
    # Beside the picture there is nothing.
    assert zoomed(pictures, 1.0, [0.9, 0.0])[0, 0, 0, 0, 12, 31] == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_file(bitstream(3, channels=8, layers=1, heads=2, residual=False).state_dict(), folder / "w.safetensors")
    (folder / "tiny.yaml").write_text(MANIFEST)
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, first in (("bright", 4065), ("dark", 0)):
        (folder / name).mkdir()
        for number in range(2):
            clips.make_clip(folder / name / f"{number}.mp4", 16, size=(64, 48), first=first, options={"bf": "0"})
    return folder


class StopOnce(Callbacks):
    """Asks to stop after the first step."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, state: object) -> None:
        self.steps += 1

    def stopping(self) -> bool:
        return self.steps == 1


def test_a_training_that_is_stopped_goes_on_to_the_same_model(model: Path, videos: Path, tmp_path: Path) -> None:
    job = BitstreamJob(str(model), BitstreamRecipe(epochs=2, batch=2, warm_up_steps=0))
    weights = []
    for name, stops in (("whole", False), ("parted", True)):
        paths = Paths(source=videos, output=tmp_path / f"{name}.yaml", cache=tmp_path / "cache", workers=0)
        if stops:
            with pytest.raises(Interrupted):
                train_bitstream(job, paths, StopOnce())
            paths = Paths(
                source=videos, output=paths.output, cache=tmp_path / "cache", workers=0, resume=True, val=None
            )
        manifest = train_bitstream(job, paths)
        assert manifest.labels == ("bright", "dark")
        loaded = load_model(tmp_path / f"{name}.yaml")
        weights.append(loaded.network.state_dict())
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())
    before = load_model(model).network.state_dict()
    changed = {name for name, tensor in weights[0].items() if not torch.equal(tensor, before.get(name, tensor))}
    assert any("motion" in name for name in changed)
    assert not any("image.network" in name for name in changed)
    with Classifier(loaded, device="cpu", precision="fp32") as classifier:
        prediction = classifier.classify(videos / "dark" / "0.mp4")
    assert {label.label for label in prediction.labels} == {"bright", "dark"}
    assert np.isclose(sum(label.probability for label in prediction.labels), 1)


def test_a_model_of_frames_alone_is_refused() -> None:
    with pytest.raises(RequestError, match="neither a model of the bitstream"):
        bitstream_of(find_manifest("slow_r50_8x8-sfc"))
