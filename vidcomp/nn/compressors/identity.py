"""No compression: the whole video goes through the tail. The row every compressor is compared with."""

from __future__ import annotations

from vidcomp.nn.compressors.base import Compressed, Compressor, Features


class Identity(Compressor):
    """Passes features on untouched."""

    kind = "identity"

    def forward(self, features: Features, *, need_attention: bool = False) -> Compressed:
        """Return ``features`` (N, C, T, H, W), or pathways of them, as they are; there is no attention to report."""
        return Compressed(features)
