"""Videos in object stores: fetched into a scratch folder that holds no more than it must."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests import clips
from tests.killed import killed_after
from tests.scale.conftest import Bucket
from tests.tiny_model import make_tiny_model
from vidcomp.inference.classifier import Classifier
from vidcomp.scale.stores import Scratch, address_of, is_store
from vidcomp.video.errors import VideoTooLarge, VideoUnreachable
from vidcomp.zoo.build import load_model


@pytest.fixture(autouse=True)
def scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_video_is_there_until_it_is_dropped(bucket: Bucket, scratch_folder: Path) -> None:
    bucket.pipe_file("/archive/a.mp4", b"a video")
    scratch = Scratch(web=False)
    local = Path(scratch.local("s3://archive/a.mp4"))
    assert (local.read_bytes(), local.suffix) == (b"a video", ".mp4")
    assert local.is_relative_to(scratch_folder)
    scratch.drop("s3://archive/a.mp4")
    assert files(scratch_folder) == []
    scratch.close()
    assert not list(scratch_folder.iterdir())


def test_what_cannot_be_fetched_leaves_nothing(
    bucket: Bucket, scratch_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe_file("/archive/a.mp4", bytes(100))
    scratch = Scratch(web=False, max_bytes=50)
    with pytest.raises(VideoTooLarge, match="longer"):
        scratch.local("s3://archive/a.mp4")
    with pytest.raises(VideoUnreachable, match="could not be fetched"):
        scratch.local("s3://archive/b.mp4")

    def full(self: Bucket, path: str, mode: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Bucket, "open", full)
    with pytest.raises(VideoUnreachable, match="scratch is full"):
        scratch.local("s3://archive/a.mp4")
    assert files(scratch_folder) == []


def test_what_a_killed_actor_left_goes_and_what_a_living_one_has_stays(bucket: Bucket, scratch_folder: Path) -> None:
    bucket.pipe_file("/archive/a.mp4", b"a video")
    living = Scratch(web=False)
    living.local("s3://archive/a.mp4")
    killed_after(lambda: Scratch(web=False).local("s3://archive/a.mp4"))
    assert files(scratch_folder) == [b"a video"] * 2
    Scratch(web=False).close()
    assert files(scratch_folder) == [b"a video"]
    living.close()


def test_web_addresses_only_where_they_are_asked_for() -> None:
    assert not Scratch(web=False).takes("https://example.org/a.mp4")
    assert Scratch(web=True).takes("https://example.org/a.mp4")
    assert not Scratch(web=True).takes("file:///a.mp4")


def test_a_classifier_reads_from_a_store(bucket: Bucket, scratch_folder: Path, tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "a.mp4", 12, size=(64, 48))
    bucket.put_file(str(clip), "/archive/a.mp4")
    addresses = ["s3://archive/a.mp4", "s3://archive/gone.mp4"]
    loaded = load_model(str(make_tiny_model(tmp_path)))
    with Classifier(loaded, device="cpu", downloads=Scratch(web=False)) as classifier:
        found, gone = classifier.classify_all(addresses)
        assert found.path == addresses[0]
        assert found.labels == classifier.classify(clip).labels
    assert gone.error is not None
    assert (gone.path, gone.error.kind) == (addresses[1], "unreachable")
    assert not list(scratch_folder.iterdir())


def test_an_address_survives_being_a_path() -> None:
    assert address_of(str(Path("s3://bucket/out"))) == "s3://bucket/out"
    assert address_of("out/s3:/x") == "out/s3:/x"
    assert is_store("S3://bucket/x")
    assert not is_store("s3.mp4")
