"""`vidcomp classify` as a user runs it, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests import clips, saboteur
from vidcomp.cli import app


def classify(*arguments: str | Path, model: str | Path = "ucf16-lite0", stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["classify", "--model", str(model), *map(str, arguments)], input=stdin)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos and a broken one, in sub-folders."""
    root = tmp_path_factory.mktemp("videos")
    for place in ("a", "b"):
        (root / place).mkdir()
        clips.make_clip(root / place / "x.mp4", 30)
    (root / "b" / "broken.mp4").write_text("not a video")
    return root


def test_json_of_a_folder_with_a_broken_file(folder: Path, model: Path) -> None:
    run = classify(folder, "--format", "json", "--top-k", "2", model=model)
    assert run.exit_code == 1
    records = json.loads(run.stdout)
    assert [Path(record["path"]).relative_to(folder).as_posix() for record in records] == [
        "a/x.mp4",
        "b/broken.mp4",
        "b/x.mp4",
    ]
    assert [record["status"] for record in records] == ["ok", "error", "ok"]
    assert [len(record["labels"]) for record in records] == [2, 0, 2]
    assert records[1]["error"]["kind"] == "not_video"
    assert "broken.mp4" in run.stderr
    assert "Traceback" not in run.stderr
    assert records[0]["labels"] == records[2]["labels"]


def test_the_program_keeps_results_and_remarks_apart(folder: Path, model: Path, tmp_path: Path) -> None:
    (results := tmp_path / "results").touch()
    command = ("classify", "--model", model, folder, "--format", "json")
    assert saboteur.run(command, "", tmp_path / "remarks", streams={"stdout": str(results)}) == 1
    assert len(json.loads(results.read_text())) == 3
    remarks = (tmp_path / "remarks").read_text()
    assert "broken.mp4" in remarks
    assert "Traceback" not in remarks


def test_the_table_of_one_video(folder: Path) -> None:
    run = classify(folder / "a" / "x.mp4", "--top-k", "3")
    assert run.exit_code == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].endswith("a/x.mp4")
    assert "30 frames" in lines[1]
    assert len(lines) == 6
    assert all("%" in line for line in lines[2:5])
    assert lines[5].startswith("attention ")


def test_output_goes_to_a_file_in_the_format_of_its_extension(folder: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.csv"
    run = classify(folder / "a", "--output", output, model=model)
    assert run.exit_code == 0, run.stderr
    assert run.stdout == ""
    assert output.read_text().splitlines()[0].startswith("path,status,label,probability")


def test_a_list_on_standard_input_and_a_glob(folder: Path, model: Path) -> None:
    listed = classify("-", "--format", "jsonl", "--quiet", model=model, stdin=f"{folder}/a/x.mp4\n".encode())
    assert listed.exit_code == 0, listed.stderr
    assert listed.stderr == ""
    matched = classify(f"{folder}/*/x.mp4", "--format", "jsonl", "--quiet", model=model)
    assert len(matched.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4"),
        (["*.nothing"], "*.nothing"),
        (["--model", "nothing", "{clip}"], "unknown model"),
        (["--tau", "0", "{clip}"], "--tau 0: the compression ratio of SFC must be"),
        (["--output", "labels.xyz", "{clip}"], "names no format"),
        (
            ["--only", "Swing", "--only", "pushup", "{clip}"],
            "no label 'pushup'; similar are 'PushUps', ",
        ),
        (["--only", "Swing", "{clip}"], "give two or more"),
        (["--only-file", "nowhere.txt", "{clip}"], "--only-file nowhere.txt: cannot be read"),
        (["--output", "/nowhere/labels.json", "{clip}"], "cannot be written"),
        (["--model", "r3d_18-sfc", "{clip}"], "weights"),
        (["--clips", "10000", "{clip}"], "--clips and --clip-frames: at most 9999"),
        ([""], "'': no such file or folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(folder: Path, arguments: list[str], message: str) -> None:
    run = classify(*(argument.format(clip=folder / "a" / "x.mp4") for argument in arguments))
    assert run.exit_code == 2, run.stderr
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_labels_to_choose_among_come_from_options_and_a_file(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "labels.txt"
    listed.write_text("# of the beach\r\nswing\r\n\r\nSurfing\r\n", encoding="utf-16")
    every = classify(folder / "a" / "x.mp4", "--format", "json", "--top-k", "16")
    run = classify(folder / "a" / "x.mp4", "--format", "json", "--only", "Diving", "--only-file", listed)
    assert run.exit_code == 0, run.stderr
    (before,), (record,) = json.loads(every.stdout), json.loads(run.stdout)
    all_of_them = {label["label"]: label["probability"] for label in before["labels"]}
    chosen = {label["label"]: label["probability"] for label in record["labels"]}
    assert set(chosen) == {"Diving", "Surfing", "Swing"}
    total = sum(all_of_them[label] for label in chosen)
    assert chosen == pytest.approx({label: all_of_them[label] / total for label in chosen})
    assert list(chosen.values()) == sorted(chosen.values(), reverse=True)
    assert all(
        label in [{**other, "probability": label["probability"]} for other in before["labels"]]
        for label in record["labels"]
    )
    assert record["uncertain"] == (record["labels"][0]["probability"] < 0.5)


def test_a_folder_without_videos_is_wrong_usage(tmp_path: Path) -> None:
    run = classify(tmp_path)
    assert run.exit_code == 2
    assert "no videos in" in run.stderr


@pytest.mark.shared_data
def test_the_shared_validation_clips_of_one_class(shared_data: Path) -> None:
    run = classify(shared_data / "ucf16" / "val" / "PushUps", "--limit", "2", "--format", "json", "--quiet")
    assert run.exit_code == 0, run.stderr
    records = json.loads(run.stdout)
    assert len(records) == 2
    right = sum(record["labels"][0]["label"] == "PushUps" for record in records)
    assert right / len(records) >= 0.5


def test_max_damage_is_a_percentage_of_the_frames(model: Path, clip: Path, tmp_path: Path) -> None:
    damaged = clips.damage(clip, tmp_path / "damaged.mp4", 0.5, 0.6)
    kinds = []
    for limit in ("100", "1", "0.5"):
        run = classify(damaged, "--format", "json", "--max-damage", limit, model=model)
        error = json.loads(run.stdout)[0]["error"]
        kinds.append(error and error["kind"])
        assert "Traceback" not in run.stderr
    assert kinds == [None, "damaged", "damaged"]
    assert f"{damaged}: " in run.stderr
    assert classify(damaged, "--max-damage", "101").exit_code == 2
