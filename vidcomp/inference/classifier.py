"""Models over videos: one loop that decodes the next videos while the network works, and gives an answer for each."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeAlias, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.files import printable
from vidcomp.inference.device import choose_device
from vidcomp.inference.moments import find_moments
from vidcomp.inference.pending import MoreThanClaimed, PendingVideo, VideoOpener
from vidcomp.inference.prediction import Failure, FrameCounts, Label, Moment, Prediction, Timing, Window
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import DenseViews, KeyFrames, Outcome, Strategy, WholeVideo, finish, seen_whole
from vidcomp.inference.windows import Windows, scores_of_windows
from vidcomp.memory import is_out_of_memory, trim_memory
from vidcomp.nn.compressors import FeaturesError
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.video import DecodeOptions, DecodePool, DecoderUnavailable, DecodeWorker, VideoError
from vidcomp.video.frames import MAX_DAMAGE, DecoderName, check_decoder, to_input
from vidcomp.video.memory import FramesInMemory
from vidcomp.video.remote import Downloads
from vidcomp.video.worker.pool import default_workers
from vidcomp.video.worker.prefetch import Prefetcher, lookahead
from vidcomp.zoo.build import LoadedModel, check_not_forked

WINDOW_LABELS = 20
"""Labels kept of each window: hours of video have thousands of windows."""

WINDOW_S = 2.0
"""Seconds of the windows in which moments are found where the network cannot tell them apart."""

# Videos between two givings back of unused memory: often enough to bound it, seldom enough to cost nothing.
_TRIM_EVERY = 8
# Pauses before another try where the system starts no decoding process: it may be short of memory for a while.
_PAUSES_S = (1.0, 10.0, 60.0)
_NOTHING = FrameCounts(0, 0, 0, None)

CRASHED = "crashed"
OUT_OF_MEMORY = "out_of_memory"

Unexpected = Callable[[Exception], None]
"""Is told of an exception that nobody foresaw, and that is one video's error from then on."""


def failure_of(path: str, error: Exception) -> Failure | None:
    """What an exception says of a video, as a kind and one line; None for one that nobody foresaw."""
    if isinstance(error, VideoError):
        # It may name the file that an address was fetched into.
        return Failure(error.kind, str(type(error)(path, error.reason)))
    if isinstance(error, FeaturesError):
        return Failure(error.kind, f"{printable(path)}: {error}; try precision fp32, or other weights")
    if is_out_of_memory(error):
        why = "there was not enough memory to label it; the strategy uniform8 needs less"
        return Failure(OUT_OF_MEMORY, f"{printable(path)}: {why}")
    return None


Video: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8] | torch.Tensor"
"""What may be labeled: a file's name, a file's content, or frames (T, H, W, 3), uint8 RGB."""

FPS = 25.0
"""Frames per second of a video in memory, where nothing is said of it."""


def _in_memory(frames: NDArray[np.uint8] | torch.Tensor, fps: float = FPS) -> FramesInMemory:
    if isinstance(frames, torch.Tensor):
        if frames.dtype != torch.uint8:
            raise TypeError(f"frames are uint8, 0 to 255, not {frames.dtype}")
        frames = frames.cpu().numpy()
    elif not isinstance(frames, np.ndarray):
        raise TypeError(f"frames are an array or a tensor (T, H, W, 3), not {type(frames).__name__}")
    return FramesInMemory(frames, fps)


def _named(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"a video is named by a str or a pathlib.Path, not by {type(path).__name__}")
    return name


class Classifier:
    """A model ready to label videos: ``Classifier(load_model(name)).classify(path)``.

    Use it as a context manager, or call :meth:`close`, to end the decoding processes. They end with the program anyway.

    Threads may share a classifier; they take turns. Processes may not: in a forked child its methods raise
    RuntimeError, as they do after :meth:`close`. :attr:`pool` lends its decoding processes to others.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        device: str | torch.device | None = "auto",
        strategy: Strategy | None = None,
        decode_timeout_s: float | None = None,
        decode_workers: int | None = None,
        precision: str = "auto",
        batch: int | None = None,
        allow_urls: bool = False,
        max_damage: float = MAX_DAMAGE,
        decoder: DecoderName = "auto",
        moments: bool = False,
        pool: DecodePool | None = None,
        downloads: Downloads | None = None,
    ) -> None:
        """Put the model on its device.

        Args:
            model: network, labels and manifest.
            device: ``auto`` (or None), ``cpu``, ``cuda``, or one GPU, such as ``cuda:1``.
            strategy: how a video passes; by default whole, or as uniform clips above the manifest's ``max_frames``.
            decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.
            decode_workers: processes that decode the next videos in advance; by default one per two cores.
            precision: as :func:`~vidcomp.inference.device.choose_precision` takes it.
            batch: videos that may go through compressor and tail together; by default 1 on a CPU, 16 on CUDA.
            allow_urls: fetch videos that are named by a web address; otherwise an address is a missing file.
            max_damage: share of a video's frames, 0 to 1, that may be damaged or missing before that is an error.
            decoder: ``decord``, ``pyav``, or ``auto``: see :class:`~vidcomp.video.reader.Reader`.
            moments: find the actions in each video, :attr:`Prediction.moments`. A network that cannot tell what single
                moments show is run on windows for that, and a note of each prediction says so.
            pool: decoding processes that run already, to be closed with the classifier.
            downloads: what fetches videos that are named by an address, to be closed with the classifier; by default
                something for web addresses, with ``allow_urls``.

        Raises:
            ValueError: the device or the precision is not available, there would be no process to decode, no time
                for it or no video in a batch, ``max_damage`` is no share, there is no such ``decoder``, or moments are
                to be found in dense views, which tell nothing of time.
            RuntimeError: this process is a fork of one that has loaded a model.
        """
        check_not_forked()
        for argument, value in (("decode_workers", decode_workers), ("batch", batch)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{argument} must be a whole number of at least 1, not {value!r}")
        if decode_timeout_s is not None and not decode_timeout_s > 0:
            raise ValueError(f"decode_timeout_s must be more than 0, not {decode_timeout_s}")
        if not 0 <= max_damage <= 1:
            raise ValueError(f"max_damage is a share from 0 to 1, not {max_damage}")
        check_decoder(decoder)
        self._process = os.getpid()
        self.runner = Runner(model.network, choose_device(device), precision=precision, videos_at_once=batch)
        # Of the network as it was given nothing is kept.
        self.model = replace(model, network=cast(CompressedModel, self.runner.network))
        self.moments = moments
        self._remarks: tuple[str, ...] = ()
        if self.runner.spec.modalities != ("rgb",) and not isinstance(strategy, WholeVideo | None):
            raise ValueError(f"a bitstream model takes a video whole, not as {strategy.name}")
        if moments and self.runner.spec.modalities != ("rgb",):
            # Its transformer has mixed the groups of pictures by the time that they are named.
            raise ValueError("a bitstream model cannot tell when something happens; use a model of frames")
        if moments and isinstance(strategy, KeyFrames):
            raise ValueError("moments cannot be found in key frames alone: pass the video whole")
        if moments and isinstance(strategy, DenseViews):
            raise ValueError(f"moments cannot be found in dense views ({strategy.name}): pass the video whole")
        if moments and not isinstance(strategy, Windows) and self.runner.network.moment_classifier is None:
            strategy = Windows(WINDOW_S, WINDOW_S)
            self._remarks = (f"{model.manifest.name} cannot tell moments apart: windows of {WINDOW_S:g} s were passed",)
        self.strategy = strategy
        self.decode_workers = decode_workers or default_workers()
        self.opener = VideoOpener(
            runner=self.runner,
            strategy=strategy,
            max_frames=model.manifest.max_frames,
            moments=moments,
            timeout_s=decode_timeout_s,
            max_damage=max_damage,
            decoder=decoder,
        )
        self.pool = DecodePool(timeout_s=decode_timeout_s) if pool is None else pool
        self._prefetcher = Prefetcher(self._open, self.pool, self.decode_workers)
        self._downloads = downloads or (Downloads() if allow_urls else None)
        self._since_trim = 0
        self._lock = threading.Lock()
        self._closed = False

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Classifier cannot be copied or sent to another process: load one in each process")

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes, and throw away what was fetched. May be called more than once."""
        if os.getpid() != self._process:
            return  # a forked child's copy: all of that is still its parent's
        with self._lock:
            self._closed = True
            self._prefetcher.close()
            if self._downloads is not None:
                self._downloads.close()

    @overload
    def __call__(self, video: Video, *, fps: float = FPS) -> Prediction: ...

    @overload
    def __call__(self, video: list[Video] | tuple[Video, ...], *, fps: float = FPS) -> list[Prediction]: ...

    def __call__(
        self, video: Video | list[Video] | tuple[Video, ...], *, fps: float = FPS
    ) -> Prediction | list[Prediction]:
        """Label a video, or each of a list: a path, the bytes of a file, or frames (T, H, W, 3), uint8 RGB.

        Args:
            video: what to label. Frames may be a NumPy array or a tensor on any device.
            fps: frames per second of frames in memory; times, and models that sample by the second, depend on it.

        A problem with a file is never raised; :attr:`Prediction.error` says what it is.

        Raises:
            TypeError, ValueError: it is none of these, or its frames are of another type or shape.
        """
        if isinstance(video, (list, tuple)):
            if all(isinstance(one, (str, os.PathLike)) for one in video):
                return list(self.classify_all(video))  # type: ignore[arg-type]  # they are paths
            return [self(one, fps=fps) for one in video]
        if isinstance(video, (bytes, bytearray, memoryview)):
            return self._classify_bytes(video)
        if isinstance(video, (np.ndarray, torch.Tensor)):
            (prediction,) = self._finish([self._begin("<frames>", frames=_in_memory(video, fps))])
            return prediction
        if not isinstance(video, (str, os.PathLike)):
            raise TypeError(
                "a video is a path, the bytes of a file, or frames (T, H, W, 3), and several are a list of them; "
                f"this is of type {type(video).__name__}"
            )
        return self.classify(video)

    def features(self, video: Video, *, fps: float = FPS) -> NDArray[np.float32]:
        """The input of the model's last layer for a video (C,), averaged over time, picture and passes.

        Raises:
            ValueError: the video cannot be labeled; the message is that of its prediction.
            TypeError: as calling the classifier.
        """
        if isinstance(video, (list, tuple)):
            raise TypeError("features are of one video: call it for each of the list")
        with self.noting_features():
            prediction = self(video, fps=fps)
        if prediction.error is not None:
            raise ValueError(prediction.error.message)
        assert prediction.embedding is not None
        return prediction.embedding

    @contextmanager
    def noting_features(self) -> Iterator[None]:
        """Inside this context, predictions have :attr:`~vidcomp.inference.prediction.Prediction.features`."""
        with self._turn():
            self.runner.notes_features += 1
        try:
            yield
        finally:
            with self._lock:
                self.runner.notes_features -= 1

    def transforms(self, frames: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
        """Turn frames (T, H, W, 3), uint8 RGB, into what the network takes of a whole video: (3, T, h, w), float32.

        They are scaled, cropped if the model sees only the middle, and normalized. All frames are kept, whatever rate
        the model samples at.
        """
        spec = self.model.spec
        reader = _in_memory(frames).open("<frames>", DecodeOptions(spec.short_side, interpolation=spec.interpolation))
        whole = np.concatenate([seen_whole(spec, chunk.pixels) for chunk in reader.chunks()])
        return to_input(whole, spec.mean, spec.std)

    def _classify_bytes(self, content: bytes | bytearray | memoryview) -> Prediction:
        with tempfile.TemporaryDirectory(prefix="vidcomp-") as folder:
            file = Path(folder) / "bytes"
            file.write_bytes(content)
            prediction = self.classify(file)
        if prediction.error is not None:
            message = prediction.error.message.replace(str(file), "<bytes>")
            prediction = replace(prediction, error=replace(prediction.error, message=message))
        return replace(prediction, path="<bytes>")

    def classify(self, path: str | os.PathLike[str]) -> Prediction:
        """Label one video. A problem with it is never raised; :attr:`Prediction.error` says what it is."""
        (prediction,) = self._finish([self._begin(_named(path))])
        return prediction

    def classify_all(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction]:
        """Label videos in order, while the next ones are decoded; nothing is kept of those that are done.

        Raises:
            TypeError: ``paths`` is a single path.
        """
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError(f"classify_all takes several paths; for one, call classify({paths!r})")
        self._check_usable()
        return (prediction for batch in self.batches(iter(paths)) for prediction in batch)

    def batches(
        self, paths: Iterable[str | os.PathLike[str]], *, unexpected: Unexpected | None = None
    ) -> Generator[list[Prediction]]:
        """As :meth:`classify_all`, those together that went through the network together.

        With ``unexpected`` nothing ends the run: what nobody foresaw is that video's error too, and a system that
        starts no decoding process is given more than a minute to recover.

        Raises:
            DecoderUnavailable: the system starts no decoding process.
        """
        pending: list[PendingVideo | Prediction] = []
        with closing(lookahead(self._expecting(paths), self._depth, self._forget)) as drawn:
            for path in drawn:
                pending.append(self._begin(path, unexpected))
                if not self._wants_more(pending):
                    finished, pending = self._finish(pending, unexpected), []
                    yield finished
        if pending:
            yield self._finish(pending, unexpected)

    def failure(self, path: str, failure: Failure, spent_s: float = 0.0) -> Prediction:
        """The answer for a video that got no labels, after so many seconds."""
        name = self._named(self.strategy or WholeVideo())
        return Prediction(path, self.model.manifest.name, name, (), _NOTHING, Timing(spent_s, 0.0), error=failure)

    @property
    def most_begun(self) -> int:
        """How many videos :meth:`batches` may have drawn whose predictions it has not given out."""
        return self._depth + self.runner.videos_at_once.most

    @property
    def _depth(self) -> int:
        """How many videos early it pays to expect one; so many are held in memory, at 32 MiB each or less."""
        return 2 * self.decode_workers - 1

    def _expecting(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
        for path in paths:
            name = _named(path)
            self._expect(name)
            yield name

    def _expect(self, path: str) -> None:
        """Have a video decoded ahead. One that is begun before others expected earlier means that those are not."""
        self._check_usable()
        self._prefetcher.expect(path)

    def _forget(self, path: str) -> None:
        """Take :meth:`_expect` back: the frames decoded so far are let go."""
        self._prefetcher.forget(path)
        if self._downloads is not None:
            self._downloads.drop(path)

    def _wants_more(self, videos: Sequence[PendingVideo | Prediction]) -> bool:
        """Whether it pays, and memory allows, to begin another video before these are finished."""
        pending = [video for video in videos if isinstance(video, PendingVideo)]
        features = [video.encoded.features for video in pending if video.encoded is not None]
        return len(videos) < self.runner.videos_at_once.most and self.runner.has_room_beside(features)

    def _begin(
        self, path: str, unexpected: Unexpected | None = None, frames: FramesInMemory | None = None
    ) -> PendingVideo | Prediction:
        """Read a video and run its head, for :meth:`_finish`; or its answer, if that is all there is to do.

        If its decoder died, it gets another: it may have been killed for somebody else's sake.
        """
        video = self._try(path, unexpected, frames)
        if isinstance(video, PendingVideo) or video.error is None or video.error.kind != CRASHED:
            return video
        video, note = self._try(path, unexpected), "the decoder died on the first try; this is the second"
        if isinstance(video, Prediction):
            return replace(video, notes=(note, *video.notes))
        video.notes = (note,)
        return video

    def _try(
        self, path: str, unexpected: Unexpected | None, frames: FramesInMemory | None = None
    ) -> PendingVideo | Prediction:
        started = time.perf_counter()
        pauses = iter(_PAUSES_S if unexpected is not None else ())
        while True:
            try:
                with self._turn():
                    return self._encode(path) if frames is None else self._encode_frames(path, frames)
            except DecoderUnavailable:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
            except Exception as error:
                failure = _explained(path, error, unexpected)
                break
            finally:
                self._tidy(path)
            time.sleep(pause_s)
        # Beyond the except clause: within it, the traceback would keep alive what is to be given back.
        return self._failed(path, failure, time.perf_counter() - started)

    def _encode(self, path: str) -> PendingVideo | Prediction:
        """Pass a video as far as it goes alone."""
        began = time.perf_counter()
        held = self._prefetcher.take(path)
        try:
            if held is not None:
                return self._pass(replace(held.wait_until_open(), reader=held), began)
            with self.pool.worker() as worker:
                return self._pass(self._open(worker, path), began)
        except MoreThanClaimed:
            began = time.perf_counter()
        finally:
            if held is not None:
                held.close()
        with self.pool.worker() as worker:
            return self._pass(self._open(worker, path, too_long=True), began)

    def _encode_frames(self, path: str, frames: FramesInMemory) -> PendingVideo | Prediction:
        return self._pass(self.opener.open(frames, path), time.perf_counter())

    def _pass(self, video: PendingVideo, began: float) -> PendingVideo | Prediction:
        with video.reader:
            self.opener.check_memory(video)
            video.encode(self.runner, began)
        video.timing = replace(video.timing, decoder_s=video.timing.decoder_s / self.decode_workers)
        return video if video.outcome is None else self._prediction(video, video.outcome)

    def _open(self, worker: DecodeWorker, path: str, *, too_long: bool = False) -> PendingVideo:
        """Open a video, or what was fetched from there, if it is an address."""
        local = self._downloads.local(path) if self._downloads is not None and self._downloads.takes(path) else path
        opener = self.opener
        video = opener.open_counted(worker, local, too_long=True) if too_long else opener.open(worker, local)
        video.path = path
        return video

    def _tidy(self, path: str) -> None:
        """Throw away what was fetched for a video, and now and then give back memory."""
        if self._downloads is not None:
            self._downloads.drop(path)
        self._since_trim += 1
        if self._since_trim >= _TRIM_EVERY:
            trim_memory()
            self._since_trim = 0

    def _finish(
        self, videos: Sequence[PendingVideo | Prediction], unexpected: Unexpected | None = None
    ) -> list[Prediction]:
        """Label videos that were begun, those of equal shape together; what is a prediction already stays so."""
        finished = iter(self._complete([video for video in videos if isinstance(video, PendingVideo)], unexpected))
        return [next(finished) if isinstance(video, PendingVideo) else video for video in videos]

    def _complete(self, videos: Sequence[PendingVideo], unexpected: Unexpected | None) -> list[Prediction]:
        if not videos:
            return []
        started = time.perf_counter()
        failure = None
        try:
            with self._turn():
                outcomes = self._outcomes(videos)
        except Exception as error:
            if len(videos) == 1:
                failure = _explained(videos[0].path, error, unexpected)
        else:
            share_s = (time.perf_counter() - started) / len(videos)
            return [self._prediction(video, outcome, share_s) for video, outcome in zip(videos, outcomes, strict=True)]
        if failure is not None:
            spent_s = videos[0].timing.decode_s + videos[0].timing.model_s + time.perf_counter() - started
            return [self._failed(videos[0].path, failure, spent_s)]
        # It is one video's fault: which one's shows when each is alone.
        return [prediction for video in videos for prediction in self._complete([video], unexpected)]

    def _outcomes(self, videos: Sequence[PendingVideo]) -> list[Outcome]:
        encoded = [video.encoded for video in videos if video.encoded is not None]
        outcomes = finish(self.runner, encoded, need_moments=self.moments)
        self.runner.synchronize()
        return outcomes

    def _failed(self, path: str, failure: Failure, spent_s: float) -> Prediction:
        """The answer for a video on which an exception was raised, and is gone: it holds no memory any more."""
        if failure.kind == OUT_OF_MEMORY:
            trim_memory()
        return self.failure(path, failure, spent_s)

    def _prediction(self, video: PendingVideo, outcome: Outcome, share_s: float = 0.0) -> Prediction:
        """The answer for a video; ``share_s`` is its part of what was done for several together."""
        report = video.report
        assert report is not None
        passes = outcome.passes
        used = passes.count * passes.frames if outcome.frames_used is None else outcome.frames_used
        return Prediction(
            video.path,
            self.model.manifest.name,
            self._named(video.strategy),
            self._labels(outcome.probabilities),
            FrameCounts(report.decoded, used, report.repaired, video.duration_s, video.info.start_s),
            replace(video.timing, model_s=video.timing.model_s + share_s),
            passes,
            outcome.attention,
            (*video.notes, *report.notes, *outcome.notes, *self._remarks),
            moments=self._moments(outcome, video.info.start_s + video.duration_s) if self.moments else None,
            windows=tuple(
                Window(part.start_s, part.end_s, self._labels(part.probabilities)[:WINDOW_LABELS], part.features)
                for part in outcome.windows
            ),
            features=outcome.features,
        )

    def _moments(self, outcome: Outcome, end_s: float) -> tuple[Moment, ...]:
        """The actions found, none of which ends later than the video."""
        scores = outcome.moments or scores_of_windows(outcome.windows)
        allowed = None
        if self.model.chosen is not None:
            allowed = np.isin(np.arange(len(self.model.labels)), self.model.chosen)
        return tuple(
            Moment(found.start_s, min(found.end_s, end_s), Label(self.model.labels[index], index, found.probability))
            for found in find_moments(scores, allowed)
            for index in [found.index]
        )

    def _named(self, strategy: Strategy) -> str:
        """The strategy's name, and which compressors of the model were never trained, where there are any."""
        untrained = "+".join(self.model.untrained)
        if not untrained:
            return strategy.name
        return (
            f"{untrained}, untrained" if isinstance(strategy, WholeVideo) else f"{strategy.name}, {untrained} untrained"
        )

    def _labels(self, probabilities: NDArray[np.float64]) -> tuple[Label, ...]:
        """All labels to choose among, most probable first; equals stay in the classifier's order."""
        order = np.argsort(-probabilities, kind="stable")
        if self.model.chosen is not None:
            order = order[np.isin(order, self.model.chosen)]
            # Never zero: a label of probability 0 in float64 would need a logit hundreds below the others'.
            probabilities = probabilities / max(float(probabilities[order].sum()), np.finfo(np.float64).tiny)
        return tuple(Label(self.model.labels[i], int(i), float(probabilities[i])) for i in order)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Within this the network and the decoding process are one thread's."""
        # Before the lock: in a forked child it may be held by a thread that only the parent has.
        self._check_usable()
        with self._lock:
            self._check_usable()
            yield

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"this classifier was loaded in process {self._process}, and a fork of it cannot be used: "
                "load it again in each process, and start processes by 'spawn'"
            )
        if self._closed:
            raise RuntimeError("this classifier is closed; load it again")


def _explained(path: str, error: Exception, unexpected: Unexpected | None) -> Failure:
    """Why a video failed, in one line; an error that nobody foresaw is raised unless somebody is to be told."""
    failure = failure_of(path, error)
    if failure is None and unexpected is None:
        raise error
    if unexpected is not None and not isinstance(error, (VideoError, FeaturesError)):
        unexpected(error)
    if failure is not None:
        return failure
    text = " ".join(str(error).split())[:300]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Failure("internal", f"{printable(path)}: vidcomp failed on it ({what}); please report it")
