"""The harness: strategies of models on the same videos and the same machine. An evaluation is a comparison of one.

Every video first passes every strategy once, from its file: that gives labels, GMACs and peak memory, and warms
everything up. Then come rounds, in each of which every strategy takes its turn on every timed video (A B C A B C …), so
that a machine that slows down slows all alike; a round gives one number per strategy, rounds give medians and spread.
Without rounds only labels and GMACs are of interest, and the next videos are decoded meanwhile.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

from vidcomp.evaluation.accuracy import Evaluation, evaluation_of
from vidcomp.evaluation.benchmark import FPS, FRAMES, SIZE, describe_machine, is_busy, make_video
from vidcomp.evaluation.comparison import Comparison, results_of, rows_of
from vidcomp.evaluation.strategy_run import StrategyRun, default_strategies, load_for_measuring
from vidcomp.files import counted
from vidcomp.inference.classifier import Classifier, failure_of
from vidcomp.inference.device import choose_device
from vidcomp.inference.grammar import NamedStrategy, StrategyError, parse_strategy
from vidcomp.inference.in_progress import InProgress
from vidcomp.inference.strategies import Strategy, WholeVideo
from vidcomp.transfer import Progress
from vidcomp.video import DecodePool, VideoError
from vidcomp.video.errors import VideoTooLarge
from vidcomp.video.labeled import LabeledVideo, check_labeled, find_labeled, keep_known
from vidcomp.zoo import ManifestError
from vidcomp.zoo.build import LoadedModel
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, find_manifest

ROUNDS = 5
SECONDS = 300.0
# Videos that are timed, spread over all that were given: medians need rounds more than they need videos. So they are
# fewer where fewer rounds than this would fit into the time otherwise.
TIMED_VIDEOS = 8
_ROUNDS_WANTED = 3

Video: TypeAlias = str | os.PathLike[str] | LabeledVideo


def compare(
    model: str | Path | Manifest,
    videos: Iterable[Video] = (),
    strategies: Sequence[str] = (),
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    device: str = "auto",
    random_weights: bool = False,
) -> Comparison:
    """Measure strategies of one model on the same videos, or on a generated one where none are given.

    Args:
        model: a model's name, the path of a manifest, or a manifest.
        videos: paths, or videos with their classes. Without any, labels are not compared.
        strategies: names as :mod:`vidcomp.inference.grammar` has them; the others are compared with the first dense
            one. ``whole@x3d_m`` is another model's. By default ``dense30`` and the model's own compressors.
        rounds: how often everything is timed, at most; without rounds, only labels and GMACs are measured.
        seconds: no round is begun that would end later than this after the first began; one is always run, of as few
            videos as it takes.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_weights: do not look for weights: cost alone is measured.

    Raises:
        StrategyError: none of the strategies can be done.
        vidcomp.zoo.ZooError: there is no such model.
        ValueError: the device is not available.
    """
    with Evaluator(
        model,
        videos,
        strategies,
        rounds=rounds,
        seconds=seconds,
        device=device,
        random_weights=random_weights,
    ) as evaluator:
        evaluator.run()
        return evaluator.comparison()


def evaluate(
    model: str | Path | Manifest, source: str | Path, strategy: str | None = None, *, device: str = "auto"
) -> Evaluation:
    """Measure how often a model is right on a folder with a sub-folder per class, or a CSV file of ``path,label``.

    ``strategy`` is a name as :mod:`vidcomp.inference.grammar` has them; by default the model as it is.

    Raises:
        StrategyError: there is no such strategy.
        vidcomp.video.labeled.LabelError: there are no videos, one has no class, or a class is not the model's.
        vidcomp.zoo.ZooError: the model or its weights are not available.
        ValueError: the device is not available.
    """
    manifest = model if isinstance(model, Manifest) else find_manifest(model)
    videos, _ = find_labeled([os.fspath(source)])
    check_labeled(os.fspath(source), videos, labels_of(manifest))
    named = parse_strategy(strategy)
    with Evaluator(manifest, videos, [named], rounds=0, device=device, strict=True) as evaluator:
        evaluator.run()
        return evaluator.evaluation()


class Evaluator:
    """Strategies being measured: :meth:`run` them, and ask for the results then, or after an interruption.

    A context manager; leaving it ends the decoding processes. Arguments and errors are those of :func:`compare`.
    """

    def __init__(
        self,
        model: str | Path | Manifest,
        videos: Iterable[Video] = (),
        strategies: Sequence[str | NamedStrategy] = (),
        *,
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
        device: str = "auto",
        random_weights: bool = False,
        strict: bool = False,
        classifier: Callable[..., Classifier] = Classifier,
        tell: Callable[[str], None] = lambda note: None,
        progress: Progress | None = None,
        in_progress: InProgress | None = None,
    ) -> None:
        """Load a network for every strategy that the model can do.

        Where ``strict``, each must be possible and have its weights; else what is not possible is noted and left out,
        and random weights stand for those that are not available. ``classifier`` makes a classifier of a
        :class:`LoadedModel`, given ``device``, ``strategy`` and ``pool``. ``tell`` receives each note, ``progress`` of
        downloads. ``in_progress`` remembers which video was in the works, should the program be killed.
        """
        self.manifest = model if isinstance(model, Manifest) else find_manifest(model)
        self.rounds = rounds
        self.seconds = seconds
        self.machine = describe_machine(choose_device(device))
        self.notes: list[str] = []
        self._tell = tell
        self._in_progress = in_progress or InProgress()
        self.failed = False
        self.interrupted = False
        self.runs: list[StrategyRun] = []
        self._timed: list[str] = []
        self._rounds_done = 0
        self._stack = ExitStack()
        given = [video if isinstance(video, LabeledVideo) else LabeledVideo(os.fsdecode(video)) for video in videos]
        self.generated = not given
        try:
            self.videos, remarks = keep_known(given or [self._generate()], labels_of(self.manifest))
            for remark in remarks:
                self._note(remark)
            if rounds and is_busy(self.machine):
                self._note(
                    f"the machine was busy before this began (load {self.machine['load_before']} on "
                    f"{self.machine['cores']} cores): times may be off"
                )
            load = partial(load_for_measuring, progress=progress, random_weights=random_weights, strict=strict)
            names = strategies or default_strategies(self.manifest)
            # One pool for all: each strategy takes its turn.
            pool = self._stack.enter_context(DecodePool())
            self._load(names, load, partial(classifier, device=device, pool=pool), strict=strict)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes and remove the generated video."""
        self._stack.close()

    @property
    def steps(self) -> int:
        """How often ``done`` will be called by :meth:`run`, at most."""
        timed = min(len(self.videos), TIMED_VIDEOS)
        return len(self.runs) * (len(self.videos) + timed * self.rounds)

    def run(self, done: Callable[[str], None] = lambda what: None) -> None:
        """Measure everything; ``done`` is called with the name of the strategy after each step.

        Raises:
            KeyboardInterrupt: as it came; the results then are of what was measured until it did.
        """
        try:
            if self.rounds:
                for run in self.runs:
                    run.warm_up()
            self._label_all(done)
            if self.rounds:
                for run in self.runs:
                    run.search_fits_at_once()
                self._time_rounds(done)
            self._in_progress.complete()
        except KeyboardInterrupt:
            self.interrupted = True
            raise

    def comparison(self) -> Comparison:
        """All strategies side by side, by what was measured so far."""
        rows = rows_of(self.runs, self.videos, len(self._timed))
        dense = next((run.name for run in self.runs if run.is_dense), None)
        notes = list(self.notes)
        if len(self.videos) > len(self._timed) > 0:
            notes.append(f"times, videos/s and energy are of {len(self._timed)} of the {len(self.videos)} videos")
        if self._timed and self._rounds_done < self.rounds and not self.interrupted:
            notes.append(f"{self._rounds_done} of {counted(self.rounds, 'round')} fitted into {self.seconds:g} s")
        if self.interrupted:
            notes.append("interrupted: only what was measured until then is shown")
        return Comparison(
            model=self.manifest.name,
            machine=self.machine,
            rows=rows,
            videos=results_of(self.runs, self.videos, self._timed),
            reference=dense if any(row.strategy == dense for row in rows) else None,
            rounds=self._rounds_done,
            generated=self.generated,
            interrupted=self.interrupted,
            failed=self.failed,
            notes=tuple(notes),
        )

    def evaluation(self) -> Evaluation:
        """The first strategy by itself, by what it labeled so far, and its agreement with a dense one after it."""
        run, *others = self.runs
        return evaluation_of(run, self.videos, next((other for other in others if other.is_dense), None))

    def _load(
        self,
        strategies: Sequence[str | NamedStrategy],
        load: Callable[[Manifest], tuple[LoadedModel, str | None]],
        classifier: Callable[..., Classifier],
        *,
        strict: bool,
    ) -> None:
        """Load the network of every strategy, or note in a line why the model cannot do it."""
        impossible: dict[str, None] = {}
        reasons: dict[str, list[str]] = {}
        for strategy in strategies:
            try:
                named, manifest, name = self._planned(strategy)
                if any(name == run.name for run in self.runs):
                    continue
                model, reason = load(manifest)
            except (StrategyError, ManifestError) as error:
                if strict:
                    raise
                impossible[str(error)] = None
                continue
            for remark in model.notes:
                self._note(remark)
            passing: Strategy = named.strategy or WholeVideo()
            run = StrategyRun(name, classifier(model, strategy=passing), trained=reason is None)
            self._stack.callback(run.close)
            self.runs.append(run)
            if reason is not None:
                reasons.setdefault(reason, []).append(name)
        if not self.runs:
            raise StrategyError("; ".join(impossible))
        for why in impossible:
            self._note(why, failed=True)
        for reason, names in reasons.items():
            self._note(f"random weights in {', '.join(names)}: costs are real, labels are left out; {reason}")

    def _planned(self, strategy: str | NamedStrategy) -> tuple[NamedStrategy, Manifest, str]:
        """A strategy, the network that it passes, and the name of its row, which tells another model's."""
        if not isinstance(strategy, str):
            manifest = strategy.manifest(self.manifest)
            return strategy, manifest, strategy.name(manifest)
        name, _, other = strategy.partition("@")
        named = parse_strategy(name)
        manifest = named.manifest(find_manifest(other) if other else self.manifest)
        return named, manifest, "@".join(filter(None, (named.name(manifest), other)))

    def _label_all(self, done: Callable[[str], None]) -> None:
        """Pass every video through every strategy once; suspects of having killed the program come last, one by one."""
        fresh, suspects = self._in_progress.parted(self.videos)
        if self.rounds:
            fresh, suspects = [], fresh + suspects
        ahead = [run.label_all(video.path for video in self._in_progress.together(fresh)) for run in self.runs]
        for video in fresh:
            for run, labeling in zip(self.runs, ahead, strict=True):
                next(labeling)
                self._labeled(run, video, done)
            self._in_progress.rest(video.path)
        for video in suspects:
            try:
                with self._in_progress.attempt(video.path):
                    if self.rounds:
                        self._check_timeable(video.path)
                    for run in self.runs:
                        run.label(video.path)
                        self._labeled(run, video, done)
            except VideoError as error:
                for run in self.runs:
                    run.errors[video.path] = str(error)
                    self._labeled(run, video, done)

    def _labeled(self, run: StrategyRun, video: LabeledVideo, done: Callable[[str], None]) -> None:
        if video.path in run.errors:
            self._note(run.errors[video.path], failed=True)
        done(run.name)

    def _time_rounds(self, done: Callable[[str], None]) -> None:
        runs = [run for run in self.runs if run.observations]
        usable = [video.path for video in self.videos if all(video.path in run.observations for run in runs)]
        if not runs or not usable:
            self._note("no video could be labeled by every row: nothing was timed", failed=True)
            return
        # A round passes a video twice through every row: the network alone, and from the file.
        per_video = 2 * sum(statistics.median(one.seconds or 0 for one in run.observations.values()) for run in runs)
        affordable = self.seconds / (min(self.rounds, _ROUNDS_WANTED) * per_video)
        self._timed = spread_over(usable, max(1, min(TIMED_VIDEOS, int(affordable))))
        began = time.perf_counter()
        for number in range(self.rounds):
            spent = time.perf_counter() - began
            if number and spent + spent / number > self.seconds:
                break
            for path in self._timed:
                with self._in_progress.attempt(path):
                    for run in runs:
                        try:
                            run.time_model(path, number)
                        except Exception as error:
                            failure = failure_of(path, error)
                            if failure is None:
                                raise
                            self._note(f"{run.name}: {failure.message}", failed=True)
                    for run in runs:
                        run.time_end_to_end(path, number)
                        done(run.name)
            self._rounds_done = number + 1

    def _check_timeable(self, path: str) -> None:
        """Find out whether any strategy can be timed on a video.

        Raises:
            VideoError: it cannot be opened, or is too long to be held and passed.
        """
        with self.runs[0].classifier.pool.worker() as worker:
            frames, most = worker.probe(path, count=False).expected_frames or 0, self.manifest.max_frames
        if frames > most:
            raise VideoTooLarge(path, f"{frames} frames are more than the {most} that this model takes whole")

    def _generate(self) -> LabeledVideo:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vidcomp-")))
        self._note(
            f"no videos were given: speed, size and memory of a generated one ({FRAMES} frames at {FPS} frames/s, "
            f"{SIZE[0]}x{SIZE[1]}, {FRAMES / FPS:.1f} s); labels need videos"
        )
        return LabeledVideo(str(make_video(folder / "generated.mp4")))

    def _note(self, line: str, *, failed: bool = False) -> None:
        if line not in self.notes:
            self.notes.append(line)
            self._tell(line)
        self.failed = self.failed or failed


def spread_over(items: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the items, evenly spaced, from the first to the last; the middle one if it is to be one."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[len(items) // 2]]
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
