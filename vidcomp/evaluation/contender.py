"""One row while it is being measured: a network, the way videos pass through it, and what was seen so far."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress

import torch

from vidcomp.evaluation.accuracy import active_bins, pass_costs
from vidcomp.evaluation.cost import parameters
from vidcomp.evaluation.energy import EnergyMeter
from vidcomp.evaluation.machine import host_memory_bytes
from vidcomp.evaluation.memory import PeakMemory, largest_that_fits
from vidcomp.inference.classifier import OUT_OF_MEMORY, Classifier
from vidcomp.inference.prediction import ForwardStats, Label
from vidcomp.inference.runner import dummy_clip
from vidcomp.inference.strategies import DenseViews, Strategy, WholeVideo
from vidcomp.nn.compressors import SFC, FeaturesError
from vidcomp.video import DecodeOptions, DecodeWorker, Frames
from vidcomp.zoo.build import LoadedModel, build_network

_KEPT_LABELS = 5


class Contender:
    """Measures one strategy, video by video.

    ``model_s``, ``end_to_end_s`` and ``energy_j`` hold, for every round, one number for each video timed in it;
    ``passes``, ``gmacs`` and ``peaks`` (bytes) one for each video that was labelled; ``labels`` and ``errors`` go by
    the video's path. Close it when done: it owns decoding processes.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy | None,
        model: LoadedModel,
        *,
        trained: bool,
        device: str,
        meter: EnergyMeter,
        decode_timeout_s: float | None = None,
    ) -> None:
        self.name = name
        self.strategy = strategy or WholeVideo()
        self.manifest = model.manifest
        self.trained = trained
        self.kinds = tuple(str(compressor.kind) for compressor in model.network.compressors)
        self.tau = next(
            (compressor.tau for compressor in model.network.compressors if isinstance(compressor, SFC)), None
        )
        with torch.device("meta"):
            self.params = int(parameters(build_network(model.manifest)).total)
        self.cost = pass_costs(model.manifest)
        self.classifier = Classifier(model, device=device, strategy=self.strategy, decode_timeout_s=decode_timeout_s)
        self.meter = meter
        self._worker = DecodeWorker()
        self.passes: list[ForwardStats] = []
        self.gmacs: list[float] = []
        self.peaks: list[int] = []
        self.labels: dict[str, tuple[Label, ...]] = {}
        self.errors: dict[str, str] = {}
        self.model_s: defaultdict[int, list[float]] = defaultdict(list)
        self.end_to_end_s: defaultdict[int, list[float]] = defaultdict(list)
        self.energy_j: defaultdict[int, list[float]] = defaultdict(list)

    @property
    def is_dense(self) -> bool:
        """Whether this row can be the one that others are compared with."""
        return isinstance(self.strategy, DenseViews)

    def close(self) -> None:
        """End the decoding processes."""
        self.classifier.close()
        self._worker.close()

    def warm_up(self) -> None:
        """Run the network once on noise: kernels are chosen and threads started before anything is measured."""
        runner, spec = self.classifier.runner, self.classifier.runner.spec
        side = spec.crop if self.is_dense else spec.whole_side
        clip = dummy_clip(spec.clip_frames, side, side)
        # What the network makes of noise is nobody's answer.
        with suppress(FeaturesError):
            if self.is_dense:
                runner.probabilities(runner.tensor(clip))
            else:
                runner.whole([clip])
        runner.synchronise()

    def label(self, path: str) -> None:
        """Classify a video from its file, once: labels, passes, GMACs, peak memory, or why that is impossible."""
        memory = PeakMemory(self.classifier.runner.device)
        try:
            with memory:
                prediction = self.classifier.classify(path)
        except RuntimeError as error:
            # A picture or clip that the network's kernels do not fit: this row's answer, not the end.
            self.errors[path] = f"{self.name}: {path}: {str(error).splitlines()[0]}"
            return
        if prediction.error is not None or prediction.passes is None:
            message = prediction.error.message if prediction.error is not None else "no answer"
            # What no row can read is said once; what this row could not compute is its own.
            unread = prediction.error is not None and prediction.error.kind not in (OUT_OF_MEMORY, FeaturesError.kind)
            self.errors[path] = message if unread else f"{self.name}: {message}"
            return
        self.labels[path] = prediction.labels[:_KEPT_LABELS]
        self.passes.append(prediction.passes)
        self.gmacs.append(self.cost(prediction.passes, active_bins(prediction)))
        if memory.bytes is not None:
            self.peaks.append(memory.bytes)

    def time_model(self, path: str, round_number: int) -> None:
        """Time the model alone: frames decoded before, normalisation and all passes within, device synchronised."""
        runner, strategy = self.classifier.runner, self.strategy
        chunks, count = self._decoded(path)

        def run() -> None:
            strategy.run(runner, chunks, count)
            runner.synchronise()

        runner.synchronise()
        seconds, joules = self.meter.measure(run)
        self.model_s[round_number].append(seconds)
        if joules is not None:
            self.energy_j[round_number].append(joules)

    def time_end_to_end(self, path: str, round_number: int) -> None:
        """Time everything from the file to the labels, decoding beside the model as it usually is."""
        began = time.perf_counter()
        prediction = self.classifier.classify(path)
        seconds = time.perf_counter() - began
        if prediction.ok:
            self.end_to_end_s[round_number].append(seconds)

    def fits_at_once(self) -> int | None:
        """How many videos like the largest one seen the device's memory holds in flight beside the model.

        On CUDA it is searched with batches of that many videos, grouped as its views are; on a CPU
        it is the memory that this process may use, less the weights, divided by the peak of one video.
        """
        if not self.passes:
            return None
        runner = self.classifier.runner
        if runner.device.type == "cuda":
            largest = max(self.passes, key=lambda passes: passes.frames * passes.height * passes.width)
            return largest_that_fits(lambda videos: self._batch_fits(largest, videos))
        memory, peak = host_memory_bytes(), max(self.peaks, default=0)
        if memory is None or peak <= 0:
            return None
        weights = sum(tensor.nbytes for tensor in runner.network.state_dict().values())
        return max(0, int((memory - weights) // peak))

    def _batch_fits(self, passes: ForwardStats, videos: int) -> bool:
        runner = self.classifier.runner
        at_once = min(passes.count, runner.clips_at_once.most) if self.is_dense else 1
        try:
            shape = (videos * at_once, 3, passes.frames, passes.height, passes.width)
            clips = torch.zeros(shape, device=runner.device)
            with torch.inference_mode():
                if self.is_dense:
                    runner.network(clips)
                else:
                    runner.network.finish(runner.network.encode(clips.split(runner.chunk_frames, dim=2)))
            runner.synchronise()
        except torch.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    def _decoded(self, path: str) -> tuple[list[Frames], int]:
        """All frames that the strategy wants of a video, and how many the video has where the strategy must know."""
        runner, strategy, limit = self.classifier.runner, self.strategy, self.classifier.decode_timeout_s
        count = 0
        if strategy.needs_count:
            count = self._worker.count(path, runner.spec.fps, timeout_s=limit)
        options = DecodeOptions(
            runner.spec.short_side, strategy.select(runner.spec, count), chunk_frames=runner.chunk_frames
        )
        with self._worker.open(path, options, timeout_s=limit) as reader:
            return list(reader.chunks()), count
