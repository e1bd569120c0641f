"""Fit a model of the bitstream to classes of videos: all of it but its image network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidcomp.inference.device import PRECISIONS, autocast
from vidcomp.inference.in_progress import noted_beside
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import HeadInput
from vidcomp.nn.backbones.bitstream import Encoders
from vidcomp.nn.compressors import Features
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training import DataError, RequestError
from vidcomp.training.backbone import class_layers, new_backbone, plan_backbone
from vidcomp.training.cache import TensorCache, digest_of, file_key
from vidcomp.training.callbacks import Callbacks
from vidcomp.training.compressor import ask_teacher
from vidcomp.training.config import BitstreamRecipe, Paths
from vidcomp.training.dataset import View
from vidcomp.training.export import export, save_weights
from vidcomp.training.trainer import Trainer
from vidcomp.training.videos import TrainingVideo, find_training_videos
from vidcomp.transfer import Progress
from vidcomp.video import DecodeOptions, DecodePool, VideoError
from vidcomp.zoo.build import BITSTREAM, insert_compressors
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, find_manifest
from vidcomp.zoo.weights import fingerprint


@dataclass(frozen=True)
class BitstreamJob:
    """Fit a model of the bitstream, or the sibling of ``model`` that is one, to the classes of the videos."""

    model: str
    recipe: BitstreamRecipe


def train_bitstream(
    job: BitstreamJob, paths: Paths, callbacks: Callbacks | None = None, progress: Progress | None = None
) -> Manifest:
    """Fit all of a model of the bitstream but its image network; returns the result.

    It starts from the model's weights, the classifier from nothing. Raises as ``train_compressor``.
    """
    paths.check()
    manifest = bitstream_of(find_manifest(job.model))
    teacher = None if job.recipe.teacher == "none" else find_manifest(job.recipe.teacher.partition(":")[0])
    wanted = find_training_videos(
        paths.source, None if teacher is None else labels_of(teacher), taught=teacher is not None
    )
    if len(wanted.classes) < 2:
        raise DataError(f"{paths.source}: only one class, {wanted.classes[0]}; a classifier needs two to tell apart")
    planned = plan_backbone(manifest, wanted.classes)
    backbone = new_backbone(manifest, planned, job.recipe.seed, from_scratch=False, progress=progress)
    network = insert_compressors(planned, backbone)
    with DecodePool(paths.workers) as pool, noted_beside(paths.output) as in_progress:
        trainer = Trainer(job.recipe, paths, pool, callbacks, in_progress)
        dataset = GroupsDataset(network, job.recipe, pool, trainer.cache, trainer.device)
        videos = trainer.read(
            wanted, network, max_frames=planned.max_frames, clips=False, head_trained=True, dataset=dataset
        )
        taught: dict[str, Tensor] = {}
        if teacher is not None:
            taught = ask_teacher(trainer, job.recipe.teacher.partition(":")[2] or "whole", teacher, videos)
            videos = [video for video in videos if video.path in taught]
        trainer.read_validation(wanted.classes)
        encoders = encoders_of(network)
        rows = trainer.fit(
            [*encoders.learning, *list(network.segments)[1:]],
            videos,
            {"model": fingerprint(manifest)},
            taught=taught,
            named_in=backbone,
            new=tuple(class_layers(planned)),
        )
    return export(
        planned,
        paths,
        rows,
        "train bitstream",
        summary=f"{manifest.name} fitted to {len(wanted.classes)} classes",
        backbone=planned.backbone.model_copy(update={"weights": save_weights(backbone, paths.weights())}),
    )


def bitstream_of(manifest: Manifest) -> Manifest:
    """The manifest, or that of its sibling, of the family that looks at bitstreams.

    Raises:
        RequestError: neither is.
    """
    if manifest.backbone.family == BITSTREAM:
        return manifest
    if BITSTREAM not in manifest.siblings:
        raise RequestError(
            f"{manifest.name}: neither a model of the bitstream nor one with such a sibling; give model=ucf16-bitstream"
        )
    return find_manifest(manifest.siblings[BITSTREAM])


def encoders_of(network: CompressedModel) -> Encoders:
    """The encoders of a model of the bitstream."""
    return next(part for part in network.head.modules() if isinstance(part, Encoders))


class GroupsDataset:
    """Views of videos as groups of pictures: what the image network, which stays, made of them, and their P-frames.

    Both are kept in the cache, of the picture as it is and mirrored; everything else is changed view by view. Nothing
    is ever played backwards: what was predicted from what would be wrong.
    """

    turned_away = 0
    readable: list[TrainingVideo]

    def __init__(
        self,
        network: CompressedModel,
        recipe: BitstreamRecipe,
        pool: DecodePool,
        cache: Callable[[str], TensorCache],
        device: torch.device,
    ) -> None:
        self._spec, self._recipe, self._pool, self._device = network.input_spec, recipe, pool, device
        # A copy, as it is before anything learns.
        self._encoders = encoders_of(Runner(network, device, precision="fp32").network)  # type: ignore[arg-type]
        weights = {
            name: float(tensor.double().sum()) for name, tensor in self._encoders.image.network.named_parameters()
        }
        kind = {"what": "groups by name", "spec": repr(self._spec), "every": self._encoders.every, "image": weights}
        self._cache = cache(digest_of(kind))

    def prepare(self, videos: Iterable[TrainingVideo]) -> Iterator[tuple[TrainingVideo, VideoError | None]]:
        """Read every video once, and tell which cannot be read."""

        def read(video: TrainingVideo) -> tuple[TrainingVideo, VideoError | None]:
            try:
                for mirrored in (False, True) if self._recipe.flip else (False,):
                    self._kept(video, mirrored=mirrored)
            except VideoError as error:
                return video, error
            return video, None

        yield from self._pool.map(read, videos)
        self.turned_away = self._cache.turned_away

    def view(self, video: TrainingVideo, random: np.random.Generator, subsampling: int = 1) -> View:
        """Consecutive groups of a video, as many as the recipe's ``longest``: a batch of one for ``Encoders.forward``.

        Raises:
            VideoError: it can no longer be read.
        """
        mirrored = self._recipe.flip and bool(random.random() < 0.5)
        parts = self._kept(video, mirrored=mirrored)
        groups, longest = parts["image"].shape[1], self._recipe.longest
        start = int(random.integers(0, max(1, groups - longest + 1)))
        # Of a shorter video the last group is repeated, so that all of a batch run together.
        numbers = (start + torch.arange(longest)).clamp(max=groups - 1)
        parts = {name: part[:, numbers] for name, part in parts.items()}
        if len(parts) > 1:
            scale = float(random.uniform(1 / self._recipe.zoom, self._recipe.zoom))
            shift = random.uniform(-self._recipe.shift, self._recipe.shift, 2).tolist()
            parts |= {name: zoomed(parts[name], scale, shift) for name in _PICTURES if name in parts}
        return View(tuple(part.to(self._device) for part in parts.values()))

    def whole(self, video: TrainingVideo, network: CompressedModel) -> Features:
        """Features of a video as it is passed where nothing is trained.

        Raises:
            VideoError: it cannot be read.
        """
        parts = tuple(part.to(self._device) for part in self._kept(video, mirrored=False).values())
        with autocast(self._device, PRECISIONS[self._recipe.precision]), torch.no_grad():
            features: Features = network.head(parts)
        return features

    def _kept(self, video: TrainingVideo, *, mirrored: bool) -> dict[str, Tensor]:
        """What ``Encoders.prepare`` makes of all groups, in half precision on the disk."""

        def make() -> dict[str, Tensor]:
            options = DecodeOptions(self._spec.short_side, modalities=self._spec.modalities, joined=self._spec.stride)
            pieces = []
            with self._pool.open(video.path, options) as reader:
                for data in HeadInput(reader.chunks(), self._spec).data():
                    chunk = {name: torch.from_numpy(values).unsqueeze(0) for name, values in data.items()}
                    with torch.no_grad():
                        pieces.append(self._encoders.prepare(mirror(chunk) if mirrored else chunk))
            return {name: torch.cat([piece[name] for piece in pieces], dim=1).half() for name in pieces[0]}

        try:
            key = file_key(video.path)
        except OSError as error:
            raise VideoError(video.path, f"cannot be looked at ({error.strerror})") from None
        kept = self._cache.get(f"{key}-{'mirrored' if mirrored else 'as-is'}", make)
        return {name: kept[name].float() for name in self._encoders.prepared}


def mirror(chunk: dict[str, Tensor]) -> dict[str, Tensor]:
    """A chunk of groups as if the video were mirrored left to right: what moved right moves left."""
    mirrored = {name: values.flip(_WIDTH[name]) if name in _WIDTH else values for name, values in chunk.items()}
    if "motion" in mirrored:
        mirrored["motion"] = mirrored["motion"] * torch.tensor([-1.0, 1.0])
    return mirrored


_WIDTH = {"keyframes": 3, "motion": 4, "mask": 4, "residual": 4, "difference": 4}
_PICTURES = ("motion", "residual", "difference")


def zoomed(pictures: Tensor, scale: float, shift: list[float]) -> Tensor:
    """Pictures of P-frames (1, T, C, P, H, W) seen ``scale`` times as large, and from ``shift`` (x, y) of half a side.

    Motion, which has three channels, the last of them its mask, becomes as much larger, within ±1.
    """
    flat = pictures.flatten(0, 3).unsqueeze(0)
    theta = torch.tensor([[[1 / scale, 0, shift[0]], [0, 1 / scale, shift[1]]]])
    grid = F.affine_grid(theta, [1, 1, *pictures.shape[4:]], align_corners=False)
    seen = F.grid_sample(flat, grid, align_corners=False)[0].view_as(pictures)
    if pictures.shape[2] == 3:
        seen = torch.cat([(seen[:, :, :2] * scale).clamp(-1, 1), seen[:, :, 2:]], dim=2)
    return seen
