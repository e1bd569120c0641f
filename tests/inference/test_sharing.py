"""One classifier for several threads, in forked children, after its end, and for those who stop halfway."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import vidcomp
from tests import clips
from tests.inference.test_batch import Memory
from tests.tiny_model import make_tiny_model
from vidcomp.inference.batch import Job, RunStats, label_all
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.video.worker.prefetch import PrefetchedReader
from vidcomp.zoo.build import LoadedModel, load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(make_tiny_model(tmp_path_factory.mktemp("model"), kind="sfc", stride=2)))


@pytest.fixture
def classifier(model: LoadedModel) -> Iterator[Classifier]:
    with Classifier(model, device="cpu", decode_workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("videos")
    return [str(clips.make_clip(folder / f"{n}.mp4", 8 + 4 * n, first=10 * n, size=(64, 48))) for n in range(4)]


def said(prediction: Prediction) -> dict[int, float]:
    assert prediction.error is None, prediction.error
    return {label.index: pytest.approx(label.probability, abs=1e-6) for label in prediction.labels}


def test_threads_that_share_one_get_the_answers_of_one_after_the_other(
    classifier: Classifier, paths: list[str]
) -> None:
    alone = [said(classifier.classify(path)) for path in paths]

    def run(number: int) -> list[dict[int, float]]:
        if number % 2:
            return [said(prediction) for prediction in classifier.classify_all(paths)]
        return [said(classifier.classify(path)) for path in paths]

    with ThreadPoolExecutor(4) as threads:
        for answers in threads.map(run, range(4)):
            assert answers == alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told_at_once_and_leaves_its_parents_processes_alone(
    model: LoadedModel, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(model, device="cpu", decode_workers=1)
    before = said(classifier.classify(paths[0]))
    (decoder,) = classifier.pool.pids
    receiver, sender = os.pipe()
    # As if another thread of the parent had a video in work.
    with classifier._lock:
        child = os.fork()
        if child == 0:
            try:
                for use in (
                    lambda: classifier.classify(paths[0]),
                    lambda: classifier.classify_all(paths),
                    lambda: next(classifier.batches(paths)),
                    lambda: classifier.features(paths[0]),
                ):
                    with pytest.raises(RuntimeError, match=f"loaded in process {os.getppid()}.*'spawn'"):
                        use()
                monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
                for load in (
                    lambda: Classifier(model, device="cpu", decode_workers=1),
                    lambda: vidcomp.load("ucf16-lite0"),
                    lambda: vidcomp.create_model("ucf16-lite0", pretrained=False),
                ):
                    with pytest.raises(RuntimeError, match="'spawn'"):
                        load()
                classifier.close()
                del classifier, use, load
                gc.collect()
                os.write(sender, b"told")
            finally:
                os._exit(0)
    os.close(sender)
    os.waitpid(child, 0)
    assert os.read(receiver, 4) == b"told"
    os.close(receiver)
    assert said(classifier.classify(paths[0])) == before
    assert classifier.pool.pids == [decoder]
    classifier.close()


def test_once_closed_it_says_so(model: LoadedModel, paths: list[str]) -> None:
    classifier = Classifier(model, device="cpu", decode_workers=1)
    rest = classifier.classify_all(paths)
    next(rest)
    classifier.close()
    classifier.close()
    with pytest.raises(RuntimeError, match="is closed"):
        classifier.classify(paths[0])
    with pytest.raises(RuntimeError, match="is closed"):
        classifier.classify_all(paths)
    with pytest.raises(RuntimeError, match="is closed"):
        next(rest)


@pytest.mark.parametrize("path", ["ab", b"ab", Path("ab")])
def test_one_path_is_not_taken_for_several(classifier: Classifier, path: object) -> None:
    with pytest.raises(TypeError, match="several paths"):
        classifier.classify_all(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [False, True])
def test_who_stops_halfway_leaves_no_frames_and_no_decoder_at_work(
    classifier: Classifier, paths: list[str], batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[PrefetchedReader[object]] = []
    made = PrefetchedReader.__init__

    def noting(reader: PrefetchedReader[object], path: str) -> None:
        made(reader, path)
        readers.append(reader)

    monkeypatch.setattr(PrefetchedReader, "__init__", noting)
    if batch:
        jobs = [Job(path, path) for path in paths]
        results: Iterator[object] = label_all(classifier, jobs, Memory(), RunStats(len(jobs)))
    else:
        results = classifier.classify_all(paths)
    next(results)
    assert len(readers) > 1
    del results
    assert sum(reader.bytes_held for reader in readers) == 0
    until = time.monotonic() + 30
    while classifier._prefetcher._threads:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert said(classifier.classify(paths[1]))
