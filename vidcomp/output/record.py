"""The record of one video that scripts read. Its keys are a contract and stay as they are."""

from __future__ import annotations

from typing import Any

from vidcomp.attention.summary import summarise
from vidcomp.inference.prediction import Prediction


def record_of(prediction: Prediction, top_k: int) -> dict[str, Any]:
    """Everything about one video as plain JSON values, with the ``top_k`` most probable labels."""
    error = prediction.error
    return {
        "path": prediction.path,
        "status": "ok" if error is None else "error",
        "error": None if error is None else {"kind": error.kind, "message": error.message},
        "labels": [
            {"label": label.label, "index": label.index, "probability": label.probability}
            for label in prediction.labels[:top_k]
        ],
        "model": prediction.model,
        "strategy": prediction.strategy,
        "frames": {
            "decoded": prediction.frames.decoded,
            "used": prediction.frames.used,
            "repaired": prediction.frames.repaired,
            "duration_s": prediction.frames.duration_s,
        },
        "timing": {"decode_s": prediction.timing.decode_s, "model_s": prediction.timing.model_s},
        "attention": None if prediction.attention is None else summarise(prediction.attention).as_dict(),
        "notes": list(prediction.notes),
    }
