"""`vidcomp embed` and `vidcomp search`: a table that survives, and the most similar videos in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

import vidcomp
from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.cli import app
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.output.features import document_of, read_table
from vidcomp.output.run import OutputError

NAMES = ("dark", "gray", "bright")
WINDOWS = ("--every", "400ms")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three clips, and a file that is none; and tables of them."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "videos").mkdir()
    for number, name in enumerate(NAMES):
        clips.make_clip(folder / "videos" / f"{name}.mp4", 20 + 5 * number, size=(40, 32), first=1500 * number)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    make_tiny_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDCOMP_CACHE", str(folder / "cache"))
        for output, more in (("f.npz", ()), ("f.parquet", ()), ("w.npz", WINDOWS), ("w.parquet", WINDOWS)):
            assert embed(folder, folder / output, *more).exit_code == 1, "one file is no video"
        yield folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def embed(root: Path, output: Path, *more: object) -> Result:
    return run("embed", root / "videos", "--model", root / "tiny.yaml", "--output", output, "--device", "cpu", *more)


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_a_row_per_video_holds_its_features(root: Path, form: str) -> None:
    output = root / f"f.{form}"
    rows = {row.path: row for row in document_of(output).rows(output)}
    assert set(rows) == {"broken.mp4", *(f"{name}.mp4" for name in NAMES)}
    assert rows["broken.mp4"].vector is None
    assert "broken.mp4" in (rows["broken.mp4"].error or "")
    with vidcomp.load(root / "tiny.yaml", device="cpu") as classifier:
        video = root / "videos" / "gray.mp4"
        prediction, row = classifier(video), rows["gray.mp4"]
        assert prediction.top is not None
        np.testing.assert_array_equal(row.vector, classifier.features(video))
    assert (row.label, row.probability) == (prediction.top.label, prediction.top.probability)
    assert (row.start_s, row.end_s, row.error) == (None, None, None)


@pytest.mark.parametrize("name", ["f.npz", "f.parquet", "w.npz", "w.parquet"])
def test_what_is_in_the_table_is_not_done_again(
    root: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    shutil.copy(root / name, output)
    asked: list[str] = []

    def batches(self: Classifier, paths: Iterable[str], **_: object) -> Iterator[list[Prediction]]:
        asked.extend(paths)
        yield from ()

    monkeypatch.setattr(Classifier, "batches", batches)
    result = embed(root, output, *(WINDOWS if name.startswith("w") else ()))
    assert result.exit_code == 1
    assert not asked
    assert [path.name for path in tmp_path.iterdir()] == [name]
    for old, new in zip(document_of(output).rows(root / name), document_of(output).rows(output), strict=True):
        assert new._replace(vector=None) == old._replace(vector=None)
        assert (new.vector is None) == (old.vector is None)
        if old.vector is not None and new.vector is not None:
            np.testing.assert_array_equal(new.vector, old.vector)


def test_parquet_and_npz_are_read_by_what_people_have(root: Path) -> None:
    import pandas

    frame = pandas.read_parquet(root / "f.parquet")
    with np.load(root / "f.npz") as arrays:
        vectors, names = arrays["features"], arrays["path"]
    assert (vectors.shape, vectors.dtype) == ((4, 1280), np.float32)
    assert list(frame["path"]) == list(names)
    for number, vector in enumerate(frame["features"]):
        if vector is None:
            assert np.isnan(vectors[number]).all()
        else:
            np.testing.assert_array_equal(np.float32(vector), vectors[number])


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_windows_are_rows_with_their_times(root: Path, form: str) -> None:
    output = root / f"w.{form}"
    rows = [row for row in document_of(output).rows(output) if row.path == "bright.mp4"]
    assert [(row.start_s, row.end_s) for row in rows] == [(0.0, 0.4), (0.4, 0.8), (0.8, 1.2)]
    assert len({row.vector.tobytes() for row in rows if row.vector is not None}) == 3


def test_the_most_similar_come_first_and_never_the_example_itself(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, model = root / "f.npz", root / "tiny.yaml"
    copy = tmp_path / "copy.mp4"
    shutil.copy(root / "videos" / "gray.mp4", copy)
    told = run("search", copy, "--in", output, "--model", model, "--device", "cpu", "--format", "json", "--top", 2)
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert (found[0]["path"], found[0]["similarity"], len(found)) == ("gray.mp4", 1.0, 2)
    assert found[0]["file"] == str(root / "videos" / "gray.mp4")
    table = read_table(output)
    vectors = {row.path: row.vector for row in table.rows}
    a, b = vectors["gray.mp4"], vectors[found[1]["path"]]
    assert a is not None
    assert b is not None
    assert found[1]["similarity"] == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-4)
    # Of a video that is in the table nothing need be computed, nor does it find itself.
    monkeypatch.setattr(Classifier, "__init__", lambda *_, **__: pytest.fail("the network was loaded"))
    page = tmp_path / "page.html"
    own = run("search", root / "videos" / "gray.mp4", "--in", output, "--html", page)
    assert own.exit_code == 0, own.output
    assert "gray.mp4" not in own.output
    assert "bright.mp4" in own.output
    assert page.read_text().count("data:image/jpeg;base64,") == 3


def test_a_moment_of_a_long_video_is_found(root: Path, tmp_path: Path) -> None:
    output, model = root / "w.parquet", root / "tiny.yaml"
    copy = tmp_path / "copy.mp4"
    shutil.copy(root / "videos" / "gray.mp4", copy)
    result = run("search", copy, "--in", output, "--model", model, "--device", "cpu", "--html", tmp_path / "p.html")
    assert result.exit_code == 0, result.output
    assert "moment" in result.output
    assert "0:00.4–0:00.8" in result.output
    assert (tmp_path / "p.html").read_text().count("data:image/jpeg;base64,") == 1 + 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embed", "x", "--output", "f.csv"), "ends in .parquet or .npz"),
        (("embed", "x"), "--output FILE: say where the table goes"),
        (("search", "x.mp4", "--in", "gone.npz"), "there is no such table of features"),
        (("search", "x.mp4", "--in", "list.npz"), "not a table of features that vidcomp wrote"),
        (("search", "x.mp4", "--in", "list.parquet"), "not a table of features that vidcomp wrote"),
        (("search", "x.mp4", "--in", "good.npz"), "the table was made by tiny: give its manifest as --model"),
        (("search", "x.mp4", "--in", "good.npz", "--model", "tiny.yaml"), "made by another version of tiny"),
        (("search", "x.mp4", "--in", "good.npz", "--model", "ucf16-lite0"), "made by tiny, not by ucf16-lite0; name"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("list.npz", "list.parquet"):
        Path(name).write_bytes(b"path,label\n")
    shutil.copy(root / "f.npz", "good.npz")
    make_tiny_model(tmp_path, seed=1)
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def _changed(root: Path, **columns: object) -> dict[str, NDArray[Any]]:
    with np.load(root / "f.npz") as held:
        return {**held, **{name: np.asarray(values) for name, values in columns.items()}}


@pytest.mark.parametrize(
    "columns",
    [
        {"path": ["only one"]},
        {"path": [0, 1, 2, 3]},
        {"features": ["a", "b", "c", "d"]},
        {"features": [1.0, 2.0, 3.0, 4.0]},
        {"features": [[np.inf]] * 4},
        {"records": np.zeros(0, np.uint8)},
        *({"records": np.frombuffer(record * 4, np.uint8)} for record in (b"no JSON\n", b"[1]\n", b"{}\n", b"\xff\n")),
    ],
)
def test_a_table_that_somebody_else_made_is_told(root: Path, tmp_path: Path, columns: dict[str, object]) -> None:
    output = tmp_path / "f.npz"
    np.savez(output, allow_pickle=False, **_changed(root, **columns))
    for result in (run("search", root / "videos" / "gray.mp4", "--in", output), embed(root, output)):
        assert result.exit_code == 2, result.output
        assert "not a table of features that vidcomp wrote" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_a_damaged_table_is_told(root: Path, tmp_path: Path, form: str) -> None:
    whole = (root / f"f.{form}").read_bytes()
    output = tmp_path / f"f.{form}"
    for seed in range(20):
        noise = np.random.default_rng(seed)
        damaged = bytearray(whole)
        for place in noise.integers(0, len(whole), 20):
            damaged[place] ^= 255
        output.write_bytes(damaged if seed else b"")
        result = run("search", root / "videos" / "gray.mp4", "--in", output)
        assert result.exit_code in (0, 2), result.output
        if result.exit_code:
            assert "vidcomp wrote" in result.stderr.splitlines()[-1]


def test_the_table_of_another_model_is_not_gone_on_with(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "f.npz"
    shutil.copy(root / "f.npz", output)
    result = run("embed", root / "videos", "--model", "ucf16-lite0", "--output", output, "--device", "cpu")
    assert result.exit_code == 2
    assert "labels in it were made with model tiny, not ucf16-lite0" in result.stderr


def test_similarity_to_nothing_is_nothing(root: Path) -> None:
    assert read_table(root / "f.npz").similarities(np.zeros(1280, np.float32)).tolist() == [0.0] * 3


def test_a_table_without_any_vector_is_told(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "none.npz"
    run("embed", root / "videos" / "broken.mp4", "--model", root / "tiny.yaml", "--output", output)
    with pytest.raises(OutputError, match="none of its rows has features"):
        read_table(output)
