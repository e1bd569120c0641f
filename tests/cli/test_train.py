"""`vidcomp train` as a user runs it: two classes that anything could tell apart, and a network of random weights."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from tests.training.conftest import folder, tiny  # noqa: F401 - fixtures
from tests.zoo.test_hub import Hub
from vidcomp.cli import app
from vidcomp.training.objective import Objective
from vidcomp.zoo.manifest import find_manifest

QUICK = ("--epochs", 2, "--batch", 3, "--views-cached", 2, "--device", "cpu")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("cache")
        patch.setenv("VIDCOMP_CACHE", str(root))
        yield root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def train(source: Path, model: Path, output: Path, *more: object) -> Result:
    return run("train", source, "--model", model, "--output", output, *QUICK, *more)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def labels(source: Path, model: Path, *more: object) -> dict[str, str]:
    told = run("classify", source, "--model", model, "--format", "json", "--quiet", *more)
    assert told.exit_code == 0, told.stderr
    return {Path(one["path"]).stem: one["labels"][0]["label"] for one in json.loads(told.stdout)}


@pytest.fixture(scope="module")
def fitted(folder: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A backbone that tells the two classes apart."""
    output = tmp_path_factory.mktemp("fitted") / "backbone.yaml"
    keys = ("color_jitter=false", "crop=1", "scale=[1,1]", "flip=false", "mixup=0", "ema_decay=0", "warm_up_steps=0")
    options: list[object] = ["--epochs", 8, "--batch", 6, "--learning-rate", 0.0001, "--val", folder, "--device", "cpu"]
    for key in keys:
        options += ["--set", key]
    told = run("train", "backbone", folder, "--model", tiny, "--output", output, *options)
    assert told.exit_code == 0, told.stderr
    return output


def test_a_backbone_learns_the_folders_classes_and_classifies_at_once(folder: Path, tiny: Path, fitted: Path) -> None:  # noqa: F811
    log = rows(fitted.with_suffix(".log.csv"))
    assert [row["epoch"] for row in log] == [f"{epoch}.0" for epoch in range(1, 9)]
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    found = labels(folder, fitted)
    assert {name: label for name, label in found.items() if not name.startswith(label)} == {}
    old, new = load_file(tiny.with_suffix(".safetensors")), load_file(fitted.with_suffix(".safetensors"))
    frozen = [name for name in old if name.startswith(("stages.stem", "stages.res2", "stages.res3"))]
    assert frozen
    assert all(old[name].equal(new[name]) for name in frozen)
    assert all(old[name].equal(new[name]) for name in old if "running" in name)
    assert not old["stages.classifier.linear.weight"].equal(new["stages.classifier.linear.weight"])


def test_a_compressor_is_fitted_and_classifies_at_once(folder: Path, fitted: Path, tmp_path: Path) -> None:  # noqa: F811
    output = tmp_path / "my.yaml"
    told = train(folder, fitted, output, "--compressor", "sfc", "--tau", 2, "--tau", 4, "--val", folder)
    assert told.exit_code == 0, told.stderr
    assert told.stdout.splitlines()[-1] == f"use it: vidcomp classify VIDEO --model {output}"
    assert {path.name for path in tmp_path.iterdir()} == {"my.yaml", "my.safetensors", "my.log.csv"}
    log = rows(tmp_path / "my.log.csv")
    assert {"val_accuracy_tau2", "val_accuracy_tau4"} < log[0].keys()
    manifest = find_manifest(str(output))
    assert [entry["tau"] for entry in manifest.measured] == [2, 4]
    assert float(log[-1]["val_accuracy_tau4"]) == pytest.approx(float(manifest.measured[1]["top1"]) / 100, abs=1e-3)
    right = [name.startswith(label) for name, label in labels(folder, output).items()]
    assert sum(right) / len(right) == pytest.approx(float(log[-1]["val_accuracy_tau2"]))
    assert labels(folder, output, "--tau", 4).keys() == labels(folder, output).keys()


def test_an_interrupted_training_goes_on_to_the_same_result(
    folder: Path,  # noqa: F811
    fitted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, parts = tmp_path / "whole.yaml", tmp_path / "parts.yaml"
    options = ("--compressor", "sfc", "--set", "ema_decay=0.9", "--set", f"hints={fitted}")
    assert train(folder, fitted, whole, *options).exit_code == 0
    learn, calls = Objective.learn, []

    def interrupting(self: Objective, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) in (1, 3):  # in the middle of the first epoch, and of the second
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, *arguments)

    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(Objective, "learn", interrupting)
        first = train(folder, fitted, parts, *options)
        assert first.exit_code == 130, first.stderr
        assert "stopped in epoch 1 after 1 of 2 steps; run the same command with --resume to continue" in first.stderr
        assert not parts.exists()
        refused = train(folder, fitted, parts, *options)
        assert refused.exit_code == 2
        assert "this training is not finished; continue it (--resume), or start again (--overwrite)" in refused.stderr
        other = train(folder, fitted, parts, *options, "--resume", "--seed", 5)
        assert "belongs to a training with another recipe" in other.stderr
        second = train(folder, fitted, parts, *options, "--resume", "--cache-gb", 0, "--workers", 0)
        assert second.exit_code == 130, second.stderr
        assert "stopped in epoch 2 after 1 of 2 steps" in second.stderr
        third = train(folder, fitted, parts, *options, "--resume")
        assert third.exit_code == 0, third.stderr
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert parts.with_suffix(".safetensors").read_bytes() == whole.with_suffix(".safetensors").read_bytes()
    for one, other_row in zip(rows(parts.with_suffix(".log.csv")), rows(whole.with_suffix(".log.csv")), strict=True):
        assert {**one, "seconds": ""} == {**other_row, "seconds": ""}


@pytest.mark.skipif(importlib.util.find_spec("huggingface_hub") is None, reason="pip install 'vidcomp[hf]'")
def test_what_was_trained_is_pushed(
    folder: Path,  # noqa: F811
    fitted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_none")
    output, options = tmp_path / "mine.yaml", ("--compressor", "sfc", "--epochs", 1, "--push")
    told = train(folder, fitted, output, *options, "me/mine")
    assert (told.exit_code, output.exists()) == (2, False)
    assert told.stderr.endswith("'me/mine': a repository is named hf:OWNER/NAME\n")
    with Hub(tmp_path / "hub") as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        told = train(folder, fitted, output, *options, "hf:me/mine")
        assert told.exit_code == 0, told.stderr
        assert told.stdout.splitlines()[-1] == f"uploaded to {hub.url}/me/mine"
        hub.shutdown()
    there = tmp_path / "hub/me/mine"
    assert {file.name for file in there.iterdir()} >= {"README.md", "vidcomp.yaml", "mine.safetensors"}
    assert labels(folder, there / "vidcomp.yaml") == labels(folder, output)
    # A Hub that is not there costs the upload, not the model.
    told = run("models", "push", output, "hf:me/mine")
    assert told.exit_code == 2
    assert told.stderr.startswith("vidcomp: error: hf:me/mine: cannot be uploaded (")
    assert told.stderr.count("\n") == 1


def test_a_teacher_needs_no_labels(folder: Path, fitted: Path, tmp_path: Path) -> None:  # noqa: F811
    heap = tmp_path / "heap"
    heap.mkdir()
    for path in folder.rglob("*.mp4"):
        shutil.copy(path, heap)
    (heap / "broken.mp4").write_text("not a video")
    without = train(heap, fitted, tmp_path / "a.yaml", "--compressor", "sfc")
    assert without.exit_code == 2
    assert "7 of 7 videos have no class" in without.stderr
    told = train(heap, fitted, tmp_path / "a.yaml", "--compressor", "sfc", "--teacher", "dense2x1")
    assert told.exit_code == 1, told.stderr
    assert "skipped" in told.stderr
    assert "broken.mp4" in told.stderr
    assert "the teacher alone says theirs" in told.stderr
    assert set(labels(folder, tmp_path / "a.yaml").values()) <= {"bright", "dark"}


def test_the_tail_learns_from_what_another_model_sees(folder: Path, fitted: Path, tmp_path: Path) -> None:  # noqa: F811
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    (videos / "dark" / "broken.mp4").write_text("not a video")
    options = ("--compressor", "sfc", "--unfreeze-tail", "--epochs", 1, "--seed", 3)
    told = train(videos, fitted, tmp_path / "hinted.yaml", *options, "--set", f"hints={fitted}")
    assert told.exit_code == 1, told.stderr
    assert told.stderr.count("broken.mp4") == 1
    assert train(folder, fitted, tmp_path / "plain.yaml", *options).exit_code == 0
    hinted, plain = (load_file(tmp_path / f"{name}.backbone.safetensors") for name in ("hinted", "plain"))
    assert hinted.keys() == plain.keys()
    assert any(not torch.equal(tensor, plain[name]) for name, tensor in hinted.items())
    assert set(labels(folder, tmp_path / "hinted.yaml").values()) <= {"bright", "dark"}
    unknown = train(folder, fitted, tmp_path / "a.yaml", *options, "--set", "hints=nobody")
    assert unknown.exit_code == 2
    assert unknown.stderr.startswith("vidcomp: error: unknown model 'nobody': ")


def test_a_trained_compressor_can_be_gone_on_with(folder: Path, fitted: Path, tmp_path: Path) -> None:  # noqa: F811
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    assert train(folder, fitted, first, "--compressor", "sfc", "--epochs", 1).exit_code == 0
    refused = train(folder, fitted, second, "--compressor", "sgs", "--from-trained")
    assert refused.exit_code == 2
    assert "has weights of none of these compressors" in refused.stderr
    rest = ("--compressor", "sfc", "--epochs", 1, "--learning-rate", 1e-9)
    assert train(folder, first, second, *rest, "--from-trained").exit_code == 0
    before, after = load_file(first.with_suffix(".safetensors")), load_file(second.with_suffix(".safetensors"))
    torch.testing.assert_close(after["theta_q.weight"], before["theta_q.weight"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (("--compressor", "sgs"), {"my.safetensors"}),
        (("--compressor", "sgs+sfc", "--cut", "res2+res3"), {"my.sgs.safetensors", "my.sfc.safetensors"}),
        (("--compressor", "sfc", "--unfreeze"), {"my.safetensors", "my.backbone.safetensors"}),
        (("--compressor", "sgs", "--unfreeze-tail"), {"my.safetensors", "my.backbone.safetensors"}),
        (("--compressor", "sfc", "--teacher", "uniform2"), {"my.safetensors"}),
        (("--standalone", "--teacher", "whole", "--compressor", "sfc"), {"my.safetensors", "my.backbone.safetensors"}),
    ],
)
def test_other_compressors_and_the_whole_network(
    folder: Path,  # noqa: F811
    fitted: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    files: set[str],
) -> None:
    told = train(folder, fitted, tmp_path / "my.yaml", *options, "--epochs", 1)
    assert told.exit_code == 0, told.stderr
    assert {path.name for path in tmp_path.glob("*.safetensors")} == files
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "my.yaml", tmp_path / "moved")
    for file in files:
        shutil.move(tmp_path / file, tmp_path / "moved")
    assert len(labels(folder, tmp_path / "moved" / "my.yaml")) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--compressor", "mean"), "choose sfc or sgs"),
        (("--compressor", "sgs+sfc"), "says no place for sgs"),
        (("--compressor", "sfc", "--cut", "res9"), "unknown cut 'res9'"),
        (("--set", "epoch=3"), "epoch: unknown key"),
        (("--set", "epoch"), "write KEY=VALUE"),
        (("--set", "taus=[2"), "--set taus=[2: the value is not valid YAML"),
        (("--set", "taus={{a: 2, a: 3}}"), "not valid YAML: the key a stands twice"),
        (("--learning-rate", "-1"), "learning_rate: Input should be greater than 0"),
        (("--precision", "fp16"), "--precision fp16: CPUs compute in it too slowly"),
        (("--precision", "float32"), "float32: it is called fp32 now"),
        (("--output", "{tmp}/my.txt"), "must end in .yaml"),
        (("--output", "{tmp}/no/my.yaml"), "there is no folder"),
        (("--val", "{tmp}/none"), "no such file or folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path,  # noqa: F811
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    told = train(folder, tiny, tmp_path / "my.yaml", *(option.format(tmp=tmp_path) for option in options))
    assert told.exit_code == 2, told.stderr
    assert message in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_name_of_new_parameters_that_names_none_is_one_line(folder: Path, tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    output = tmp_path / "my.yaml"
    told = run(
        "train", "backbone", folder, "--model", tiny, "--output", output, "--device", "cpu", "--set", "new=[none]"
    )
    assert told.exit_code == 2
    assert told.stderr.endswith("recipe: new: no parameter of tiny has 'none' in its name\n")
    assert told.stderr.count("\n") == 1


def test_a_class_without_readable_videos_ends_it_before_the_first_step(
    folder: Path,  # noqa: F811
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    shutil.copytree(folder, tmp_path / "videos")
    for path in (tmp_path / "videos" / "dark").iterdir():
        path.write_text("not a video")
    told = train(tmp_path / "videos", tiny, tmp_path / "my.yaml")
    assert told.exit_code == 2
    assert told.stderr.count("skipped") == 3
    assert "no readable video of dark" in told.stderr
    assert not list(tmp_path.glob("my*"))


def test_nothing_that_is_there_is_overwritten_unasked(folder: Path, fitted: Path) -> None:  # noqa: F811
    before = fitted.read_bytes()
    told = run("train", "backbone", folder, "--model", "ucf16-lite0", "--output", fitted)
    assert told.exit_code == 2
    assert "it exists already; choose another name, or replace it (--overwrite)" in told.stderr
    assert fitted.read_bytes() == before


def test_tensorboard_where_it_is_installed(folder: Path, fitted: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("tensorboard")
    told = train(
        folder, fitted, tmp_path / "my.yaml", "--epochs", 1, "--compressor", "sgs", "--tensorboard", tmp_path / "tb"
    )
    assert told.exit_code == 0, told.stderr
    assert list((tmp_path / "tb").glob("events*"))


def test_help_shows_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["vidcomp"])
    told = run("train", "--help")
    assert told.exit_code == 0
    for word in ("backbone", "compressor", "--compressor", "--teacher", "--resume"):
        assert word in told.stdout
