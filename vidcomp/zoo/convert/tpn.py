"""The Temporal Pyramid Network's own release: Slow-only R50, which the SFC paper took its weights from, and TPN-50."""

from __future__ import annotations

from vidcomp.nn.backbones.base import IMAGENET_NORM
from vidcomp.zoo.convert.engine import Leave, Rename, Rule, Source


def _resnet(res5: str = "res5", linear: str = "stages.classifier.linear.") -> tuple[Rule, ...]:
    return (
        Rename(r"^module\.", ""),
        Rename(r"^backbone\.conv1\.", "stages.stem.conv.conv."),
        Rename(r"^backbone\.bn1\.", "stages.stem.conv.bn."),
        Rename(r"^backbone\.layer1\.", "stages.res2."),
        Rename(r"^backbone\.layer2\.", "stages.res3."),
        Rename(r"^backbone\.layer3\.", "stages.res4."),
        Rename(r"^backbone\.layer4\.", f"stages.{res5}."),
        Rename(r"^(stages\.res.*)\.conv1\.", r"\1.branch.reduce.conv."),
        Rename(r"^(stages\.res.*)\.bn1\.", r"\1.branch.reduce.bn."),
        Rename(r"^(stages\.res.*)\.conv2\.", r"\1.branch.spatial.conv."),
        Rename(r"^(stages\.res.*)\.bn2\.", r"\1.branch.spatial.bn."),
        Rename(r"^(stages\.res.*)\.conv3\.", r"\1.branch.expand.conv."),
        Rename(r"^(stages\.res.*)\.bn3\.", r"\1.branch.expand.bn."),
        Rename(r"^(stages\.res.*)\.downsample\.0\.", r"\1.shortcut.conv."),
        Rename(r"^(stages\.res.*)\.downsample\.1\.", r"\1.shortcut.bn."),
        Rename(r"^cls_head\.fc_cls\.", linear),
    )


_TPN: tuple[Rule, ...] = (
    *_resnet(res5="res5.stage", linear="stages.classifier.classifier.linear."),
    Leave(r"^necks\.aux_head\.", "the auxiliary head is used in training only"),
    Rename(r"^necks\.", "stages.classifier.pyramid."),
    Rename(r"\.spatial_modulation\.spatial_modulation\.0\.0\.", ".spatial_modulation."),
    Rename(r"\.temporal_modulation_ops\.", ".temporal_modulation."),
    Rename(r"\.downsampling_ops\.0\.conv\.", ".upward."),
    # The release numbers the fusion of the downward flow 2 and gives that of the upward one no number.
    Rename(r"\.level_fusion_op2\.", ".fusion_down."),
    Rename(r"\.level_fusion_op\.", ".fusion_up."),
    Rename(r"\.ops\.(\d)\.conv\.", r".levels.\1.conv."),
    Rename(r"\.ops\.(\d)\.norm\.", r".levels.\1.bn."),
    Rename(r"\.(?:fusion_conv|pyramid_fusion_op)\.0\.", ".fusion.conv."),
    Rename(r"\.(?:fusion_conv|pyramid_fusion_op)\.1\.", ".fusion.bn."),
)

TPN = Source(
    summary="the Temporal Pyramid Network's release (.pth)",
    families={"slow_r50": _resnet(), "tpn_r50": _TPN},
    normalization=IMAGENET_NORM,
)
