"""Video classifiers of Hugging Face's transformers: VideoMAE, TimeSformer, ViViT, V-JEPA 2.

The networks are the library's; here each is a backbone that takes clips of its own length and picture, and is cut
nowhere: all of it stands behind the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vidcomp.nn.backbones.base import CLASSIFIER, IMAGENET_NORM, Backbone, BackboneSpec

# Source frames from one frame of a clip to the next, as the papers test on Kinetics-400; configurations do not say it.
_STRIDES = {"videomae": 4, "timesformer": 32, "vivit": 2, "vjepa2": 4}


class TransformersNetwork(nn.Module):
    """A classifier of transformers on clips with channels before time, as every network here has them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        """Map (N, 3, T, H, W) to logits (N, classes)."""
        logits: Tensor = self.network(clip.transpose(1, 2).contiguous()).logits
        return logits


def wrapped(network: nn.Module, config: Mapping[str, Any]) -> Backbone:
    """The network as a backbone; ``config`` is its configuration."""
    side = config.get("image_size") or config.get("crop_size") or 224
    side = side if isinstance(side, int) else side[0]
    spec = BackboneSpec(
        clip_frames=config.get("num_frames") or config.get("frames_per_clip") or 16,
        stride=_STRIDES.get(config["model_type"], 1),
        short_side=side,
        crop=side,
        mean=IMAGENET_NORM.mean,
        std=IMAGENET_NORM.std,
        central=True,
        fixed_length=True,
    )
    return Backbone({"frames": nn.Identity(), CLASSIFIER: TransformersNetwork(network)}, spec)


def transformers_video(
    config: Mapping[str, Any], classes: int = 400, repo: str = "", revision: str | None = None
) -> Backbone:
    """Build the network of a configuration, with random weights.

    Args:
        config: what ``config.json`` holds.
        classes: number of classes.
        repo: the repository that its weights are in, which plays no part here.
        revision: theirs, likewise.

    Raises:
        ValueError: it is not a configuration of a video classifier, or transformers is not installed.
    """
    try:
        from transformers import AutoConfig, AutoModelForVideoClassification
    except ImportError:
        raise ValueError("transformers is not installed: pip install 'vidcomp[hf]'") from None
    content = {key: value for key, value in config.items() if key not in ("num_labels", "model_type")}
    content["id2label"] = content.get("id2label") or {number: f"class {number}" for number in range(classes)}
    built = AutoConfig.for_model(config["model_type"], **content)
    return wrapped(AutoModelForVideoClassification.from_config(built), config)
