"""MMAction2's model zoo: slowonly_r50_*, i3d_r50_* and tpn_slowonly_r50_* (.pth).

Every convolution there is a module of three, of which ``conv`` and ``bn`` have weights, as ours.
"""

from __future__ import annotations

from vidcomp.nn.backbones.base import IMAGENET_NORM
from vidcomp.zoo.convert.engine import Leave, Rename, Rule, Source


def _resnet(res3: str = "res3", res5: str = "res5", linear: str = "stages.classifier.linear.") -> tuple[Rule, ...]:
    return (
        Rename(r"^backbone\.conv1\.", "stages.stem.conv."),
        Rename(r"^backbone\.layer1\.", "stages.res2."),
        Rename(r"^backbone\.layer2\.", f"stages.{res3}."),
        Rename(r"^backbone\.layer3\.", "stages.res4."),
        Rename(r"^backbone\.layer4\.", f"stages.{res5}."),
        Rename(r"^(stages\..*)\.conv1\.", r"\1.branch.reduce."),
        Rename(r"^(stages\..*)\.conv2\.", r"\1.branch.spatial."),
        Rename(r"^(stages\..*)\.conv3\.", r"\1.branch.expand."),
        Rename(r"^(stages\..*)\.downsample\.", r"\1.shortcut."),
        Rename(r"^cls_head\.fc_cls\.", linear),
    )


_TPN: tuple[Rule, ...] = (
    *_resnet(res5="res5.stage", linear="stages.classifier.classifier.linear."),
    Leave(r"^neck\.aux_head\.", "the auxiliary head is used in training only"),
    Rename(r"^neck\.", "stages.classifier.pyramid."),
    Rename(r"\.spatial_modulation\.spatial_modulation\.0\.0\.", ".spatial_modulation."),
    Rename(r"\.temporal_modulation_ops\.(\d)\.conv\.conv\.", r".temporal_modulation.\1.conv."),
    Rename(r"\.downsample_ops\.0\.conv\.conv\.", ".upward."),
    Rename(r"\.level_fusion_1\.", ".fusion_down."),
    Rename(r"\.level_fusion_2\.", ".fusion_up."),
    Rename(r"\.downsamples\.(\d)\.conv\.", r".levels.\1."),
    Rename(r"\.fusion_conv\.", ".fusion."),
    Rename(r"\.pyramid_fusion\.", ".fusion."),
)

MMACTION2 = Source(
    summary="MMAction2's model zoo (.pth)",
    # I3D's res3 begins with the temporal pool, which has no weights.
    families={"slow_r50": _resnet(), "i3d_r50": _resnet(res3="res3.1"), "tpn_r50": _TPN},
    normalization=IMAGENET_NORM,
)
