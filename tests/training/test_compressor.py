"""SFC's start near the identity, worked on features whose frames are easy to tell apart."""

from __future__ import annotations

import torch

from vidcomp.nn.compressors import SFC
from vidcomp.training.compressor import start_near_identity


def test_every_kept_frame_attends_most_to_itself() -> None:
    torch.manual_seed(0)
    sfc = SFC(channels=16, tau=1).eval()
    start_near_identity(sfc)
    features = torch.randn(1, 16, 6, 12, 12) * 3
    with torch.inference_mode():
        attention = sfc(features, need_attention=True).attention
    assert attention is not None
    assert attention[0].argmax(dim=1).tolist() == [0, 1, 2, 3, 4, 5]
