"""The loop: epochs of steps, checkpoints between them, and an end that leaves nothing half done.

All chance follows from the seed, the epoch and the step, never from what ran before, so that a training which goes on
from its checkpoint is the one that was never stopped, bit for bit on the same machine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidcomp.nn.compressors import FeaturesError
from vidcomp.training.checkpoint import Checkpoint, Position
from vidcomp.training.config import BackboneRecipe, CompressorRecipe, Recipe
from vidcomp.training.dataset import Examples
from vidcomp.training.decoding import Decoders
from vidcomp.training.errors import Interrupted, TrainingError
from vidcomp.training.log import Log
from vidcomp.training.objective import Example, Learner, compute, set_tau
from vidcomp.training.optimizer import Optimizer
from vidcomp.training.videos import TrainingVideo
from vidcomp.video import VideoError

_ORDER, _VIEW, _MIX, _SUBSAMPLING = range(4)  # what chance is for


@dataclass(frozen=True)
class Progress:
    """A step is done: where training is, and the running epoch's mean loss and share of right labels."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Validation:
    """Videos that are not trained on, to be looked at after each epoch with each of ``taus`` (``None``: as it is)."""

    videos: Sequence[TrainingVideo]
    taus: Sequence[float | None]


class Fit:
    """One training: what learns, on which videos, and where it is kept."""

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        videos: Sequence[TrainingVideo],
        recipe: Recipe,
        decoders: Decoders,
        *,
        taught: dict[str, Tensor] | None = None,
        validation: Validation | None = None,
        checkpoint: Checkpoint | None = None,
        log: Log | None = None,
        done: Callable[[Progress], None] = lambda progress: None,
        epoch_done: Callable[[dict[str, float]], None] = lambda row: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the first step.

        Args:
            learner: what learns.
            examples: makes views of the videos.
            videos: to learn from.
            recipe: all numbers.
            decoders: loads ahead.
            taught: a teacher's probabilities (classes,) of videos, by path.
            validation: videos to judge by.
            checkpoint: where the state is kept, if anywhere.
            log: where epochs are written, if anywhere.
            done: called after each step.
            epoch_done: called after each epoch with its line of the log.
            stopping: asked after each step whether to stop.
        """
        self._learner = learner
        self._examples = examples
        self._videos = videos
        self._recipe = recipe
        self._decoders = decoders
        self._taught = taught or {}
        self._validation = validation
        self._checkpoint = checkpoint
        self._log = log
        self._done = done
        self._epoch_done = epoch_done
        self._stopping = stopping
        self._steps = -(-len(videos) // recipe.batch)
        self._optimizer = Optimizer(learner.parameters(), recipe, self._steps, learner.new)
        self._scaler = torch.amp.GradScaler(learner.device.type, enabled=recipe.precision == "float16")
        self.position = Position()

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises:
            TrainingError: it is damaged or of another training.
        """
        assert self._checkpoint is not None
        self.position, state = self._checkpoint.read()
        self._learner.restore(state["learner"])
        self._optimizer.torch.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def run(self) -> list[dict[str, float]]:
        """Train to the last epoch; returns the epochs' lines of the log. The network then holds what is kept.

        Raises:
            Interrupted: it was asked to stop, and the checkpoint is written.
            TrainingError: a loss is not finite, or a file can no longer be read or written.
        """
        for epoch in range(self.position.epoch, self._recipe.epochs):
            self._epoch(epoch)
        self._learner.keep()
        return self.position.rows

    def _epoch(self, epoch: int) -> None:
        at = self.position
        began = time.monotonic() - at.seconds
        order = self._chance(_ORDER, epoch).permutation(len(self._videos))
        chosen = [(epoch, place // self._recipe.batch, int(index)) for place, index in enumerate(order)]
        chosen = chosen[at.step * self._recipe.batch :]
        rate = 0.0
        self._learner.train()
        batch: list[Example] = []
        with contextlib.closing(self._decoders.ahead(self._load, chosen)) as loaded:
            for number, example in enumerate(loaded, 1):
                batch.append(example)
                if len(batch) < self._recipe.batch and number < len(chosen):
                    continue
                rate = self._step(epoch, batch)
                at.seconds = time.monotonic() - began
                batch = []
                if at.step < self._steps and self._stopping():
                    self._save()
                    raise Interrupted(f"stopped in epoch {epoch + 1} after {at.step} of {self._steps} steps")
        row = {
            "epoch": epoch + 1.0,
            "loss": at.loss / at.videos,
            "accuracy": at.right / at.videos,
            "learning_rate": rate,
            **self._judge(),
            "seconds": round(time.monotonic() - began, 1),
        }
        self.position = Position(epoch + 1, rows=[*at.rows, row])
        self._save()
        if self._log is not None:
            self._log.write(self.position.rows)
        self._epoch_done(row)
        if epoch + 1 < self._recipe.epochs and self._stopping():
            raise Interrupted(f"stopped after epoch {epoch + 1} of {self._recipe.epochs}")

    def _step(self, epoch: int, batch: list[Example]) -> float:
        at = self.position
        # Dropout draws from here.
        torch.manual_seed(int(self._chance(_MIX, epoch, at.step, 1).integers(2**63)))
        rate = self._optimizer.begin(epoch, at.step)
        try:
            result = self._learner.learn(batch, self._chance(_MIX, epoch, at.step), self._scaler)
        except TrainingError as error:
            raise TrainingError(f"epoch {epoch + 1}, step {at.step + 1}: {error}") from None
        self._optimizer.finish(self._scaler)
        self._learner.average(epoch * self._steps + at.step)
        at.step += 1
        at.loss += result.loss
        at.right += result.right
        at.videos += result.videos
        self._done(
            Progress(epoch + 1, self._recipe.epochs, at.step, self._steps, at.loss / at.videos, at.right / at.videos)
        )
        return rate

    def _load(self, chosen: tuple[int, int, int]) -> Example:
        epoch, step, index = chosen
        video = self._videos[index]
        random = self._chance(_VIEW, epoch, index)
        tau = float(random.choice(self._recipe.taus)) if isinstance(self._recipe, CompressorRecipe) else None
        subsampling = 1
        if isinstance(self._recipe, BackboneRecipe):
            # One for all of a step, so that they run together.
            subsampling = int(self._chance(_SUBSAMPLING, epoch, step).choice(self._recipe.temporal_subsampling))
        try:
            view = self._examples.view(video, random, subsampling)
        except VideoError as error:
            raise TrainingError(f"{error}; put it back, and go on with resume=True") from None
        return Example(video.path, view.features, video.label, self._taught.get(video.path), tau, view.own)

    @torch.no_grad()
    def _judge(self) -> dict[str, float]:
        """Share of validation videos named rightly, for each τ; NaN and infinity are no right answer."""
        if self._validation is None:
            return {}
        right = [0] * len(self._validation.taus)
        with self._learner.as_kept():
            for video in self._validation.videos:
                features = self._examples.whole(video, self._learner.network)
                for number, tau in enumerate(self._validation.taus):
                    set_tau(self._learner.network, tau)
                    with compute(self._recipe.precision, self._learner.device), contextlib.suppress(FeaturesError):
                        logits = self._learner.network.finish(features).logits
                        right[number] += bool(logits.isfinite().all()) and int(logits.argmax()) == video.label
        names = ["val_accuracy" if tau is None else f"val_accuracy_tau{tau:g}" for tau in self._validation.taus]
        return {name: count / len(self._validation.videos) for name, count in zip(names, right, strict=True)}

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "learner": self._learner.state(),
            "optimizer": self._optimizer.torch.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        self._checkpoint.write(self.position, state)

    def _chance(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self._recipe.seed, *what])
