"""Public checkpoints to vidcomp's key names, with an account of every key.

To support another publisher: write a module with its :class:`Source` beside the others and add it to :data:`SOURCES`.
"""

from __future__ import annotations

from vidcomp.zoo.convert.engine import (
    ConversionError,
    ConversionReport,
    Leave,
    Rename,
    Rule,
    Source,
    convert,
    convert_file,
    recognize_family,
    write,
)
from vidcomp.zoo.convert.i3d import I3D
from vidcomp.zoo.convert.mmaction2 import MMACTION2
from vidcomp.zoo.convert.pytorchvideo import PYTORCHVIDEO
from vidcomp.zoo.convert.tpn import TPN
from vidcomp.zoo.convert.vmz import VMZ

# The publishers, by the name that users type.
SOURCES: dict[str, Source] = {
    "mmaction2": MMACTION2,
    "pytorchvideo": PYTORCHVIDEO,
    "tpn": TPN,
    "vmz": VMZ,
    "i3d": I3D,
}

__all__ = [
    "SOURCES",
    "ConversionError",
    "ConversionReport",
    "Leave",
    "Rename",
    "Rule",
    "Source",
    "convert",
    "convert_file",
    "recognize_family",
    "write",
]
