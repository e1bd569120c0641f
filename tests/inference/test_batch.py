"""Nothing that happens to one video stops the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests import clips
from vidcomp.inference.batch import Job, Known, RunStats, Sink, Stamp, Unwritable, label_all, pending, stamp_of
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.pending import PendingVideo
from vidcomp.inference.prediction import Failure, ForwardStats, FrameCounts, Label, Prediction, Timing
from vidcomp.inference.strategies import Outcome, WholeVideo
from vidcomp.video import DecoderUnavailable
from vidcomp.video.errors import NotVideo, VideoCrashed


def good(path: str) -> Prediction:
    labels = (Label("run", 1, 0.7), Label("jump", 0, 0.3))
    return Prediction(path, "m", "whole", labels, FrameCounts(30, 8, 0, 1.0), Timing(0.1, 0.4))


class Fake(Classifier):
    """Answers what a script says of each path, an exception or None for success, one after the other."""

    _depth = 1

    def __init__(self, script: dict[str, list[Exception | None]], together: int = 1) -> None:
        self.script = script
        self.together = together
        self.strategy = None
        self.model = SimpleNamespace(manifest=SimpleNamespace(name="m"), untrained=())  # type: ignore[assignment]

    def _turn(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    def _tidy(self, path: str) -> None:
        pass

    def _expect(self, path: str) -> None:
        pass

    def _forget(self, path: str) -> None:
        pass

    def _encode(self, path: str) -> PendingVideo:
        steps = self.script.get(path)
        if steps and (error := steps.pop(0)) is not None:
            raise error
        return PendingVideo(path=path, strategy=WholeVideo(), reader=None)  # type: ignore[arg-type]

    def _wants_more(self, videos: Sequence[PendingVideo | Prediction]) -> bool:
        return len(videos) < self.together

    def _outcomes(self, videos: Sequence[PendingVideo]) -> list[Outcome]:
        if any("finish" in video.path for video in videos):
            raise ZeroDivisionError
        return [Outcome(np.array([0.3, 0.7]), ForwardStats(1, 8, 1, 1))] * len(videos)

    def _prediction(self, video: PendingVideo, outcome: Outcome, share_s: float = 0.0) -> Prediction:
        return replace(good(video.path), notes=video.notes)


class Memory(Sink):
    """A sink in memory."""

    def __init__(self, known: dict[str, Known] | None = None) -> None:
        self.written: list[Prediction] = []
        self.already = known or {}

    def known(self, job: Job, stamp: Stamp | None) -> Known | None:
        return self.already.get(job.name)

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        self.written.append(prediction)


def labeled(script: dict[str, list[Exception | None]], *jobs: Job, **options: object):
    sink, stats = Memory(), RunStats(len(jobs))
    list(label_all(Fake(script), jobs, sink, stats, **options))
    return sink.written, stats


def test_names_and_counts() -> None:
    written, stats = labeled({}, Job("/v/a.mp4", "a.mp4"), Job("/v/b.mp4", "b.mp4"))
    assert [prediction.path for prediction in written] == ["a.mp4", "b.mp4"]
    assert (stats.done, stats.failed, stats.frames, stats.labels["run"]) == (2, 0, 60, 2)
    assert stats.bound == "model"
    assert stats.left_s == 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (RuntimeError("mat1 and mat2\nshapes"), "internal"),
        (ZeroDivisionError(), "internal"),
    ],
)
def test_what_nobody_foresaw_is_that_videos_error(error: Exception, kind: str) -> None:
    seen: list[Exception] = []
    written, stats = labeled({"x\n.mp4": [error]}, Job("x\n.mp4", "x"), Job("b", "b"), unexpected=seen.append)
    assert written[0].error is not None
    assert written[0].error.kind == kind
    assert "\n" not in written[0].error.message
    assert seen == [error]
    assert written[1].ok
    assert stats.errors == {kind: 1}


def test_a_decoder_that_died_gets_a_second_try() -> None:
    written, _ = labeled(
        {"a": [VideoCrashed("a", "it died")], "b": [VideoCrashed("b", "it died")] * 2}, Job("a", "a"), Job("b", "b")
    )
    assert written[0].ok
    assert "second" in written[0].notes[0]
    assert written[1].error is not None
    assert written[1].error.kind == "crashed"


def test_a_decoder_that_cannot_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    written, _ = labeled({"a": [DecoderUnavailable("no"), DecoderUnavailable("no")]}, Job("a", "a"))
    assert written[0].ok
    assert len(pauses) == 2
    with pytest.raises(DecoderUnavailable):
        labeled({"a": [DecoderUnavailable("no")] * 4}, Job("a", "a"))


def test_files_that_only_might_be_videos_are_passed_over() -> None:
    script = {path: [NotVideo(path, "a text")] for path in "ab"}
    written, stats = labeled(script, Job("a", "a", certain=False), Job("b", "b"))
    assert [prediction.path for prediction in written] == ["b"]
    assert (stats.done, stats.passed_over) == (1, 1)


def test_less_probable_labels_are_left_out() -> None:
    written, stats = labeled({}, Job("a", "a"), min_probability=0.5)
    assert [label.label for label in written[0].labels] == ["run"]
    _, stats = labeled({}, Job("a", "a"), min_probability=0.9)
    assert stats.labels == {None: 1}


def test_what_is_known_is_not_done_again() -> None:
    jobs = [Job("a", "a"), Job("b", "b")]
    todo, known = pending(jobs, Memory({"a": Known("run", None)}))
    assert todo == [jobs[1]]
    assert known == [(jobs[0], Known("run", None))]
    stats = RunStats(1)
    stats.remember(known[0][1])
    assert (stats.known, stats.labels["run"], stats.done) == (1, 1, 0)


def test_stamps(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.mp4", 3)
    stamp = stamp_of(str(path))
    assert stamp is not None
    assert stamp.size == path.stat().st_size
    path.write_bytes(b"x")
    assert stamp_of(str(path)) != stamp
    assert stamp_of(str(tmp_path / "gone")) is None
    assert stamp_of("a\0b") is None


def test_videos_are_announced_before_their_turn() -> None:
    class Noting(Fake):
        def __init__(self) -> None:
            super().__init__({})
            self.events: list[str] = []

        def _expect(self, path: str) -> None:
            self.events.append(f"expect {path}")

        def _encode(self, path: str) -> PendingVideo:
            self.events.append(f"begin {path}")
            return super()._encode(path)

    noting, jobs = Noting(), [Job(name, name) for name in "abc"]
    list(label_all(noting, jobs, Memory(), RunStats(3)))
    assert noting.events == ["expect a", "expect b", "begin a", "expect c", "begin b", "begin c"]


def test_those_held_together_are_all_kept_before_the_first_is_told() -> None:
    jobs, sink = [Job(name, name) for name in "abcde"], Memory()
    results = label_all(Fake({}, together=2), jobs, sink, RunStats(5))
    seen = [(job.name, len(sink.written)) for job, _ in results]
    assert seen == [("a", 2), ("b", 2), ("c", 4), ("d", 4), ("e", 5)]


def test_of_those_held_together_only_the_one_at_fault_fails() -> None:
    jobs, sink, seen = [Job(name, name) for name in ("a", "finish", "c")], Memory(), []
    list(label_all(Fake({}, together=3), jobs, sink, RunStats(3), unexpected=seen.append))
    assert [prediction.error and prediction.error.kind for prediction in sink.written] == [None, "internal", None]
    assert [type(error) for error in seen] == [ZeroDivisionError]


def test_the_side_that_costs_more_is_the_bottleneck() -> None:
    stats = RunStats(2)
    for decoder_s, bound in ((0.3, "model"), (0.6, "decode")):
        stats.add(replace(good("a"), timing=Timing(0.0, 0.4, decoder_s)))
        assert stats.bound == bound


class Mourning(Memory):
    """A sink that knows how often the program died on each video, and notes what is begun."""

    def __init__(self, died: dict[str, int]) -> None:
        super().__init__()
        self.died = died
        self.events: list[str] = []

    def deaths(self, job: Job, stamp: Stamp | None) -> int:
        return self.died.get(job.name, 0)

    def begin(self, job: Job, stamp: Stamp | None, *, alone: bool) -> None:
        self.events.append(f"begin {job.name}{' alone' if alone else ''}")

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        super().write(job, prediction, stamp)
        self.events.append(f"keep {job.name}")


def test_what_was_in_the_works_when_the_program_died_comes_last_and_alone() -> None:
    jobs, sink, expected = [Job(name, name) for name in "abcd"], Mourning({"a": 1, "b": 2, "c": 1}), []
    fake, stats = Fake({}, together=3), RunStats(4)
    fake._expect = expected.append  # type: ignore[method-assign]
    list(label_all(fake, jobs, sink, stats))
    assert expected == ["d", "a", "c"]
    assert sink.events == ["begin d", "keep d", "begin a alone", "keep a", "keep b", "begin c alone", "keep c"]
    kinds = {prediction.path: prediction.error and prediction.error.kind for prediction in sink.written}
    assert kinds == {"d": None, "a": None, "b": "crashed", "c": None}
    assert (stats.done, stats.errors) == (4, {"crashed": 1})


def test_a_result_that_cannot_be_kept_is_that_videos_error() -> None:
    class Full(Memory):
        def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
            if job.name == "a":
                raise Unwritable("a: no such name")
            super().write(job, prediction, stamp)

    jobs, sink, stats = [Job(name, name) for name in "ab"], Full(), RunStats(2)
    first, second = (prediction for _, prediction in label_all(Fake({}), jobs, sink, stats))
    assert first.error == Failure("unwritable", "a: no such name")
    assert (first.top, first.ok, second.ok) == (None, False, True)
    assert stats.errors == {"unwritable": 1}


def test_the_top_label() -> None:
    assert good("a").top == Label("run", 1, 0.7)
    assert Fake({}).failure("a", Failure("crashed", "it died")).top is None
    assert good("a").at_least(0.9).top is None
