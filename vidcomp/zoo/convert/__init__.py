"""Public checkpoints to vidcomp's key names, with an account of every key.

To support another publisher: describe it by a :class:`Source` in ``publishers`` and add it to :data:`SOURCES`.
"""

from __future__ import annotations

from vidcomp.zoo.convert.engine import (
    ConversionError,
    ConversionReport,
    Rename,
    Source,
    convert,
    convert_file,
    guess_source,
    recognize_family,
    write,
)
from vidcomp.zoo.convert.i3d import I3D
from vidcomp.zoo.convert.publishers import MMACTION2, PYTORCHVIDEO, TORCHVISION, TPN, VMZ

# The publishers, by the name that users type.
SOURCES: dict[str, Source] = {
    "mmaction2": MMACTION2,
    "pytorchvideo": PYTORCHVIDEO,
    "tpn": TPN,
    "vmz": VMZ,
    "torchvision": TORCHVISION,
    "i3d": I3D,
}

__all__ = [
    "SOURCES",
    "ConversionError",
    "ConversionReport",
    "Rename",
    "Source",
    "convert",
    "convert_file",
    "guess_source",
    "recognize_family",
    "write",
]
