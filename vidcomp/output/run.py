"""What all results of a run share: which labels are shown, what tells a video from others, and the error of an output.

And the name that records carry of the model and settings that made them, and how two of them differ.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

Record = dict[str, Any]

_NAME = re.compile(r"(.+)@([0-9a-f]{16}) (\S+) (\S+) top(\d+) min(\S+)", re.DOTALL)
_DIGITS = 16

# vidcomp 0.1.0 wrote a hash of all settings, so what stood behind it is found by trying.
_PRECISIONS_OF_0_1_0 = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_MOST_LABELS_OF_0_1_0 = 100


class OutputError(Exception):
    """Results cannot be kept there: the message says where, why, and what to do. What was written stays whole."""


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a file that cannot be opened to begin with."""
    return OutputError(f"--output {path}: cannot be written ({error.strerror}); choose another file")


@contextlib.contextmanager
def kept_so_far(path: Path) -> Iterator[None]:
    """Turn what the system says while results are written, such as "no space left", into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"--output {path}: writing stopped ({error.strerror}); all that was labeled before is kept: "
            "fix that, and run the same command again to continue"
        ) from error


def identity(root: str | None, path: str) -> str:
    """What tells a video from all others: its absolute path, links kept; or its address.

    Args:
        root: the absolute folder that `path` is relative to; None for an address. A relative path without a root, as
            vidcomp 0.1.0 wrote it, stands for itself.
        path: the video as its record names it.
    """
    if root is None:
        return str(PurePath(path)) if os.path.isabs(path) else path  # noqa: PTH117
    folder, parts = PurePath(root), list(PurePath(path).parts)
    # Behind a link, "..", leads elsewhere than the text says; the root holds no link's "..".
    while parts and parts[0] == "..":
        folder = folder.parent
        del parts[0]
    return str(folder.joinpath(*parts))


class View(NamedTuple):
    """Which of a record's labels are shown. The others stay in its file as ``other_labels``, so nothing is lost."""

    top_k: int
    min_probability: float = 0.0

    def of(self, record: Record) -> Record:
        """The record with the most probable labels in ``labels``, and those left out, if any, in ``other_labels``."""
        every = [*record["labels"], *(record.get("other_labels") or ())]
        shown = self._shown(every)
        best = shown[0] if shown else {"label": None, "probability": None}
        seen = {**record, "labels": shown, "label": best["label"], "probability": best["probability"]}
        seen["other_labels"] = every[len(shown) :]
        if record.get("windows"):
            seen["windows"] = [{**part, "labels": self._shown(part["labels"])} for part in record["windows"]]
        if record.get("moments"):
            seen["moments"] = [part for part in record["moments"] if part["probability"] >= self.min_probability]
        if "uncertain" in seen:
            seen["uncertain"] = record["error"] is None and (not shown or shown[0]["probability"] < 0.5)
        return seen

    def _shown(self, labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [label for label in labels[: self.top_k] if label["probability"] >= self.min_probability]


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
