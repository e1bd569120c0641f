"""vidcomp names the action in a video in one pass over the whole video.

import vidcomp

with vidcomp.load("ucf16-lite0") as classifier:
    prediction = classifier.classify("video.mp4")
print(prediction.top)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidcomp.inference.engine import Classifier

__version__ = "0.1.0"


def load(
    name: str = "ucf16-lite0",
    *,
    compressor: str | None = None,
    tau: float | None = None,
    device: str = "auto",
    decode_timeout_s: float | None = None,
    decode_workers: int | None = None,
    precision: str = "auto",
    batch: int | None = None,
) -> Classifier:
    """Load a model, ready to classify: ``vidcomp.load(name).classify(path) -> Prediction``.

    Args:
        name: a model that ships, or the path of a YAML manifest.
        compressor: the model's compressor (``"sfc"``), or ``"none"`` to pass the whole video through the tail.
        tau: compression ratio of SFC, at least 1.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        decode_timeout_s: seconds that decoding one video may take; by default scaled to the file.
        decode_workers: processes that decode ahead; by default one for every two cores.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        batch: videos that may go through compressor and tail together; by default 1 on a CPU, 16 on CUDA.

    Raises:
        vidcomp.zoo.errors.ZooError: the model or its weights are not to be had.
        ValueError: the device or the precision is not to be had.
    """
    from vidcomp.inference.engine import Classifier
    from vidcomp.zoo.build import Variant, load_model

    return Classifier(
        load_model(name, Variant(compressor, tau)),
        device=device,
        decode_timeout_s=decode_timeout_s,
        decode_workers=decode_workers,
        precision=precision,
        batch=batch,
    )
