"""The record of one video that scripts read. Its keys are a contract and stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vidcomp.attention.summary import summarise
from vidcomp.inference.prediction import Label, Prediction


def record_of(prediction: Prediction, top_k: int) -> dict[str, Any]:
    """Everything about one video as plain JSON values, with the ``top_k`` most probable labels.

    ``segments`` is there only for a video that was labelled by windows.
    """
    error, attention = prediction.error, prediction.attention
    record: dict[str, Any] = {
        "path": prediction.path,
        "status": "ok" if error is None else "error",
        "error": None if error is None else {"kind": error.kind, "message": error.message},
        "labels": _labels(prediction.labels[:top_k]),
        "model": prediction.model,
        "strategy": prediction.strategy,
        "frames": {
            "decoded": prediction.frames.decoded,
            "used": prediction.frames.used,
            "repaired": prediction.frames.repaired,
            "duration_s": prediction.frames.duration_s,
            "start_s": prediction.frames.start_s,
        },
        "timing": {
            "decode_s": prediction.timing.decode_s,
            "model_s": prediction.timing.model_s,
            "decoder_s": prediction.timing.decoder_s,
            "bottleneck": prediction.timing.bottleneck,
        },
        "attention": None if attention is None else summarise(attention, prediction.frames.end_s).as_dict(),
        "notes": list(prediction.notes),
    }
    if prediction.segments:
        record["segments"] = [
            {"start_s": part.start_s, "end_s": part.end_s, "labels": _labels(part.labels[:top_k])}
            for part in prediction.segments
        ]
    return record


def _labels(labels: Iterable[Label]) -> list[dict[str, Any]]:
    return [{"label": label.label, "index": label.index, "probability": label.probability} for label in labels]
