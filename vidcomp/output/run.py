"""What labels depend on beside the video, as a short name that each record carries and that can be read again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

_NAME = re.compile(r"(.+)@([0-9a-f]{16}) (\S+) (\S+) top(\d+) min(\S+)", re.DOTALL)
_DIGITS = 16

# vidcomp 0.1.0 wrote a hash of all settings, so what stood behind it is found by trying.
_PRECISIONS_OF_0_1_0 = ("float32", "bfloat16", "float16")
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
    def short_precision(self) -> str:
        """The precision as `--precision` takes it."""
        return self.precision.replace("bfloat", "bf").replace("float", "fp")

    @property
    def filters(self) -> tuple[int, float]:
        """Which labels are written."""
        return self.top_k, self.min_probability

    def read(self, name: str) -> Run | None:
        """The run of that name; None where it is no such name. This run's values are tried for names of 0.1.0."""
        if match := _NAME.fullmatch(name):
            return Run(match[1], match[2], match[3], match[4], int(match[5]), float(match[6]))
        for precision in _PRECISIONS_OF_0_1_0:
            for min_probability in {0.0, self.min_probability}:
                for top_k in {*range(1, _MOST_LABELS_OF_0_1_0 + 1), self.top_k}:
                    if self._name_in_0_1_0(precision, top_k, min_probability) == name:
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
            found.append(f"precision {other.short_precision}, not {self.short_precision}")
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
