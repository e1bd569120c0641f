"""One training: readable videos, epochs of steps, checkpoints between them, and an end that leaves nothing half done.

All chance follows from the seed, the epoch and the step, never from what ran before, so that a training that continues
from its checkpoint is the one that was never stopped, bit for bit on the same machine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vidcomp.files import counted
from vidcomp.inference.device import PRECISIONS, autocast, choose_device, choose_precision, precision_name
from vidcomp.inference.in_progress import InProgress
from vidcomp.nn.compressors import Features, FeaturesError
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training import DataError, Interrupted, RequestError, TrainingError
from vidcomp.training.cache import TensorCache, digest_of
from vidcomp.training.callbacks import Callbacks, EpochLog, StepState
from vidcomp.training.config import BackboneRecipe, CompressorRecipe, Paths, Recipe
from vidcomp.training.dataset import Dataset, View
from vidcomp.training.export import Checkpoint, Position
from vidcomp.training.objective import Example, Objective, set_tau
from vidcomp.training.optimizer import HINTS, Optimizer, rate_factor
from vidcomp.training.videos import TrainingVideo, TrainingVideos, check_classes, find_training_videos
from vidcomp.video import DecodePool, VideoError

_ORDER, _VIEW, _MIX, _SUBSAMPLING = range(4)  # what chance is for


class AnyDataset(Protocol):
    """Where a training's views come from: see :class:`Dataset`."""

    readable: list[TrainingVideo]

    @property
    def turned_away(self) -> int: ...  # noqa: D102
    def prepare(  # noqa: D102
        self, videos: Iterable[TrainingVideo]
    ) -> Iterator[tuple[TrainingVideo, VideoError | None]]: ...
    def view(self, video: TrainingVideo, random: np.random.Generator, subsampling: int = 1) -> View: ...  # noqa: D102
    def whole(self, video: TrainingVideo, network: CompressedModel) -> Features: ...  # noqa: D102


_GB = 1e9


class Trainer:
    """Fits parts of one network to videos, be they its compressors or the stages of its backbone."""

    def __init__(
        self,
        recipe: Recipe,
        paths: Paths,
        pool: DecodePool,
        callbacks: Callbacks | None = None,
        in_progress: InProgress | None = None,
    ) -> None:
        """Find the device.

        Args:
            recipe: all numbers.
            paths: where it reads and writes, and on which device it runs.
            pool: where frames come from.
            callbacks: who is notified.
            in_progress: remembers which video was being read, should the program be killed.

        Raises:
            RequestError: the device is not there, or cannot compute in the recipe's precision.
        """
        self.paths = paths
        self.callbacks = callbacks or Callbacks()
        self.in_progress = in_progress or InProgress()
        try:
            self.device = choose_device(paths.device)
            precision = precision_name(choose_precision(recipe.precision, self.device))
        except ValueError as error:
            raise RequestError(str(error)) from None
        self.recipe = recipe.model_copy(update={"precision": precision})
        self._pool = pool
        self._taus: Sequence[float | None] = (None,)
        self._validation: list[TrainingVideo] = []

    def cache(self, digest: str) -> TensorCache:
        """The cache of tensors of one kind."""
        return TensorCache(digest, self.paths.cache_gb * _GB, self.paths.cache)

    def advance(self) -> None:
        """One more video is done; raises Interrupted if that is enough."""
        self.callbacks.advance()
        if self.callbacks.stopping():
            raise Interrupted("stopped before the first epoch")

    def read(
        self,
        wanted: TrainingVideos,
        network: CompressedModel,
        *,
        max_frames: int,
        clips: bool,
        head_trained: bool,
        dataset: AnyDataset | None = None,
    ) -> list[TrainingVideo]:
        """Those of the videos that can be read; the others are told, and a class without any is an error.

        Args:
            wanted: the videos.
            network: what will be fitted; its head, as it is now, makes the features that are kept.
            max_frames: frames of a file up to which it is passed whole where nothing is trained.
            clips: whether a view is one clip of the network's clip length, or the whole video.
            head_trained: whether the head will change, so that views must stay pixels.
            dataset: where views come from, if not from frames.

        Raises:
            DataError: there is such a class.
            Interrupted: it was asked to stop.
        """
        self._network = network
        self._head_trained = head_trained
        self._dataset: AnyDataset = dataset or Dataset(
            network,
            self.recipe,
            self._pool,
            self.cache,
            self.device,
            clips=clips,
            head_trained=head_trained,
            max_frames=max_frames,
        )
        for note in wanted.notes:
            self.callbacks.note(note)
        self.callbacks.begin("reading videos", len(wanted.videos))
        skipped = set()
        for video, error in self._prepared(wanted.videos):
            if error is not None:
                skipped.add(video)
                self.callbacks.skipped(str(error))
            self.advance()
        # In the order given, whichever was read last: chance counts places.
        kept = [video for video in wanted.videos if video not in skipped]
        self._dataset.readable = kept
        check_classes(self.paths.source, wanted, kept)
        if self._dataset.turned_away and self.paths.cache_gb > 0:
            self.callbacks.note(
                f"the cache of {self.paths.cache_gb:g} GB is full: what has no room in it is computed in every epoch; "
                "allow more, or keep fewer views (views_cached)"
            )
        return kept

    def _prepared(self, videos: Sequence[TrainingVideo]) -> Iterator[tuple[TrainingVideo, VideoError | None]]:
        """Read the videos; suspects of having killed the program come last, one by one."""
        fresh, suspects = self.in_progress.parted(videos)
        for video, error in self._dataset.prepare(self.in_progress.together(fresh)):
            self.in_progress.rest(video.path)
            yield video, error
        for video in suspects:
            try:
                with self.in_progress.attempt(video.path):
                    prepared = list(self._dataset.prepare([video]))
            except VideoError as error:
                prepared = [(video, error)]
            yield from prepared

    def read_validation(self, labels: Sequence[str], taus: Sequence[float | None] = (None,)) -> None:
        """Judge each epoch by the validation videos, if there are any, with each of ``taus`` (``None``: as it is).

        Raises:
            DataError: none of them can be read.
            Interrupted: it was asked to stop.
        """
        self._taus = taus
        if self.paths.val is None:
            return
        wanted = find_training_videos(self.paths.val, labels)
        self.callbacks.begin("reading validation videos", len(wanted.videos))
        for video in wanted.videos:
            try:
                with self.in_progress.attempt(video.path):
                    self._dataset.whole(video, self._network)
                self._validation.append(video)
            except VideoError as error:
                self.callbacks.skipped(str(error))
            self.advance()
        if not self._validation:
            raise DataError(f"{self.paths.val}: none of its videos can be read; see the lines above")

    def fit(
        self,
        parts: Sequence[nn.Module],
        videos: Sequence[TrainingVideo],
        identity: Mapping[str, str],
        *,
        taught: Mapping[str, Tensor] | None = None,
        hints: Mapping[str, Tensor] | None = None,
        frozen_bn: Sequence[nn.Module] = (),
        named_in: nn.Module | None = None,
        new: Sequence[str] = (),
    ) -> list[dict[str, float]]:
        """Train to the last epoch, from the checkpoint where asked; the network then holds what is kept.

        Args:
            parts: modules of the network that learn.
            videos: to learn from.
            identity: what a checkpoint must agree in, by name, beside the recipe and the videos.
            taught: a teacher's probabilities (classes,) of videos, by path.
            hints: another network's features (C,) of videos, by path.
            frozen_bn: those of ``parts`` whose BatchNorm keeps its statistics.
            named_in: the module whose names of parameters count, by default the network.
            new: parts of names of parameters that start from nothing.

        Returns:
            The epochs' lines of the log.

        Raises:
            Interrupted: it was asked to stop, and the checkpoint is written.
            TrainingError: a loss is not finite, a file can no longer be read or written, or the checkpoint is damaged
                or of another training.
        """
        # What a step takes follows from the recipe: each video alone has shown by now that it kills nobody.
        self.in_progress.complete()
        self._videos = videos
        self._taught = taught or {}
        self._steps = -(-len(videos) // self.recipe.batch)
        self._objective = Objective(
            self._network,
            parts,
            self.recipe,
            self.device,
            from_clips=self._head_trained,
            frozen_bn=frozen_bn,
            hints=hints,
        )
        named = [pair for pair in (named_in or self._network).named_parameters() if pair[1].requires_grad]
        if self._objective.hints is not None:
            named += self._objective.hints.named_parameters(prefix=HINTS)
        self._optimizer = Optimizer(self._objective.parts, named, self.recipe, self._steps, new, self.device)
        self._log = EpochLog(self.paths.log, self.paths.tensorboard)
        kept_apart = {
            "recipe": digest_of(self.recipe.model_dump()),
            "set of videos": digest_of({"videos": [(video.path, video.label) for video in videos]}),
        }
        self._checkpoint = Checkpoint(self.paths.checkpoint, {**identity, **kept_apart})
        self._position = Position()
        if self.paths.resume and self.paths.checkpoint.exists():
            self._position, state = self._checkpoint.read()
            self._optimizer.load_state_dict(state)
            self.callbacks.note(f"going on after epoch {self._position.epoch}, step {self._position.step}")
        elif self.paths.resume:
            self.callbacks.note(f"{self.paths.checkpoint} is not there: starting from the first epoch")
        for epoch in range(self._position.epoch, self.recipe.epochs):
            self._epoch(epoch)
        self._optimizer.keep()
        return self._position.rows

    def _epoch(self, epoch: int) -> None:
        at, batch_size = self._position, self.recipe.batch
        began = time.monotonic() - at.seconds
        order = self._chance(_ORDER, epoch).permutation(len(self._videos))
        chosen = [(epoch, place // batch_size, int(index)) for place, index in enumerate(order)][at.step * batch_size :]
        self._objective.train()
        batch: list[Example] = []
        with contextlib.closing(self._pool.map(self._load, chosen)) as loaded:
            for number, example in enumerate(loaded, 1):
                batch.append(example)
                if len(batch) < batch_size and number < len(chosen):
                    continue
                self._step(epoch, batch)
                at.seconds = time.monotonic() - began
                batch = []
                if at.step < self._steps and self.callbacks.stopping():
                    self._save()
                    raise Interrupted(f"stopped in epoch {epoch + 1} after {at.step} of {counted(self._steps, 'step')}")
        row = {
            "epoch": epoch + 1.0,
            "loss": at.loss / at.videos,
            "accuracy": at.right / at.videos,
            "learning_rate": self.recipe.learning_rate * rate_factor(self.recipe, epoch, at.step - 1, self._steps),
            **self._judge(),
            "seconds": round(time.monotonic() - began, 1),
        }
        self._position = Position(epoch + 1, rows=[*at.rows, row])
        self._save()
        self._log.write(self._position.rows)
        self.callbacks.epoch(row)
        if epoch + 1 < self.recipe.epochs and self.callbacks.stopping():
            raise Interrupted(f"stopped after epoch {epoch + 1} of {self.recipe.epochs}")

    def _step(self, epoch: int, batch: list[Example]) -> None:
        at = self._position
        # Dropout draws from here.
        torch.manual_seed(int(self._chance(_MIX, epoch, at.step, 1).integers(2**63)))
        try:
            result = self._objective.learn(batch, self._chance(_MIX, epoch, at.step), self._optimizer.backward)
        except TrainingError as error:
            raise TrainingError(f"epoch {epoch + 1}, step {at.step + 1}: {error}") from None
        self._optimizer.step()
        at.step += 1
        at.loss += result.loss
        at.right += result.right
        at.videos += len(batch)
        self.callbacks.step(
            StepState(epoch + 1, self.recipe.epochs, at.step, self._steps, at.loss / at.videos, at.right / at.videos)
        )

    def _load(self, chosen: tuple[int, int, int]) -> Example:
        epoch, step, index = chosen
        video = self._videos[index]
        random = self._chance(_VIEW, epoch, index)
        tau = float(random.choice(self.recipe.taus)) if isinstance(self.recipe, CompressorRecipe) else None
        subsampling = 1
        if isinstance(self.recipe, BackboneRecipe):
            # One for all of a step, so that they run together.
            subsampling = int(self._chance(_SUBSAMPLING, epoch, step).choice(self.recipe.temporal_subsampling))
        try:
            view = self._dataset.view(video, random, subsampling)
        except VideoError as error:
            raise TrainingError(f"{error}; put it back, and continue with resume=True") from None
        return Example(video.path, view.features, video.label, self._taught.get(video.path), tau, view.own)

    @torch.no_grad()
    def _judge(self) -> dict[str, float]:
        """Share of validation videos named rightly, for each τ; NaN and infinity are no right answer."""
        if not self._validation:
            return {}
        right = [0] * len(self._taus)
        with self._optimizer.as_kept():
            for video in self._validation:
                features = self._dataset.whole(video, self._network)
                for number, tau in enumerate(self._taus):
                    set_tau(self._network, tau)
                    with autocast(self.device, PRECISIONS[self.recipe.precision]), contextlib.suppress(FeaturesError):
                        logits = self._network.finish(features).logits
                        right[number] += bool(logits.isfinite().all()) and int(logits.argmax()) == video.label
        names = ["val_accuracy" if tau is None else f"val_accuracy_tau{tau:g}" for tau in self._taus]
        return {name: count / len(self._validation) for name, count in zip(names, right, strict=True)}

    def _save(self) -> None:
        self._checkpoint.write(self._position, self._optimizer.state_dict())

    def _chance(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, *what])
