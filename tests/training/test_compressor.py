"""SFC's start near the identity, worked on features whose frames are easy to tell apart."""

from __future__ import annotations

import torch

from vidcomp.nn.compressors import SFC
from vidcomp.nn.compressors.sfc import start_at_own_frames, start_near_identity
from vidcomp.training.compressor import plan_compressors
from vidcomp.zoo.manifest import find_manifest


def test_every_kept_frame_attends_most_to_itself() -> None:
    torch.manual_seed(0)
    sfc = SFC(channels=16, tau=1).eval()
    start_near_identity(sfc)
    features = torch.randn(1, 16, 6, 12, 12) * 3
    with torch.inference_mode():
        attention = sfc(features, need_attention=True).attention
    assert attention is not None
    assert attention[0].argmax(dim=1).tolist() == [0, 1, 2, 3, 4, 5]


def test_frames_attend_to_themselves_though_one_outshines_all() -> None:
    sfc = SFC(channels=16, tau=2, pooling="even").eval()
    start_at_own_frames(sfc)
    features = torch.rand(1, 16, 8, 12, 12, generator=torch.Generator().manual_seed(0)) + 2
    features[:, :, 5] *= 3
    with torch.inference_mode():
        compressed = sfc(features, need_attention=True)
    assert compressed.attention is not None
    # The first and the last query have but one neighbor to be compared with.
    assert compressed.attention[0].argmax(dim=1).tolist()[1:-1] == [2, 4]
    torch.testing.assert_close(compressed.features[:, :, 1:-1], features[:, :, [2, 4]], atol=0.02, rtol=0)


def test_a_still_video_is_averaged() -> None:
    sfc = SFC(channels=16, tau=2, pooling="even").eval()
    start_at_own_frames(sfc)
    still = torch.rand(1, 16, 1, 12, 12, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 8, -1, -1)
    with torch.inference_mode():
        attention = sfc(still, need_attention=True).attention
    assert attention is not None
    torch.testing.assert_close(attention, torch.full((1, 4, 8), 1 / 8))


def test_what_is_salient_is_not_what_is_fitted() -> None:
    manifest = find_manifest("ucf16-lite0")
    (own,) = manifest.compressors
    (fitted,) = plan_compressors(manifest, (), (), (2.0,)).compressors
    assert fitted.options == {name: value for name, value in own.options.items() if name != "salient"}
    (gone_on_with,) = plan_compressors(manifest, (), (), (2.0,), from_trained=True).compressors
    assert gone_on_with.options == own.options
