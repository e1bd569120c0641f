"""Strategies side by side on the same videos and the same machine: how good, how fast, how large.

Every video first passes every strategy once, from its file: that gives labels, GMACs and peak memory, and warms
everything up. Then come rounds, in each of which every strategy takes its turn on every timed video (A B C A B C …), so
that a machine that slows down slows all alike; a round gives one number a strategy, rounds give medians and spread.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from vidcomp.evaluation import machine
from vidcomp.evaluation.candidates import find_model, with_weights, without_weights
from vidcomp.evaluation.contender import Contender
from vidcomp.evaluation.energy import EnergyMeter
from vidcomp.evaluation.results import Answer, Comparison, Row, VideoResult
from vidcomp.evaluation.sample_video import FPS, FRAMES, HEIGHT, WIDTH, make_sample_video
from vidcomp.evaluation.standings import results_of, rows_of, spread_over
from vidcomp.inference.classifier import failure_of
from vidcomp.inference.device import choose_device
from vidcomp.inference.grammar import StrategyError, parse_strategy
from vidcomp.video import VideoError, probe
from vidcomp.video.labeled import LabeledVideo, keep_known
from vidcomp.zoo.download import Progress
from vidcomp.zoo.errors import ManifestError
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest

__all__ = ["Answer", "Comparison", "LabeledVideo", "Measurement", "Row", "VideoResult", "compare"]

ROUNDS = 5
SECONDS = 300.0
# Videos that are timed, spread over all that were given: medians need rounds more than they need videos.
TIMED_VIDEOS = 8


def compare(
    model: str | Path | Manifest,
    videos: Iterable[str | Path | LabeledVideo] = (),
    strategies: Sequence[str] = ("dense30", "sfc"),
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
            one.
        rounds: how often everything is timed, at most.
        seconds: no round is begun that would end later than this after the first began; one is always run.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_weights: do not look for weights: cost alone is measured.

    Raises:
        StrategyError: none of the strategies can be done.
        vidcomp.zoo.errors.ZooError: there is no such model.
        ValueError: the device is not to be had.
    """
    options = {"rounds": rounds, "seconds": seconds, "device": device, "random_weights": random_weights}
    with Measurement(model, videos, strategies, **options) as measurement:  # type: ignore[arg-type]
        measurement.run()
        return measurement.result()


class Measurement:
    """A comparison under way: :meth:`run` it, and ask for the :meth:`result` then, or after an interruption.

    A context manager; leaving it ends the decoding processes. Arguments and errors are those of :func:`compare`.
    """

    def __init__(
        self,
        model: str | Path | Manifest,
        videos: Iterable[str | Path | LabeledVideo] = (),
        strategies: Sequence[str] = ("dense30", "sfc"),
        *,
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
        device: str = "auto",
        random_weights: bool = False,
        decode_timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Load a network for every strategy that the model can do; ``progress`` is told of downloads."""
        self.manifest = find_model(model)
        self.rounds = rounds
        self.seconds = seconds
        self.device = choose_device(device)
        self.machine = machine.describe(self.device)
        self.notes: list[str] = []
        self.failed = False
        self.interrupted = False
        self.contenders: list[Contender] = []
        self._timed: list[str] = []
        self._fits: dict[str, int | None] = {}
        self._reasons: dict[str, str] = {}
        self._impossible: list[str] = []
        self._rounds_done = 0
        self._stack = ExitStack()
        given = [video if isinstance(video, LabeledVideo) else LabeledVideo(os.fsdecode(video)) for video in videos]
        self.generated = not given
        try:
            self.videos, remarks = keep_known(given or [self._sample()], labels_of(self.manifest))
            self.notes += remarks
            self._load(strategies, random_weights, decode_timeout_s, progress)
        except BaseException:
            self.close()
            raise

    def _load(
        self,
        strategies: Sequence[str],
        random_weights: bool,
        decode_timeout_s: float | None,
        progress: Progress | None,
    ) -> None:
        """Load the network of every strategy, and note what a reader must know beforehand."""
        if machine.busy(self.machine):
            self._note(
                f"the machine was busy before this began (load {self.machine['load_before']} on "
                f"{self.machine['cores']} cores): times may be off"
            )
        meter = EnergyMeter(self.device)
        for strategy in strategies:
            self._add(strategy, meter, random_weights, decode_timeout_s, progress)
        if not self.contenders:
            raise StrategyError("; ".join(self._impossible) or "no strategy was named")
        self._tell_of_weights()

    def __enter__(self) -> Measurement:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes and remove the generated video."""
        self._stack.close()

    @property
    def steps(self) -> int:
        """How often ``done`` will be called by :meth:`run` if all rounds are run."""
        timed = min(len(self.videos), TIMED_VIDEOS)
        return len(self.contenders) * (len(self.videos) + timed * self.rounds)

    def run(self, done: Callable[[str], None] = lambda what: None) -> None:
        """Measure everything; ``done`` is called with the name of the strategy after each step.

        Raises:
            KeyboardInterrupt: as it came; :meth:`result` then tells what was measured until it did.
        """
        try:
            for contender in self.contenders:
                contender.warm_up()
            self._label_all(done)
            self._time_rounds(done)
        except KeyboardInterrupt:
            self.interrupted = True
            raise

    def result(self) -> Comparison:
        """What was measured so far."""
        rows = rows_of(self.contenders, self.videos, len(self._timed), self._fits)
        dense = next((contender.name for contender in self.contenders if contender.is_dense), None)
        notes = list(self.notes)
        if len(self.videos) > len(self._timed) > 0:
            notes.append(f"times, videos/s and energy are of {len(self._timed)} of the {len(self.videos)} videos")
        if self._timed and self._rounds_done < self.rounds and not self.interrupted:
            notes.append(f"{self._rounds_done} of {self.rounds} rounds fitted into {self.seconds:g} s")
        if self.interrupted:
            notes.append("interrupted: only what was measured until then is shown")
        return Comparison(
            model=self.manifest.name,
            machine=self.machine,
            rows=rows,
            videos=results_of(self.contenders, self.videos, self._timed),
            reference=dense if any(row.strategy == dense for row in rows) else None,
            rounds=self._rounds_done,
            generated=self.generated,
            interrupted=self.interrupted,
            failed=self.failed,
            notes=tuple(notes),
        )

    def _add(
        self,
        strategy: str,
        meter: EnergyMeter,
        random_weights: bool,
        decode_timeout_s: float | None,
        progress: Progress | None,
    ) -> None:
        """Load the network of one strategy, or note in a line why the model cannot do it."""
        try:
            named = parse_strategy(strategy)
            manifest = named.manifest(self.manifest)
            name = named.name(manifest)
            if any(name == contender.name for contender in self.contenders):
                return
            if random_weights:
                model, reason = without_weights(manifest), "random weights were asked for"
            else:
                model, why_not = with_weights(manifest, progress)
                reason = why_not or ""
        except (StrategyError, ManifestError) as error:
            self._note(str(error), failed=True)
            self._impossible.append(str(error))
            return
        contender = Contender(
            name,
            named.strategy,
            model,
            trained=not reason,
            device=self.device.type,
            meter=meter,
            decode_timeout_s=decode_timeout_s,
        )
        self._stack.callback(contender.close)
        self.contenders.append(contender)
        self._reasons[contender.name] = reason

    def _tell_of_weights(self) -> None:
        """Say which rows run on random weights, and why; their labels are not compared."""
        for reason in dict.fromkeys(filter(None, self._reasons.values())):
            names = ", ".join(name for name, why in self._reasons.items() if why == reason)
            self._note(f"random weights in {names}: the cost is true, labels are left out; {reason}")

    def _label_all(self, done: Callable[[str], None]) -> None:
        """Pass every video through every strategy once."""
        for video in self.videos:
            problem = self._unfit(video.path)
            if problem is not None:
                self._note(problem, failed=True)
            for contender in self.contenders:
                if problem is not None:
                    contender.errors[video.path] = problem
                else:
                    contender.label(video.path)
                    if video.path in contender.errors:
                        self._note(contender.errors[video.path], failed=True)
                done(contender.name)
        for contender in self.contenders:
            self._fits[contender.name] = contender.fits_at_once()

    def _time_rounds(self, done: Callable[[str], None]) -> None:
        usable = [
            video.path
            for video in self.videos
            if all(video.path in contender.labels for contender in self.contenders if contender.labels)
        ]
        contenders = [contender for contender in self.contenders if contender.labels]
        self._timed = spread_over(usable, TIMED_VIDEOS)
        if not self._timed:
            self._note("no video could be labelled by every row: nothing was timed", failed=True)
            return
        began = time.perf_counter()
        for number in range(self.rounds):
            spent = time.perf_counter() - began
            if number and spent + spent / number > self.seconds:
                break
            for path in self._timed:
                for contender in contenders:
                    try:
                        contender.time_model(path, number)
                    except Exception as error:
                        failure = failure_of(path, error)
                        if failure is None:
                            raise
                        self._note(f"{contender.name}: {failure.message}", failed=True)
                for contender in contenders:
                    contender.time_end_to_end(path, number)
                    done(contender.name)
            self._rounds_done = number + 1

    def _unfit(self, path: str) -> str | None:
        """Why a video cannot be compared at all: it cannot be opened, or is too long to be passed whole."""
        try:
            info = probe(path, count=False)
        except VideoError as error:
            return str(error)
        most = self.manifest.max_frames
        if (info.expected_frames or 0) > most:
            return f"{path}: {info.expected_frames} frames are more than the {most} that this model is passed whole"
        return None

    def _sample(self) -> LabeledVideo:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vidcomp-")))
        self._note(
            f"no videos were given: speed, size and memory on a generated one ({FRAMES} frames at {FPS} frames/s, "
            f"{WIDTH}x{HEIGHT}, {FRAMES / FPS:.1f} s); labels need videos"
        )
        return LabeledVideo(str(make_sample_video(folder / "generated.mp4")))

    def _note(self, line: str, *, failed: bool = False) -> None:
        if line not in self.notes:
            self.notes.append(line)
        self.failed = self.failed or failed
