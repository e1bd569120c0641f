"""vidcomp names the action in a video in one pass over the whole video.

>>> import vidcomp
>>> classifier = vidcomp.load("ucf16-lite0")
>>> prediction = classifier("video.mp4")
>>> prediction.top.label in classifier.model.labels
True

A classifier takes paths, the bytes of a file, and frames in memory, one or a list of them:

>>> import numpy as np
>>> frames = np.zeros((32, 240, 320, 3), np.uint8)
>>> [prediction.ok for prediction in classifier(["video.mp4", frames])]
[True, True]
>>> classifier.features(frames).shape
(2560,)
>>> classifier.close()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas
    import torch

    from vidcomp.evaluation.evaluator import compare
    from vidcomp.inference.classifier import Classifier
    from vidcomp.inference.prediction import Prediction
    from vidcomp.nn.whole_video import CompressedModel

__version__ = "0.2.0"
__all__ = [
    "DEFAULT_MODEL",
    "Classifier",
    "Prediction",
    "compare",
    "create_model",
    "list_models",
    "load",
    "to_dataframe",
]

DEFAULT_MODEL = "kinetics400-i3d"

# `import vidcomp` stays cheap: what needs torch is imported when it is first named.
_HOMES = {
    "Classifier": "vidcomp.inference.classifier",
    "Prediction": "vidcomp.inference.prediction",
    "compare": "vidcomp.evaluation.evaluator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vidcomp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(
    name: str | Path = DEFAULT_MODEL,
    *,
    strategy: str | None = None,
    compressor: str | None = None,
    tau: float | None = None,
    device: str | torch.device | None = "auto",
    decode_timeout_s: float | None = None,
    decode_workers: int | None = None,
    precision: str = "auto",
    batch: int | None = None,
    max_damage: float = 0.5,
    decoder: Literal["auto", "decord", "pyav"] = "auto",
    only: Sequence[str] = (),
    moments: bool = False,
) -> Classifier:
    """Load a model, ready to classify: ``vidcomp.load(name).classify(path) -> Prediction``.

    Args:
        name: a model that ships, or the path of a YAML manifest.
        strategy: how a video passes the network, by a name of :mod:`vidcomp.inference.grammar`, such as ``"dense30"``
            or ``"sfc-tau4"``; by default whole, or as uniform clips above the manifest's ``max_frames``.
        compressor: the model's compressor (``"sfc"``), or ``"none"`` to pass the whole video through the tail.
        tau: compression ratio of SFC, at least 1.
        device: ``"auto"`` (or None), ``"cpu"``, ``"cuda"``, or one GPU, such as ``"cuda:1"``.
        decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.
        decode_workers: processes that decode ahead; by default one per two cores.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        only: labels to choose among; by default all that the model has.
        moments: also find when each action happens: ``Prediction.moments``.
        batch: videos that may pass compressor and tail together; by default 1 on a CPU, 16 on CUDA.
        max_damage: share of a video's frames, 0 to 1, that may be damaged or missing before that is an error.
        decoder: which decoder reads files: ``"decord"``, ``"pyav"``, or ``"auto"``, decord where it is exact.

    Raises:
        vidcomp.zoo.ZooError: the model or its weights cannot be found.
        ValueError: the device or the precision is not available, ``max_damage`` is not between 0 and 1, strategy,
            compressor and tau contradict each other, or moments are asked of dense views.
        TypeError: ``name`` or ``only`` is of another type.
        RuntimeError: this process is a fork of one that loaded a model, where torch cannot compute.
    """
    from dataclasses import replace

    from vidcomp.inference.classifier import Classifier
    from vidcomp.inference.grammar import parse_strategy
    from vidcomp.zoo.build import load_model

    if isinstance(only, str):
        raise TypeError(f"only={only!r}: give a list of labels to choose among")
    named = parse_strategy(strategy, compressor=compressor, tau=tau)
    return Classifier(
        load_model(name, replace(named.variant, only=tuple(map(str, only)))),
        device=device,
        strategy=named.strategy,
        decode_timeout_s=decode_timeout_s,
        decode_workers=decode_workers,
        precision=precision,
        batch=batch,
        max_damage=max_damage,
        decoder=decoder,
        moments=moments,
    )


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of the models that :func:`load` and :func:`create_model` know, in alphabetical order.

    Args:
        pattern: as in a shell, such as ``"*i3d*"``.
        pretrained: only those whose weights ship or can be fetched.

    >>> vidcomp.list_models("ucf16-*", pretrained=True)
    ['ucf16-bitstream', 'ucf16-lite0', 'ucf16-lite0-sgs', 'ucf16-lite0-sgs-sfc']
    """
    from fnmatch import fnmatch

    from vidcomp.zoo.manifest import list_manifests

    return sorted(
        manifest.name
        for manifest in list_manifests()
        if fnmatch(manifest.name, pattern) and (manifest.backbone.weights is not None or not pretrained)
    )


def create_model(name: str | Path, *, pretrained: bool = True, num_classes: int | None = None) -> CompressedModel:
    """Build a model's network, a ``torch.nn.Module`` from clips (N, 3, T, H, W) to logits (N, classes).

    Args:
        name: a model that ships, or the path of a YAML manifest.
        pretrained: with its weights; otherwise with random ones.
        num_classes: another number of classes: the last stage then has random weights.

    Raises:
        vidcomp.zoo.errors.ZooError: the model or its weights are not available.
        ValueError: ``num_classes`` is less than 1.

    >>> network = vidcomp.create_model("ucf16-lite0", num_classes=3).eval()
    >>> network(torch.zeros(1, 3, 16, 64, 64)).logits.shape
    torch.Size([1, 3])
    """
    from vidcomp.zoo.build import create_network

    return create_network(name, pretrained=pretrained, classes=num_classes)


def to_dataframe(predictions: Prediction | Iterable[Prediction], top_k: int = 5) -> pandas.DataFrame:
    """A pandas table with a row per video: its best label, the ``top_k`` best ones, what it took, and its error if any.

    Without videos the table has its columns all the same.

    Raises:
        ImportError: pandas, which vidcomp itself does not need, is not installed.
    """
    import pandas

    from vidcomp.inference.prediction import FrameCounts, Prediction, Timing

    videos = [predictions] if isinstance(predictions, Prediction) else predictions
    columns = Prediction("", "", "", (), FrameCounts(0, 0, 0, None), Timing(0.0, 0.0)).to_row()
    return pandas.DataFrame([video.to_row(top_k) for video in videos], columns=list(columns))
