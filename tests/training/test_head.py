"""A last layer of one's own: fitted, kept, classified with, and refused where the videos make no sense."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import vidcomp
from tests import clips
from vidcomp.cli import app
from vidcomp.inference.classifier import Classifier
from vidcomp.nn.video_model import noting_features
from vidcomp.training import DataError, RequestError
from vidcomp.training.config import Paths
from vidcomp.training.head import HeadJob, HeadResult, _export, train_head
from vidcomp.training.linear import Linear
from vidcomp.training.videos import TrainingVideo, find_training_videos, groups_of
from vidcomp.zoo import ManifestError
from vidcomp.zoo.build import load_variant
from vidcomp.zoo.manifest import find_manifest, read_manifest

FIRST = {"dark": 0, "bright": 4065}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Dark clips and bright ones, two of each of two recordings; no two files are the same."""
    root = tmp_path / "videos"
    for name, first in FIRST.items():
        (root / name).mkdir(parents=True)
        for group in (1, 2):
            for number in (1, 2):
                file = root / name / f"{name}_g{group:02}_c{number}.mp4"
                clips.make_clip(file, 6 + 2 * group + number, size=(40, 32), first=first)
    return root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def teach(videos: Path, model: Path, *more: object) -> Result:
    return run(
        "train", "head", videos, "--model", model, "--output", videos.parent / "mine.yaml", "--device", "cpu", *more
    )


def test_a_model_learns_two_classes_and_classify_takes_it(videos: Path, tiny: Path) -> None:
    result = teach(videos, tiny)
    assert result.exit_code == 0, result.output
    assert "8 of 2 classes, 2 recordings" in result.output
    assert "accuracy  100.0%" in result.output
    assert result.output.endswith(f"try: vidcomp classify VIDEO --model {videos.parent / 'mine.yaml'}\n")
    manifest = read_manifest(videos.parent / "mine.yaml")
    assert (manifest.base, manifest.labels) == (str(tiny), ("bright", "dark"))
    assert (videos.parent / "mine.safetensors").stat().st_size < 20_000
    with vidcomp.load(videos.parent / "mine.yaml", device="cpu") as classifier:
        files = sorted(videos.rglob("*.mp4"))
        for file, prediction in zip(files, classifier.classify_all(files), strict=True):
            assert prediction.top is not None
            assert prediction.top.label == file.parent.name
    # Of another network's features the layer would make something, and nobody would know.
    other, mine = videos.parent / "other.yaml", videos.parent / "mine.yaml"
    weights = f"{{file: tiny.safetensors, sha256: {'0' * 64!r}}}"
    other.write_text(tiny.read_text().replace("{file: tiny.safetensors}", weights))
    mine.write_text(mine.read_text().replace(str(tiny), str(other)))
    with pytest.raises(ManifestError, match=r"mine\.yaml: backbone: .*fitted to another network than its base is now"):
        read_manifest(mine)


def test_what_a_video_gave_is_computed_once(videos: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert teach(videos, tiny).exit_code == 0
    first = (videos.parent / "mine.safetensors").read_bytes()
    asked: list[str] = []
    whole = Classifier.classify_all

    def counting(self: Classifier, paths: object) -> object:
        names = list(paths)  # type: ignore[call-overload]
        asked.extend(names)
        return whole(self, names)

    monkeypatch.setattr(Classifier, "classify_all", counting)
    assert teach(videos, tiny).exit_code == 2, "it exists"
    assert teach(videos, tiny, "--overwrite").exit_code == 0
    assert not asked
    assert (videos.parent / "mine.safetensors").read_bytes() == first
    clips.make_clip(videos / "dark" / "dark_g03_c1.mp4", 15, size=(40, 32))
    assert teach(videos, tiny, "--overwrite").exit_code == 0
    assert [Path(path).name for path in asked] == ["dark_g03_c1.mp4"]


def test_two_streams_share_the_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    linear = Linear(torch.randn(3, 2560), torch.randn(3))
    none = np.empty(0, np.int64)
    result = HeadResult(find_manifest("ucf16-lite0"), ("a", "b", "c"), none, none, (), None, ())
    manifest = _export(Paths(source=tmp_path, output=tmp_path / "mine.yaml"), result, linear)
    assert manifest.base == "ucf16-lite0"
    network = load_variant(manifest).network
    with torch.inference_mode():
        output = noting_features(network, lambda: network(torch.randn(1, 3, 16, 64, 64)))
    assert output.features is not None
    expected = output.features.mean(dim=1) @ linear.weight.T + linear.bias
    torch.testing.assert_close(output.logits, expected, atol=1e-3, rtol=1e-4)


def test_a_clip_of_each_class_is_enough(tmp_path: Path, videos: Path, tiny: Path) -> None:
    few = tmp_path / "few"
    for name in FIRST:
        (few / name).mkdir(parents=True)
        shutil.copy(videos / name / f"{name}_g01_c1.mp4", few / name / "one.mp4")
    result = teach(few, tiny)
    assert result.exit_code == 0, result.output
    assert "accuracy: not known" in result.output
    assert "dark: only 1 video; give 5 or more" in result.output
    with vidcomp.load(tmp_path / "mine.yaml", device="cpu") as classifier:
        tops = [classifier(videos / name / f"{name}_g02_c2.mp4").top for name in FIRST]
    assert [top.label for top in tops if top is not None] == list(FIRST)


def test_what_is_learned_from_may_be_passed_otherwise_than_what_is_classified(videos: Path, tiny: Path) -> None:
    job, paths = HeadJob(str(tiny), strategy="uniform1x4"), Paths(source=videos, output=videos.parent / "mine.yaml")
    result = train_head(job, paths)
    np.testing.assert_array_equal(result.predicted, result.truth)
    with pytest.raises(RequestError, match="unknown strategy"):
        train_head(
            HeadJob(str(tiny), strategy="upside-down"), Paths(source=videos, output=videos.parent / "other.yaml")
        )


def test_the_background_is_a_class_of_its_own(videos: Path, tiny: Path) -> None:
    aside = videos.parent / "aside"
    shutil.move(videos / "dark", aside)
    result = teach(videos, tiny, "--background", aside)
    assert result.exit_code == 0, result.output
    assert read_manifest(videos.parent / "mine.yaml").labels == ("bright", "none of these")


def test_unreadable_videos_are_skipped(videos: Path, tiny: Path) -> None:
    (videos / "dark" / "broken.mp4").write_bytes(b"no video")
    result = teach(videos, tiny)
    assert result.exit_code == 1
    assert "skipped" in result.output
    assert "broken.mp4" in result.output
    assert (videos.parent / "mine.yaml").exists()


def _one_class(root: Path) -> None:
    shutil.rmtree(root / "dark")


def _empty_class(root: Path) -> None:
    (root / "empty").mkdir()


def _same_file(root: Path) -> None:
    shutil.copy(root / "dark" / "dark_g01_c1.mp4", root / "bright" / "again.mp4")


def _link(root: Path) -> None:
    (root / "bright" / "link.mp4").symlink_to(root / "dark" / "dark_g01_c1.mp4")


def _unicode(root: Path) -> None:
    for form in ("NFC", "NFD"):
        shutil.copytree(root / "dark", root / unicodedata.normalize(form, "café"))
    shutil.rmtree(root / "dark")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_one_class, r"only one class, bright; add another, or videos that do not show it \(--background FOLDER\)"),
        (_empty_class, "no readable video of empty"),
        (_same_file, "the same file as .* in another class; leave the right one"),
        (_link, "the same file as .* in another class; leave the right one"),
        (_unicode, "two classes are called café: they differ in Unicode form only"),
    ],
)
def test_videos_that_make_no_sense_are_one_clear_line(
    videos: Path, tiny: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(videos)
    with pytest.raises(DataError, match=said.replace("--background ", "background=")) as caught:
        train_head(HeadJob(str(tiny)), Paths(source=videos, output=videos.parent / "mine.yaml", device="cpu"))
    assert "\n" not in str(caught.value)
    result = teach(videos, tiny)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert re.search(said, line)
    assert not (videos.parent / "mine.yaml").exists()


def test_equal_files_of_one_class_count_once(videos: Path, tiny: Path) -> None:
    shutil.copy(videos / "dark" / "dark_g01_c1.mp4", videos / "dark" / "dark_g02_c9.mp4")
    job, paths = HeadJob(str(tiny)), Paths(source=videos, output=videos.parent / "mine.yaml", device="cpu")
    result = train_head(job, paths)
    assert len(result.truth) == 8
    np.testing.assert_array_equal(result.predicted, result.truth)


def test_videos_of_one_recording_cannot_be_tested(videos: Path, tiny: Path) -> None:
    result = teach(videos, tiny, "--group-by", r"\.mp4")
    assert result.exit_code == 0, result.output
    assert "accuracy: not known" in result.output
    assert "all 8 videos are of one recording, '.mp4', so nothing can be tested" in result.output


def test_a_column_says_what_was_recorded_together(videos: Path, tiny: Path) -> None:
    rows = [f"{file},{file.parent.name},{file.stem[-1]}" for file in sorted(videos.rglob("*.mp4"))]
    table = videos.parent / "list.csv"
    table.write_text("\n".join(["path,label,Take", *rows]))
    job, paths = HeadJob(str(tiny), "take"), Paths(source=table, output=videos.parent / "mine.yaml", device="cpu")
    assert set(train_head(job, paths).groups) == {"1", "2"}
    table.write_text(f"path,label\n{rows[0].rpartition(',')[0]}\n{rows[0].split(',')[0]},other\n")
    with pytest.raises(Exception, match="is of bright and of other; leave the right one"):
        find_training_videos(table)


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        (None, ["08", "08", "y/a_day2.mp4"]),
        ("day(.)", ["1", "2", "2"]),
        ("^.", ["x", "x", "y"]),
    ],
)
def test_groups_are_found_in_names(group_by: str | None, groups: list[str]) -> None:
    names = ["x/v_a_g08_c01_day1.avi", "x/v_b_g08_c02_day2.avi", "y/a_day2.mp4"]
    assert groups_of([TrainingVideo(name, 0) for name in names], group_by)[0] == groups


@pytest.mark.parametrize(
    ("group_by", "said"), [("(", "not a regular expression"), ("day", "neither a column"), ("x*", "neither")]
)
def test_a_pattern_that_finds_nothing_is_told(group_by: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        groups_of([TrainingVideo("y/a.mp4", 0)], group_by)


def test_a_column_may_have_any_name() -> None:
    assert groups_of([TrainingVideo("y/a.mp4", 0, "1"), TrainingVideo("y/b.mp4", 0, "2")], "take (") == (["1", "2"], [])


def test_the_strategy_of_another_network_is_refused(videos: Path) -> None:
    result = teach(videos, "ucf16-lite0", "--strategy", "bitstream")
    assert result.exit_code == 2
    assert "--strategy bitstream: it passes another network; give ucf16-bitstream as the model" in result.output
