"""Decoding ahead changes when a video is decoded, and nothing else."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.pending import PendingVideo
from vidcomp.inference.strategies import DenseViews, Strategy, UniformClips, WholeVideo
from vidcomp.video import DecodeOptions, DecodePool, DecodeWorker, VideoError
from vidcomp.video.worker import prefetch
from vidcomp.video.worker.prefetch import Prefetcher, lookahead
from vidcomp.zoo.build import LoadedModel, load_model


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def open_small(worker: DecodeWorker, path: str) -> PendingVideo:
    return PendingVideo(path=path, strategy=WholeVideo(), reader=worker.open(path, DecodeOptions(chunk_frames=4)))


@pytest.fixture
def decoding() -> Iterator[Prefetcher[PendingVideo]]:
    videos = Prefetcher(open_small, DecodePool(), threads=1)
    yield videos
    videos.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(make_tiny_model(tmp_path_factory.mktemp("model"))))


def test_items_are_drawn_so_many_turns_early_and_keep_their_order() -> None:
    drawn: list[int] = []
    given = [(item, len(drawn)) for item in lookahead((drawn.append(i) or i for i in range(5)), 2)]
    assert given == [(0, 3), (1, 4), (2, 5), (3, 5), (4, 5)]
    assert list(lookahead([7, 8], 0)) == [7, 8]
    assert list(lookahead([], 3)) == []


def test_frames_wait_for_their_turn_and_no_more_are_held_than_may_be(
    clip: Path, decoding: Prefetcher[PendingVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_chunk = 4 * 96 * 128 * 3
    monkeypatch.setattr(prefetch, "MAX_BYTES_PER_VIDEO", 2 * one_chunk)
    decoding.expect(str(clip))
    video = decoding.take(str(clip))
    assert video is not None
    assert video.wait_until_open().path == str(clip)
    wait_for(lambda: video.bytes_held == 2 * one_chunk)
    time.sleep(0.1)
    assert video.bytes_held == 2 * one_chunk
    with pytest.raises(RuntimeError, match="report"):
        _ = video.report
    numbers = []
    for chunk in video.chunks():
        assert video.bytes_held <= 2 * one_chunk
        numbers += clips.numbers(chunk.pixels)
    assert numbers == list(range(60))
    assert video.report.decoded == 60
    assert video.info.frame_count == 60
    assert video.decode_s > 0


def test_errors_wait_for_their_turn_too(clip: Path, decoding: Prefetcher[PendingVideo], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    for path in (broken, clip):
        decoding.expect(str(path))
    first, second = decoding.take(str(broken)), decoding.take(str(clip))
    assert first is not None
    assert second is not None
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        first.wait_until_open()
    second.wait_until_open()
    assert sum(len(chunk) for chunk in second.chunks()) == 60


def test_what_was_expected_and_not_asked_for_is_given_up(
    clip: Path, decoding: Prefetcher[PendingVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "MAX_BYTES_PER_VIDEO", 1)
    last = clips.make_clip(tmp_path / "last.mp4", 5)
    for path in (clip, clip, last):
        decoding.expect(str(path))
    video = decoding.take(str(last))
    assert video is not None
    video.wait_until_open()
    assert clips.numbers(next(video.chunks()).pixels) == [0, 1, 2, 3]
    assert decoding.take(str(clip)) is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_closing_in_the_middle_ends_threads_and_processes(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "MAX_BYTES_PER_VIDEO", 1)
    workers: list[DecodeWorker] = []

    def open_noted(worker: DecodeWorker, path: str) -> PendingVideo:
        workers.append(worker)
        return open_small(worker, path)

    before = threading.active_count()
    videos = Prefetcher(open_noted, DecodePool(), threads=2)
    for _ in range(5):
        videos.expect(str(clip))
    video = videos.take(str(clip))
    assert video is not None
    video.wait_until_open()
    wait_for(lambda: len(workers) == 2 and all(worker.pid for worker in workers) and video.bytes_held > 0)
    time.sleep(0.2)  # until the decoder has the next chunk, for which there is no room
    pids = [worker.pid for worker in workers]
    videos.close()
    videos.close()
    videos.expect(str(clip))
    with pytest.raises(RuntimeError, match="closed"):
        list(video.chunks())
    assert threading.active_count() == before
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_hanging_decoder_does_not_hold_up_the_end(clip: Path) -> None:
    pids: list[int] = []

    def open_and_freeze(worker: DecodeWorker, path: str) -> PendingVideo:
        opened = open_small(worker, path)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        pids.append(worker.pid)
        return opened

    videos = Prefetcher(open_and_freeze, DecodePool(), threads=1)
    videos.expect(str(clip))
    wait_for(lambda: bool(pids))
    began = time.monotonic()
    videos.close()
    # The decoder's own time limit, which would have ended it otherwise, is half a minute.
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("strategy", [None, DenseViews(2, 1), UniformClips(2, 16)])
def test_answers_are_those_of_one_video_after_another(
    strategy: Strategy | None, model: LoadedModel, clip: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    other = clips.make_clip(tmp_path / "other.mp4", 25, size=(64, 64))
    paths = [str(path) for path in (clip, broken, other, tmp_path / "gone.mp4", clip, clip)]
    with Classifier(model, device="cpu", strategy=strategy, decode_workers=2) as classifier:
        alone = [classifier.classify(path) for path in paths]
        together = list(classifier.classify_all(paths))
    for one, other_one in zip(alone, together, strict=True):
        assert (one.path, one.strategy, one.frames, one.notes, one.error) == (
            other_one.path,
            other_one.strategy,
            other_one.frames,
            other_one.notes,
            other_one.error,
        )
        np.testing.assert_allclose(
            [label.probability for label in one.labels], [label.probability for label in other_one.labels], atol=1e-6
        )


def test_the_time_a_video_waits_is_none_of_its_decoding_time(
    model: LoadedModel, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "MAX_BYTES_PER_VIDEO", 1)
    with Classifier(model, device="cpu", decode_timeout_s=2) as classifier:

        def paths() -> Iterator[str]:
            yield str(clip)
            # It is opened and waits for its turn, which is that of the last one drawn.
            time.sleep(3)

        assert [prediction.error for prediction in classifier.classify_all(paths())] == [None]


def test_a_video_longer_than_it_is_passed_whole(model: LoadedModel, clip: Path) -> None:
    short = LoadedModel(model.manifest.with_changes(max_frames=40), model.network, model.labels)
    with Classifier(short, device="cpu") as classifier:
        assert [p.strategy for p in classifier.classify_all([str(clip)] * 2)] == ["uniform8x128"] * 2


def test_without_a_process_nothing_can_be_decoded(model: LoadedModel) -> None:
    with pytest.raises(ValueError, match="decode_workers must be a whole number of at least 1"):
        Classifier(model, device="cpu", decode_workers=0)
