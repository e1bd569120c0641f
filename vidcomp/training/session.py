"""What every training does around its epochs: devices, caches, readable videos, the checkpoint to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidcomp.inference.device import choose_device
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training.cache import TensorCache, digest_of
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.checkpoint import Checkpoint
from vidcomp.training.config import Recipe
from vidcomp.training.dataset import Examples
from vidcomp.training.decoding import Decoders
from vidcomp.training.errors import DataError, Interrupted, RequestError
from vidcomp.training.log import Log
from vidcomp.training.objective import Learner, check_precision
from vidcomp.training.paths import Paths
from vidcomp.training.trainer import Fit, Validation
from vidcomp.training.videos import TrainingVideo, TrainingVideos, check_classes, find_labelled
from vidcomp.video import VideoError
from vidcomp.zoo.manifest import Manifest

_GB = 1e9


@dataclass
class Session:
    """What both kinds of training do, in the order in which they do it."""

    paths: Paths
    recipe: Recipe
    reporter: Callbacks
    decoders: Decoders
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        try:
            self.device = choose_device(self.paths.device)
        except ValueError as error:
            raise RequestError(str(error)) from None
        check_precision(self.recipe.precision, self.device)

    def cache(self, digest: str) -> TensorCache:
        """The cache of tensors of one kind."""
        return TensorCache(digest, self.paths.cache_gb * _GB, self.paths.cache)

    def examples(self, network: CompressedModel, manifest: Manifest, *, clips: bool, head_trained: bool) -> Examples:
        """What makes views for ``network``; the arguments are those of :class:`Examples`."""
        return Examples(
            network,
            self.recipe,
            self.decoders,
            self.cache,
            self.device,
            clips=clips,
            head_trained=head_trained,
            max_frames=manifest.max_frames,
        )

    def readable(self, examples: Examples, wanted: TrainingVideos) -> list[TrainingVideo]:
        """Those of the videos that can be read; the others are told, and a class without any is an error."""
        for note in wanted.notes:
            self.reporter.note(note)
        self.reporter.begin("reading videos", len(wanted.videos))
        kept = []
        for video, error in examples.prepare(wanted.videos):
            if error is None:
                kept.append(video)
            else:
                self.reporter.skipped(str(error))
            self.advance()
        check_classes(self.paths.source, wanted, kept)
        if examples.turned_away and self.paths.cache_gb > 0:
            self.reporter.note(
                f"the cache of {self.paths.cache_gb:g} GB is full: what has no room in it is computed in every epoch; "
                "allow more, or keep fewer views (views_cached)"
            )
        return kept

    def validation(
        self, examples: Examples, network: CompressedModel, labels: Sequence[str], taus: Sequence[float | None]
    ) -> Validation | None:
        """The videos to judge by, each read once; ``None`` where none are named."""
        if self.paths.val is None:
            return None
        wanted = find_labelled(self.paths.val, labels)
        self.reporter.begin("reading validation videos", len(wanted.videos))
        kept = []
        for video in wanted.videos:
            try:
                examples.whole(video, network)
                kept.append(video)
            except VideoError as error:
                self.reporter.skipped(str(error))
            self.advance()
        if not kept:
            raise DataError(f"{self.paths.val}: none of its videos can be read; see the lines above")
        return Validation(kept, taus)

    def advance(self) -> None:
        """One more video is done; raises Interrupted if that is enough."""
        self.reporter.advance()
        if self.reporter.stopping():
            raise Interrupted("stopped before the first epoch")

    def fit(
        self,
        learner: Learner,
        examples: Examples,
        videos: Sequence[TrainingVideo],
        validation: Validation | None,
        identity: dict[str, str],
        taught: dict[str, Tensor] | None = None,
    ) -> list[dict[str, float]]:
        """Train, from the checkpoint where asked; ``identity`` is what a checkpoint must agree in, by name."""
        identity = identity | {
            "recipe": digest_of(self.recipe.model_dump()),
            "set of videos": digest_of({"videos": [(video.path, video.label) for video in videos]}),
        }
        fit = Fit(
            learner,
            examples,
            videos,
            self.recipe,
            self.decoders,
            taught=taught,
            validation=validation,
            checkpoint=Checkpoint(self.paths.checkpoint, identity),
            log=Log(self.paths.log, self.paths.tensorboard),
            done=self.reporter.step,
            epoch_done=self.reporter.epoch,
            stopping=self.reporter.stopping,
        )
        if self.paths.resume and self.paths.checkpoint.exists():
            fit.resume()
            self.reporter.note(f"going on after epoch {fit.position.epoch}, step {fit.position.step}")
        elif self.paths.resume:
            self.reporter.note(f"{self.paths.checkpoint} is not there: starting from the first epoch")
        return fit.run()
