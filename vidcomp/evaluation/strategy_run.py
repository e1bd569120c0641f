"""One strategy while it is being measured: its network, how videos pass through it, and what was seen so far."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch

from vidcomp.evaluation.benchmark import EnergyMeter, PeakMemory, host_memory_bytes, largest_that_fits
from vidcomp.evaluation.cost import Accumulates, ModelCost
from vidcomp.inference.classifier import OUT_OF_MEMORY, Classifier
from vidcomp.inference.prediction import ForwardStats, Label, Prediction
from vidcomp.inference.runner import dummy_chunk, dummy_clip
from vidcomp.inference.strategies import DenseViews, WholeVideo
from vidcomp.nn.compressors import FeaturesError, RatioCompressor
from vidcomp.transfer import Progress
from vidcomp.video import Frames
from vidcomp.zoo import WeightsError
from vidcomp.zoo.build import LoadedModel, build_network, load_variant
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest

_KEPT_LABELS = 5
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What labeling one video told: the best labels, and what they cost.

    ``active_bins`` is how many frames a compressor that groups them (SGS) kept, ``None`` where there is none;
    ``peak_bytes`` is the peak memory, ``None`` where it was not measured; ``accumulates`` are those of spikes, ``None``
    where no neuron spikes or they were not counted. ``seconds`` is from the file to the labels, ``None`` where the next
    videos were decoded meanwhile.
    """

    labels: tuple[Label, ...]
    passes: ForwardStats
    gmacs: float
    active_bins: int | None = None
    peak_bytes: int | None = None
    accumulates: float | None = None
    seconds: float | None = None


class StrategyRun:
    """Measures one strategy, video by video.

    ``observations`` and ``errors`` go by the video's path. ``model_s``, ``end_to_end_s`` and ``energy_j`` hold, for
    every round, one number for each video timed in it. Close it when done: it owns decoding processes.
    """

    def __init__(self, name: str, classifier: Classifier, *, trained: bool = True) -> None:
        self.name = name
        self.classifier = classifier
        self.trained = trained
        self.strategy = classifier.strategy or WholeVideo()
        self.manifest = classifier.model.manifest
        compressors = classifier.runner.network.compressors
        self.kinds = tuple(str(compressor.kind) for compressor in compressors)
        self.tau = next((compressor.tau for compressor in compressors if isinstance(compressor, RatioCompressor)), None)
        self.cost = ModelCost(self.manifest)
        self.params = self.cost.params
        self._accumulates = Accumulates(classifier.runner.network)
        self.fits_at_once: int | None = None
        self.observations: dict[str, Observation] = {}
        self.errors: dict[str, str] = {}
        self.model_s: defaultdict[int, list[float]] = defaultdict(list)
        self.end_to_end_s: defaultdict[int, list[float]] = defaultdict(list)
        self.energy_j: defaultdict[int, list[float]] = defaultdict(list)
        self._meter = EnergyMeter(classifier.runner.device)

    @property
    def is_dense(self) -> bool:
        """Whether this row can be the one that others are compared with."""
        return isinstance(self.strategy, DenseViews)

    def close(self) -> None:
        """End the decoding processes."""
        self.classifier.close()

    def warm_up(self) -> None:
        """Run the network once on a dummy clip: kernels are chosen and threads started before anything is measured."""
        runner, spec = self.classifier.runner, self.classifier.runner.spec
        side = spec.crop if self.is_dense else spec.whole_side
        # What the network makes of noise is nobody's answer.
        with suppress(FeaturesError):
            if self.is_dense:
                runner.probabilities(runner.tensor(dummy_clip(spec.clip_frames, side, side)))
            else:
                runner.whole([dummy_chunk(spec, spec.clip_frames, side, side)])
        runner.synchronize()

    def label(self, path: str) -> None:
        """Classify a video from its file, with its peak memory: what it gave is kept, or why that is impossible."""
        memory = PeakMemory(self.classifier.runner.device)
        self._accumulates.take()
        began = time.perf_counter()
        try:
            with memory:
                prediction = self.classifier.classify(path)
        except RuntimeError as error:
            # A picture or clip that the network's kernels do not fit: this row's answer, not the end.
            self.errors[path] = f"{self.name}: {path}: {str(error).splitlines()[0]}"
        else:
            spent = time.perf_counter() - began
            self._keep(path, prediction, memory.bytes, self._accumulates.take(), spent)

    def label_all(self, paths: Iterable[str]) -> Iterator[str]:
        """Classify videos in order, the next ones being decoded meanwhile, without memory; yields each one's path."""
        for prediction in self.classifier.classify_all(paths):
            self._keep(prediction.path, prediction)
            yield prediction.path

    def _keep(
        self,
        path: str,
        prediction: Prediction,
        peak_bytes: int | None = None,
        accumulates: float | None = None,
        seconds: float | None = None,
    ) -> None:
        if prediction.error is not None:
            # What no row can read is said once; what this row could not compute is its own.
            own = prediction.error.kind in (OUT_OF_MEMORY, FeaturesError.kind)
            self.errors[path] = f"{self.name}: {prediction.error.message}" if own else prediction.error.message
            return
        assert prediction.passes is not None
        groups = None if prediction.attention is None else prediction.attention.groups
        self.observations[path] = Observation(
            labels=prediction.labels[:_KEPT_LABELS],
            passes=prediction.passes,
            gmacs=self.cost.gmacs(prediction.passes),
            active_bins=None if groups is None else len(groups),
            peak_bytes=peak_bytes,
            accumulates=accumulates,
            seconds=seconds,
        )

    def time_model(self, path: str, round_number: int) -> None:
        """Time the model alone: frames decoded before, normalization and all passes within, device synchronized."""
        runner, strategy = self.classifier.runner, self.strategy
        chunks, count = self._decoded(path)

        def run() -> None:
            strategy.run(runner, chunks, count)
            runner.synchronize()

        runner.synchronize()
        seconds, joules = self._meter.measure(run)
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

    def search_fits_at_once(self) -> None:
        """Find out how many videos like the largest one seen the device's memory holds in flight beside the model.

        On CUDA it is searched with batches of that many videos, grouped as the engine groups a video's views; on a CPU
        it is the memory that this process may use, less the weights, divided by the peak of one video.
        """
        if not self.observations:
            return
        runner = self.classifier.runner
        if runner.device.type == "cuda":
            passes = [observation.passes for observation in self.observations.values()]
            largest = max(passes, key=lambda one: one.frames * one.height * one.width)
            self.fits_at_once = largest_that_fits(lambda videos: self._batch_fits(largest, videos))
        elif peak := max(observation.peak_bytes or 0 for observation in self.observations.values()):
            weights = sum(tensor.nbytes for tensor in runner.network.state_dict().values())
            self.fits_at_once = max(0, (host_memory_bytes() - weights) // peak)

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
            runner.synchronize()
        except torch.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    def _decoded(self, path: str) -> tuple[list[Frames], int]:
        """All frames that the strategy wants of a video, and how many the video has where the strategy must know."""
        with self.classifier.pool.worker() as worker:
            video = self.classifier.opener.open(worker, path)
            with video.reader as reader:
                return list(reader.chunks()), video.frame_count


def default_strategies(manifest: Manifest) -> list[str]:
    """The strategies that are compared where none are named: 30 dense views, and the model's own compressors."""
    kinds = dict.fromkeys(section.kind for section in manifest.compressors if section.kind != "identity")
    return ["dense30", "+".join(kinds) or "whole"]


def load_for_measuring(
    manifest: Manifest, *, progress: Progress | None, random_weights: bool, strict: bool
) -> tuple[LoadedModel, str | None]:
    """The model with its weights; or, unless ``strict``, with random ones, the same each time, and the reason.

    The cost of random ones is true, their labels mean nothing.

    Raises:
        ManifestError: the model cannot be built.
        WeightsError: where ``strict``, there are no weights.
    """
    if random_weights:
        reason = "random weights were asked for"
    elif not manifest.backbone.has_weights and not strict:
        reason = f"{manifest.name} has no weights here (vidcomp models show {manifest.name} says where to get them)"
    else:
        try:
            return load_variant(manifest, progress), None
        except WeightsError as error:
            if strict:
                raise
            reason = str(error)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = build_network(manifest).eval()
    return LoadedModel(manifest, network, labels_of(manifest)), reason
