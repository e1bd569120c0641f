"""What a network is fitted on: augmented views of videos, as features of its frozen head wherever it has one.

A view follows from the recipe's seed, the file's name and the view's number alone, whoever makes it and whenever, so
that keeping it on disk, or not having room to, changes nothing but the time.
"""

from __future__ import annotations

import copy
import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcomp.inference.device import PRECISIONS, autocast
from vidcomp.inference.strategies import HeadInput, UniformClips
from vidcomp.nn.compressors import Features, FeaturesError
from vidcomp.nn.compressors.base import map_pathways, pathways_of
from vidcomp.nn.compressors.binning import check_finite
from vidcomp.nn.layers import fuse_bn
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training import RequestError
from vidcomp.training.cache import TensorCache, digest_of, file_key
from vidcomp.training.config import CompressorRecipe, Recipe
from vidcomp.training.videos import TrainingVideo
from vidcomp.training.views import augment, insert_distractor, make_distractor, take_clip
from vidcomp.video import DecodeOptions, DecodePool, Selection, VideoError, whole
from vidcomp.video.frames import to_input

# Frames of a video (at the model's stride) up to which all are decoded for each of its views, or kept; of a longer one
# only those that a view shows are.
_DECODED_WHOLE = 512
# Frames that pass through the head together.
_CHUNK = 8
# What of a recipe changes the views.
_VIEW_KEYS = {
    *("crop", "scale", "random_resized_crop", "min_crop_area", "color_jitter", "flip"),
    *("reverse", "camera_jitter", "random_erasing", "longest", "precision"),
}
# Clips that a view may last where only every n-th of its frames is kept.
_MOST_CLIPS = 2
# Before the names of the tensors of distractors that is kept beside a view.
_FOOTAGE = "footage"


@dataclass(frozen=True)
class View:
    """A batch of one: features, or a normalized clip (1, 3, T, H, W) where the head learns too.

    ``own`` (T,) tells the video's frames from distractors; ``None`` where there is none.
    """

    features: Features
    own: Tensor | None = None


class Dataset:
    """Views of videos, ready for what is trained: features of the frozen head, or pixels where all is trained."""

    def __init__(
        self,
        network: CompressedModel,
        recipe: Recipe,
        pool: DecodePool,
        cache: Callable[[str], TensorCache],
        device: torch.device,
        *,
        clips: bool,
        head_trained: bool,
        max_frames: int,
    ) -> None:
        """Prepare for one network.

        Args:
            network: whose head, as it is now, makes the features.
            recipe: how views are made, and in which precision (``auto`` resolved).
            pool: where frames come from.
            cache: opens the cache of tensors of one kind.
            device: where the head runs, and where examples are to be.
            clips: whether a view is one clip of the network's clip length, or the whole video.
            head_trained: whether the head changes, so that views must stay pixels.
            max_frames: frames of a file up to which it is passed whole where nothing is trained.
        """
        self._spec = network.spec
        self._recipe = recipe
        self._pool = pool
        self._device, self._dtype = device, PRECISIONS[recipe.precision]
        self._clips = clips
        self._max_frames = max_frames
        self._lock = threading.Lock()
        self._view_seed = recipe.seed if recipe.view_seed is None else recipe.view_seed
        self.readable: list[TrainingVideo] = []
        """Videos of which pictures may be laid over others, in an order that chance counts on."""
        self._distractors = recipe.distractors if isinstance(recipe, CompressorRecipe) else 0.0
        self._encoder: CompressedModel | None = None
        settings = {"spec": repr(network.spec), "clips": clips, "format": 1}
        self._frames = cache(digest_of({"what": "frames", "spec": settings["spec"]}))
        if head_trained:
            return
        self._encoder = copy.deepcopy(network).to(device).to(memory_format=torch.channels_last_3d).eval()
        views = recipe.model_dump(include=_VIEW_KEYS) | {"seed": self._view_seed}
        settings |= {"head": _hash_of(network), "recipe": views}
        if self._distractors:
            settings["footage"] = True
        self._features = cache(digest_of(settings))
        fuse_bn(self._encoder)

    @property
    def turned_away(self) -> int:
        """Tensors that found no room in the cache, and are made anew whenever they are wanted."""
        return self._frames.turned_away + (self._features.turned_away if self._encoder is not None else 0)

    def prepare(self, videos: Iterable[TrainingVideo]) -> Iterator[tuple[TrainingVideo, VideoError | None]]:
        """Read every video once, keep what there is room for, and tell which cannot be read."""
        for video, error in self._pool.map(self._prepare, videos):
            if error is None:
                self.readable.append(video)
            yield video, error

    def view(self, video: TrainingVideo, random: np.random.Generator, subsampling: int = 1) -> View:
        """One augmented view of a video; with distractors in it as often as the recipe says.

        Of a view that is not kept in the cache only every ``subsampling``-th frame is given out.

        Raises:
            VideoError: it can no longer be read.
            RequestError: there is to be distractors, and the network has several pathways.
        """
        if self._encoder is None or not self._recipe.views_cached:
            features, footage = self._made_view(video, random, subsampling=subsampling)
        else:
            features, footage = self._kept_view(video, int(random.integers(0, self._recipe.views_cached)))
        if subsampling > 1:
            features = map_pathways(features, lambda part: part[:, :, ::subsampling])
        if footage is None or random.random() >= self._distractors:
            return View(features)
        if isinstance(features, tuple) or isinstance(footage, tuple):
            raise RequestError("distractors: footage can only be put into networks of one pathway; leave it out")
        return View(*insert_distractor(features, footage, random))

    def whole(self, video: TrainingVideo, network: CompressedModel) -> Features:
        """Features of the head of ``network`` for the video as it is passed where nothing is trained.

        Raises:
            VideoError: it cannot be read.
        """
        if self._encoder is None:
            with autocast(self._device, self._dtype), torch.no_grad():
                return network.encode(self._all_frames(video.path))
        key = f"{_key(video.path)}-whole"
        kept = self._features.get(key, lambda: _pack(self._encode(video.path, self._all_frames(video.path))))
        return _unpack(kept, self._device)

    def _prepare(self, video: TrainingVideo) -> tuple[TrainingVideo, VideoError | None]:
        try:
            if self._encoder is not None and self._recipe.views_cached:
                self._prepare_views(video)
            else:
                self._pixels(video, np.random.default_rng(0))
        except VideoError as error:
            return video, error
        return video, None

    def _prepare_views(self, video: TrainingVideo) -> None:
        """Make the views that are not kept yet from one decoding; where there is no room, the first must do."""
        missing = [n for n in range(self._recipe.views_cached) if f"{_key(video.path)}-{n}" not in self._features]
        decoded: list[NDArray[np.uint8]] = []
        for number in missing:
            before = self._features.turned_away
            self._kept_view(video, number, decoded)
            if self._features.turned_away > before:
                return

    def _kept_view(
        self, video: TrainingVideo, number: int, decoded: list[NDArray[np.uint8]] | None = None
    ) -> tuple[Features, Features | None]:
        random = np.random.default_rng([self._view_seed, zlib.crc32(os.fsencode(PurePath(video.path).name)), number])

        def make() -> dict[str, Tensor]:
            features, footage = self._made_view(video, random, decoded)
            return _pack(features) | ({} if footage is None else _pack(footage, _FOOTAGE))

        kept = self._features.get(f"{_key(video.path)}-{number}", make)
        return _unpack(kept, self._device), _unpack(kept, self._device, _FOOTAGE) if self._distractors else None

    def _made_view(
        self,
        video: TrainingVideo,
        random: np.random.Generator,
        decoded: list[NDArray[np.uint8]] | None = None,
        subsampling: int = 1,
    ) -> tuple[Features, Features | None]:
        """A view and, where the recipe wants distractors, such footage as large as it; pixels or features."""
        pixels = self._augmented(video, random, decoded, subsampling)
        clips = [pixels]
        if self._distractors:
            picture = pixels[:, int(random.integers(pixels.shape[1]))].float().numpy()
            clips.append(make_distractor(picture, random).round().to(torch.uint8))
        made: list[Features] = [self._input(clip.permute(1, 2, 3, 0)) for clip in clips]
        if self._encoder is not None:
            made = [self._encode(video.path, iter([clip])) for clip in made if isinstance(clip, Tensor)]
        return made[0], made[1] if self._distractors else None

    def _augmented(
        self,
        video: TrainingVideo,
        random: np.random.Generator,
        decoded: list[NDArray[np.uint8]] | None,
        subsampling: int,
    ) -> Tensor:
        """Pixels (3, T, H, W) of a view, as bytes."""

        def still() -> NDArray[np.uint8]:
            other = self.readable[int(random.integers(len(self.readable)))]
            picture: NDArray[np.uint8] = self._pixels(other, random)[0]
            return picture

        pixels = self._pixels(video, random, decoded, clips=min(subsampling, _MOST_CLIPS))
        return augment(pixels, self._recipe, random, still).round().to(torch.uint8)

    def _input(self, pixels: Tensor | NDArray[np.uint8]) -> Tensor:
        clip = to_input(pixels, self._spec.mean, self._spec.std, device=self._device).unsqueeze(0)
        return clip.contiguous(memory_format=torch.channels_last_3d)

    def _pixels(
        self,
        video: TrainingVideo,
        random: np.random.Generator,
        decoded: list[NDArray[np.uint8]] | None = None,
        clips: int = 1,
    ) -> NDArray[np.uint8]:
        """Consecutive frames (T, H, W, 3) from a random start; ``decoded`` hands all frames from view to view."""
        stride, fps = self._spec.stride, self._spec.fps
        if decoded:
            return take_clip(decoded[0], self._length(len(decoded[0]), clips), random)
        count = -(-self._pool.count(video.path, fps) // stride)
        if count <= _DECODED_WHOLE:
            if self._encoder is None or not self._recipe.views_cached:
                frames = self._frames.get(_key(video.path), lambda: self._decode_tensor(video.path))["frames"].numpy()
            else:
                frames = self._pool.frames(video.path, self._options(whole(stride, fps)))
            if decoded is not None:
                decoded.append(frames)
            return take_clip(frames, self._length(len(frames), clips), random)
        length = self._length(count, clips)
        start = int(random.integers(0, count - length + 1)) * stride
        indices = tuple(range(start, start + length * stride, stride))
        frames = self._pool.frames(video.path, self._options(Selection(indices=indices, fps=fps)))
        return take_clip(frames, length, random)

    def _options(self, selection: Selection) -> DecodeOptions:
        return DecodeOptions(self._spec.short_side, selection, interpolation=self._spec.interpolation)

    def _decode_tensor(self, path: str) -> dict[str, Tensor]:
        selection = whole(self._spec.stride, self._spec.fps)
        return {"frames": torch.from_numpy(self._pool.frames(path, self._options(selection)))}

    def _length(self, frames: int, clips: int) -> int:
        """Frames of a view of so many: ``clips``, or the video within what is allowed; never less than a clip."""
        at_least = self._spec.clip_frames * clips
        return at_least if self._clips else max(at_least, min(frames, self._recipe.longest))

    def _all_frames(self, path: str) -> Iterator[Tensor]:
        """Chunks (1, 3, t, H, W) of a video as `vidcomp classify` passes it: whole, or as clips where it is long."""
        selection = whole(self._spec.stride, self._spec.fps)
        count = self._pool.count(path, self._spec.fps)
        if count > self._max_frames:
            selection = UniformClips().select(self._spec, count)
        with self._pool.open(path, self._options(selection)) as reader:
            for data in HeadInput(reader.chunks(), self._spec).data():
                yield self._input(data["rgb"])

    def _encode(self, path: str, chunks: Iterator[Tensor]) -> Features:
        """The head's features; raises VideoError where some are NaN or infinite."""
        assert self._encoder is not None
        pieces = (part for chunk in chunks for part in chunk.split(_CHUNK, dim=2))
        # One pass at a time: several would only take each other's cores and memory.
        with self._lock, autocast(self._device, self._dtype), torch.no_grad():
            features = self._encoder.encode(pieces)
        try:
            for part in pathways_of(features):
                check_finite(part.transpose(1, 2))
        except FeaturesError as error:
            raise VideoError(path, f"{error}; it cannot be learned from") from None
        return features


def _key(path: str) -> str:
    try:
        return file_key(path)
    except OSError as error:
        raise VideoError(path, f"cannot be looked at ({error.strerror}); it was there when training began") from None


def _hash_of(network: CompressedModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.head.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _pack(features: Features, what: str = "") -> dict[str, Tensor]:
    """Features, or one of each pathway, as half precision where that holds them; ``what`` goes before their names."""
    return {f"{what}{number}": _halve(part.float().cpu()) for number, part in enumerate(pathways_of(features))}


def _halve(values: Tensor) -> Tensor:
    half = values.half()
    return half if bool(torch.isfinite(half).all()) else values


def _unpack(kept: dict[str, Tensor], device: torch.device, what: str = "") -> Features:
    names = [f"{what}{number}" for number in range(len(kept)) if f"{what}{number}" in kept]
    parts = tuple(kept[name].to(device).float().contiguous(memory_format=torch.channels_last_3d) for name in names)
    return parts[0] if len(parts) == 1 else parts
