from __future__ import annotations

import torch

from vidcomp.nn.backbones.lite0_slow import difference, lite0_slow
from vidcomp.nn.backbones.two_stream import join, lite0_two_stream
from vidcomp.nn.receptive_field import ReceptiveField, receptive_field, run_in_chunks


def test_differences_by_hand() -> None:
    clip = torch.tensor([1.0, 3.0, 2.0]).view(1, 1, 3, 1, 1).expand(1, 3, 3, 2, 2)
    assert difference(clip)[0, :, :, 0, 0].tolist() == [[6.0, -3.0, 0.0]] * 3
    assert not difference(clip[:, :, :1]).any()


@torch.inference_mode()
def test_streams_are_the_two_networks_with_their_logits_added() -> None:
    torch.manual_seed(0)
    appearance, motion = lite0_slow(5).eval(), lite0_slow(5, motion=True).eval()
    both = join(appearance, motion).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    assert torch.allclose(both(clip), appearance(clip) + motion(clip), atol=1e-6)
    head, tail = both.split(["res3"])
    seen, moving = head(clip).chunk(2, dim=1)
    assert torch.allclose(seen, appearance.split(["res3"])[0](clip), atol=1e-6)
    assert torch.allclose(moving, motion.split(["res3"])[0](clip), atol=1e-6)
    assert torch.allclose(tail(head(clip)), both(clip), atol=1e-6)


@torch.inference_mode()
def test_a_still_video_has_no_motion_and_still_an_appearance() -> None:
    torch.manual_seed(0)
    both = lite0_two_stream(5).eval()
    still, other = (torch.randn(1, 3, 1, 32, 32).repeat(1, 1, 4, 1, 1) for _ in range(2))
    (seen, moving), (seen_too, moving_too) = (both.split(["res3"])[0](clip).chunk(2, dim=1) for clip in (still, other))
    assert torch.equal(moving, moving_too)
    assert not torch.equal(seen, seen_too)


@torch.inference_mode()
def test_the_head_looks_one_frame_ahead_and_chunks_change_nothing() -> None:
    torch.manual_seed(0)
    head = lite0_two_stream(5).eval().split(["res3"])[0]
    field = receptive_field(head)
    assert field == ReceptiveField(stride=1, before=0, after=1)
    clip = torch.randn(1, 3, 9, 32, 48)
    for length in (1, 2, 4):
        joined = torch.cat(list(run_in_chunks(head, field, clip.split(length, dim=2))), dim=2)
        assert torch.allclose(joined, head(clip), atol=1e-6)
