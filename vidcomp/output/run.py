"""The name that records carry of the model and settings that made them, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from vidcomp.output.formats import View

_NAME = re.compile(r"(.+)@([0-9a-f]{16}) (\S+) (\S+) top(\d+) min(\S+)", re.DOTALL)
_DIGITS = 16

# vidcomp 0.1.0 wrote a hash of all settings, so what stood behind it is found by trying.
_PRECISIONS_OF_0_1_0 = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_MOST_LABELS_OF_0_1_0 = 100


@dataclass(frozen=True)
class Run:
    """Model and settings of a run.

    The first four decide what a video's labels are; `top_k` and `min_probability` only which of them are written.
    """

    model: str
    fingerprint: str
    strategy: str
    precision: str
    top_k: int
    min_probability: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.model}@{self.fingerprint[:_DIGITS]} {self.strategy} {self.precision} "
            f"top{self.top_k} min{self.min_probability}"
        )

    @property
    def view(self) -> View:
        """Which labels are shown."""
        return View(self.top_k, self.min_probability)

    def read(self, name: str) -> Run | None:
        """The run of that name; None where it is no such name. This run's values are tried for names of 0.1.0."""
        if match := _NAME.fullmatch(name):
            precision = _PRECISIONS_OF_0_1_0.get(match[4], match[4])
            return Run(match[1], match[2], match[3], precision, int(match[5]), float(match[6]))
        for torchs, precision in _PRECISIONS_OF_0_1_0.items():
            for min_probability in {0.0, self.min_probability}:
                for top_k in {*range(1, _MOST_LABELS_OF_0_1_0 + 1), self.top_k}:
                    if self._name_in_0_1_0(torchs, top_k, min_probability) == name:
                        return Run(self.model, self.fingerprint, self.strategy, precision, top_k, min_probability)
        return None

    def differences(self, other: Run) -> list[str]:
        """What makes the other run's labels others than this one's, in words that say what the other run used."""
        found = []
        if self.model != other.model:
            found.append(f"model {other.model}, not {self.model}")
        elif self.fingerprint[:_DIGITS] != other.fingerprint[:_DIGITS]:
            found.append(f"other weights, compressor or settings of {other.model}")
        if self.strategy != other.strategy:
            found.append(f"strategy {other.strategy}, not {self.strategy}")
        if self.precision != other.precision:
            found.append(f"precision {other.precision}, not {self.precision}")
        return found

    def _name_in_0_1_0(self, precision: str, top_k: int, min_probability: float) -> str:
        settings = {
            "model": self.fingerprint,
            "strategy": self.strategy,
            "precision": precision,
            "top_k": top_k,
            "min_probability": min_probability,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_DIGITS]
