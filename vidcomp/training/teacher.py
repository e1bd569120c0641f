"""What the uncompressed network says of videos by dense sampling, as targets that need no labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Failure, Prediction
from vidcomp.inference.strategies import Strategy
from vidcomp.training.cache import TensorCache, file_key
from vidcomp.training.videos import TrainingVideo
from vidcomp.zoo.build import LoadedModel


def ask_dense(
    model: LoadedModel, strategy: Strategy, videos: Sequence[TrainingVideo], cache: TensorCache, device: str
) -> Iterator[tuple[TrainingVideo, Tensor | Failure]]:
    """Probabilities (classes,) of each video over dense views, or why there are none.

    ``model`` is the uncompressed network; it is not asked again about a video in ``cache``.
    """
    with Classifier(model, device=device, strategy=strategy) as classifier:
        for video in videos:
            yield video, _ask(classifier, video.path, cache, strategy.name)


def _ask(classifier: Classifier, path: str, cache: TensorCache, name: str) -> Tensor | Failure:
    try:
        return cache.get(file_key(path), lambda: {name: _said(classifier.classify(path))})[name]
    except OSError as error:
        return Failure("missing", f"{path}: cannot be looked at ({error.strerror})")
    except _Silent as silent:
        return silent.failure


class _Silent(Exception):  # noqa: N818 - carries a failure out of the cache
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _said(prediction: Prediction) -> Tensor:
    if prediction.error is not None:
        raise _Silent(prediction.error)
    probabilities = torch.zeros(len(prediction.labels))
    for label in prediction.labels:
        probabilities[label.index] = label.probability
    return probabilities
