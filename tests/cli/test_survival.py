"""Whatever befalls one video of ten, the other nine get their records, in every command that reads videos."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from tests import clips, saboteur
from tests.tiny_model import make_tiny_model
from vidcomp.cli import app
from vidcomp.inference import runner
from vidcomp.training import dataset
from vidcomp.video.worker import process, worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

CLASSES = ("jump", "run", "swim")
FAULTS = {"hang": "timeout", "crash": "crashed", "memory": "out_of_memory", "nan": "bad_features", "loop": "missing"}
TIMEOUT = ("--decode-timeout", 2)
FORMATS = ("jsonl", "csv", "json", "parquet")


@pytest.fixture(autouse=True)
def decoders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Decoding processes that meet the fault which the environment names."""
    monkeypatch.setattr(process, "BOOTSTRAP", saboteur.BOOTSTRAP)
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    clips.make_clip(folder / "good.mp4", 16, size=(64, 48))
    clips.make_clip(folder / "bad.mp4", 16, size=(64, 48), first=4000)
    return folder


def make_videos(folder: Path, originals: Path, fault: str, *, count: int = 10) -> Path:
    """Videos of three classes, the third of which meets the fault."""
    for number in range(1, count + 1):
        victim = number == 3
        name = f"{number:02}-victim.mp4" if victim else f"{number:02}.mp4"
        path = folder / CLASSES[number % 3] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if victim and fault == "loop":
            path.symlink_to(path)
        else:
            path.write_bytes((originals / ("bad.mp4" if victim else "good.mp4")).read_bytes())
    return folder


# Of what befalls a decoder and what befalls the network, one each shows whether a command goes on.
SHOWN = ("crash", "nan")


@pytest.fixture(params=[*SHOWN, *(pytest.param(name, marks=pytest.mark.slow) for name in FAULTS if name not in SHOWN)])
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fault, armed."""
    name: str = request.param
    monkeypatch.setenv(saboteur.VARIABLE, name)
    if name == "nan":
        given = runner.to_input

        def to_input(frames: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            values = given(frames, *args, **kwargs)
            return torch.full_like(values, torch.nan) if clips.read(frames[0].numpy()) >= 4000 else values

        monkeypatch.setattr(runner, "to_input", to_input)
        monkeypatch.setattr(dataset, "to_input", to_input)
    return name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with attention to show."""
    return make_tiny_model(tmp_path_factory.mktemp("model"), kind="sfc", stride=2)


def vidcomp(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def outcomes(path: Path) -> dict[str, str | None]:
    """The kind of error, or None, by file name, of what a run wrote; a name that stands twice is a failure."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        records = pyarrow.parquet.read_table(path).to_pylist()
        pairs = [(record["path"], (record["error"] or {}).get("kind")) for record in records]
    elif path.suffix == ".csv":
        with path.open(newline="") as stream:
            pairs = [(row["path"], row["error_kind"] or None) for row in csv.DictReader(stream)]
    else:
        text = path.read_text()
        records = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
        pairs = [(record["path"], (record["error"] or {}).get("kind")) for record in records]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {Path(name).name: kind for name, kind in pairs}


def expected(fault: str, *, count: int = 10) -> dict[str, str | None]:
    """Good records and the one of the video that met the fault."""
    good = {f"{number:02}.mp4": None for number in range(1, count + 1) if number != 3}
    return {**good, "03-victim.mp4": FAULTS[fault]}


@pytest.mark.parametrize("fault", FAULTS, indirect=True)
@pytest.mark.parametrize("form", ["jsonl", *(pytest.param(form, marks=pytest.mark.slow) for form in FORMATS[1:])])
def test_a_folder_is_labeled_whatever_befalls_one_video(
    form: str, fault: str, originals: Path, model: Path, tmp_path: Path
) -> None:
    videos, output = make_videos(tmp_path / "videos", originals, fault), tmp_path / f"labels.{form}"
    command = ("classify", videos, "--model", model, "--output", output, *TIMEOUT)
    told = vidcomp(*command)
    assert told.exit_code == 1, told.output
    assert "Traceback" not in told.output
    assert outcomes(output) == expected(fault)
    again = vidcomp(*command)
    assert again.exit_code == 1, again.output
    assert outcomes(output) == expected(fault)


def test_what_is_made_beside_the_labels_is_made_of_the_others(
    fault: str, originals: Path, model: Path, tmp_path: Path
) -> None:
    videos, output = make_videos(tmp_path / "videos", originals, fault, count=4), tmp_path / "labels.jsonl"
    pictures, report, sorted_into = tmp_path / "pictures", tmp_path / "report.html", tmp_path / "sorted"
    told = vidcomp(
        *("classify", videos, "--model", model, "--output", output, *TIMEOUT),
        *("--explain", pictures, "--report", report, "--move-to", sorted_into),
    )
    assert told.exit_code == 1, told.output
    assert "Traceback" not in told.output
    assert outcomes(output) == expected(fault, count=4)
    assert len(list(pictures.rglob("*.png"))) == 3
    assert "03-victim.mp4" in report.read_text()
    assert sorted(path.name for path in sorted_into.rglob("*.mp4")) == sorted(
        expected(fault, count=4).keys() - {"03-victim.mp4"}
    )
    assert os.path.lexists(videos / CLASSES[0] / "03-victim.mp4")


def test_the_others_get_their_subtitles(fault: str, originals: Path, model: Path, tmp_path: Path) -> None:
    videos, output = make_videos(tmp_path / "videos", originals, fault, count=4), tmp_path / "subtitles"
    output.mkdir()
    told = vidcomp(
        "classify", videos, "--model", model, "--every", "1s", "--format", "srt", "--output", output, *TIMEOUT
    )
    assert told.exit_code == 1, told.output
    assert "Traceback" not in told.output
    assert len(list(output.rglob("*.srt"))) == 3


@pytest.mark.usefixtures("quick_timeout")
def test_accuracy_is_that_of_the_others(fault: str, originals: Path, model: Path, tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", originals, fault, count=5)
    told = vidcomp("evaluate", videos, "--model", model, "--format", "json")
    assert told.exit_code == 1, told.output
    result = json.loads(told.stdout)
    assert (result["videos"], result["failed"]) == (4, 1)
    assert "03-victim.mp4" in told.stderr


@pytest.mark.usefixtures("quick_timeout")
def test_strategies_are_compared_on_the_others(fault: str, originals: Path, model: Path, tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", originals, fault, count=5)
    told = vidcomp("compare", videos, "--model", model, "--dense", 3, "--whole", "--rounds", 1, "--format", "json")
    assert told.exit_code == 1, told.output
    assert "03-victim.mp4" in told.stderr
    answers = {Path(video["path"]).name: video["answers"]["whole"] for video in json.loads(told.stdout)["videos"]}
    assert {name for name, answer in answers.items() if answer["label"] is None} <= {"03-victim.mp4"}
    assert answers.keys() >= expected(fault, count=5).keys() - {"03-victim.mp4"}


@pytest.mark.usefixtures("quick_timeout")
@pytest.mark.parametrize("teacher", ["none", "whole"])
def test_a_compressor_is_fitted_to_the_others(
    teacher: str, fault: str, originals: Path, model: Path, tmp_path: Path
) -> None:
    videos, output = make_videos(tmp_path / "videos", originals, fault, count=6), tmp_path / "mine.yaml"
    told = vidcomp(
        *("train", videos, "--model", model, "--output", output, "--teacher", teacher),
        *("--epochs", 1, "--batch", 3, "--views-cached", 1, "--device", "cpu"),
    )
    assert told.exit_code == 1, told.output
    assert "Traceback" not in told.output
    assert "03-victim.mp4" in told.stderr
    assert output.exists()


@pytest.fixture
def quick_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no option sets the time that decoding may take."""
    monkeypatch.setattr(worker, "default_timeout", lambda *_: 2.0)


@pytest.mark.parametrize("form", ["jsonl", *(pytest.param(form, marks=pytest.mark.slow) for form in FORMATS[1:])])
def test_a_video_that_kills_the_program_ends_as_a_record(
    form: str, originals: Path, model: Path, tmp_path: Path
) -> None:
    videos, output = make_videos(tmp_path / "videos", originals, "kill", count=6), tmp_path / f"labels.{form}"
    command = ("classify", videos, "--model", model, "--output", output)
    assert codes_until_it_ends(command, tmp_path / "told") == KILLED_TWICE
    assert outcomes(output) == expected("crash", count=6)


@pytest.mark.parametrize("beside", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_video_that_kills_the_program_gets_no_subtitles(
    beside: bool, originals: Path, model: Path, tmp_path: Path
) -> None:
    """Nothing else remembers a run that makes subtitles; started again and again, it must end all the same."""
    videos, output = make_videos(tmp_path / "videos", originals, "kill", count=6), tmp_path / "subtitles"
    output.mkdir()
    command = ["classify", videos, "--model", model, "--every", "1s", "--format", "srt"]
    command += [] if beside else ["--output", output]
    told = tmp_path / "told"
    assert codes_until_it_ends(command, told) == KILLED_TWICE
    assert saboteur.run(command, "kill", told) == 1
    folder = videos if beside else output
    assert {path.name for path in folder.rglob("*.srt")} == {
        f"{name}.vidcomp.srt" for name in expected("crash", count=6)
    } - {"03-victim.mp4.vidcomp.srt"}
    assert len(list(folder.rglob(".*.inprogress"))) == 1
    assert saboteur.run([*command, "--no-resume"], "", told) == 0
    assert len(list(folder.rglob("*.srt"))) == 6
    assert not list(folder.rglob(".*.inprogress"))


@pytest.mark.parametrize("name", ["evaluate", "compare", "train"])
def test_a_video_that_kills_the_program_is_left_out_of_what_becomes_of_the_others(
    name: str, originals: Path, model: Path, tmp_path: Path
) -> None:
    count = 6 if name == "train" else 4  # every class that is to be learned has a video that can be
    videos, output = make_videos(tmp_path / "videos", originals, "kill", count=count), tmp_path / "mine.yaml"
    more = {
        "evaluate": ("--format", "json"),
        "compare": ("--dense", 3, "--whole", "--rounds", 1, "--format", "json"),
        "train": ("--output", output, "--epochs", 1, "--batch", 3, "--views-cached", 1, "--device", "cpu"),
    }[name]
    command, told = (name, videos, "--model", model, *more), tmp_path / "told"
    assert codes_until_it_ends(command, told) == KILLED_TWICE
    said = told.read_text()
    (line,) = (line for line in said.splitlines() if line.startswith("vidcomp: ") and "03-victim.mp4: " in line)
    note = Path(re.search(r"delete (.+) to have it tried again", line)[1])
    if name == "evaluate":
        assert '"videos": 3' in said
        assert '"failed": 1' in said
    elif name == "compare":
        answers = json.loads(said[said.index("\n{") :])["videos"]
        assert {Path(video["path"]).name for video in answers if video["answers"]["whole"]["label"]} == (
            expected("crash", count=count).keys() - {"03-victim.mp4"}
        )
    else:
        assert output.exists()
        command += ("--overwrite",)
    note.unlink()
    assert saboteur.run(command, "", told) == 0
    assert not list(tmp_path.rglob(".*.inprogress*"))


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_a_request_to_terminate_is_no_videos_fault(name: str, originals: Path, model: Path, tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", originals, "terminate", count=3)
    more = ("--dense", 3, "--whole", "--rounds", 1) if name == "compare" else ()
    told = tmp_path / "told"
    assert saboteur.run((name, videos, "--model", model, *more), "terminate", told) == 128 + signal.SIGTERM
    assert "interrupted" in told.read_text()
    assert not list(tmp_path.rglob(".*.inprogress*"))


KILLED_TWICE = [-signal.SIGKILL, -signal.SIGKILL, 1]


def codes_until_it_ends(command: Sequence[object], told: Path) -> list[int]:
    """Exit codes of a command that is started again whenever it is killed, at most five times."""
    codes: list[int] = []
    while len(codes) < 5 and (not codes or codes[-1] == -signal.SIGKILL):
        codes.append(saboteur.run(command, "kill", told))
    return codes


def test_a_name_of_255_bytes_is_labeled(originals: Path, model: Path, tmp_path: Path) -> None:
    videos, output = make_videos(tmp_path / "videos", originals, "long", count=4), tmp_path / "labels.jsonl"
    victim = videos / CLASSES[0] / "03-victim.mp4"
    long = victim.rename(victim.with_name("n" * 251 + ".mp4"))
    told = vidcomp("classify", videos, "--model", model, "--output", output, "--move-to", tmp_path / "sorted")
    assert told.exit_code == 0, told.output
    assert outcomes(output)[long.name] is None
    assert len(list((tmp_path / "sorted").rglob("*.mp4"))) == 4
