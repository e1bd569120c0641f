"""vidcomp names the action in a video in one pass over the whole video.

import vidcomp

with vidcomp.load() as classifier:
    prediction = classifier.classify("video.mp4")
print(prediction.top)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from vidcomp.inference.classifier import Classifier

__version__ = "0.1.0"

DEFAULT_MODEL = "kinetics400-i3d"


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
    only: Sequence[str] = (),
) -> Classifier:
    """Load a model, ready to classify: ``vidcomp.load(name).classify(path) -> Prediction``.

    Args:
        name: a model that ships, or the path of a YAML manifest.
        strategy: how a video is passed, by its name in :mod:`vidcomp.inference.grammar`, such as ``"dense30"`` or
            ``"sfc-tau4"``; by default whole, or as uniform clips above the manifest's ``max_frames``.
        compressor: the model's compressor (``"sfc"``), or ``"none"`` to pass the whole video through the tail.
        tau: compression ratio of SFC, at least 1.
        device: ``"auto"`` (or None), ``"cpu"``, ``"cuda"`` or a certain GPU, as ``"cuda:1"``.
        decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.
        decode_workers: processes that decode ahead; by default one for every two cores.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        only: labels to choose among; by default among all that the model has.
        batch: videos that may go through compressor and tail together; by default 1 on a CPU, 16 on CUDA.
        max_damage: share of a video's frames, 0 to 1, that may come damaged or not at all before it is an error.

    Raises:
        vidcomp.zoo.ZooError: the model or its weights are not to be had.
        ValueError: the device or the precision is not to be had, ``max_damage`` is no share, or strategy, compressor
            and tau contradict each other.
    """
    from dataclasses import replace

    from vidcomp.inference.classifier import Classifier
    from vidcomp.inference.grammar import parse_strategy
    from vidcomp.zoo.build import load_model

    named = parse_strategy(strategy, compressor=compressor, tau=tau)
    return Classifier(
        load_model(name, replace(named.variant, only=tuple(only))),
        device=device,
        strategy=named.strategy,
        decode_timeout_s=decode_timeout_s,
        decode_workers=decode_workers,
        precision=precision,
        batch=batch,
        max_damage=max_damage,
    )
