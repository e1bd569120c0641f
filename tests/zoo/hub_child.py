"""Run by test_hub in a process of its own, which HF_ENDPOINT sends to a server on this machine.

Makes tiny models of transformers in the folder that the server serves, labels frames through vidcomp and by the
library alone, and prints both; then pushes a model of vidcomp's own and loads it again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import vidcomp
from tests.tiny_model import make_tiny_model
from vidcomp.zoo import ZooError, hub

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
LABELS = {number: f"action {number}" for number in range(7)}
CONFIGS = {
    "videomae": transformers.VideoMAEConfig(**SMALL, image_size=32, patch_size=8, num_frames=8, id2label=LABELS),
    "timesformer": transformers.TimesformerConfig(**SMALL, image_size=32, patch_size=8, num_frames=4, id2label=LABELS),
    "vivit": transformers.VivitConfig(
        **SMALL, image_size=32, tubelet_size=[2, 8, 8], num_frames=8, id2label=LABELS, initializer_range=0.2
    ),
    "vjepa2": transformers.VJEPA2Config(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        mlp_ratio=2,
        crop_size=32,
        patch_size=8,
        frames_per_clip=8,
        tubelet_size=2,
        pred_hidden_size=24,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
        num_pooler_layers=1,
        initializer_range=0.2,
        id2label=LABELS,
    ),
}
PROCESSORS = {
    "videomae": lambda: transformers.VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    "timesformer": lambda: transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 32}, crop_size=32, image_mean=[0.45] * 3, image_std=[0.225] * 3
    ),
    "vivit": lambda: transformers.VivitImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, rescale_factor=1 / 127.5, offset=True
    ),
    "vjepa2": lambda: transformers.VJEPA2VideoProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ),
}


def plain(network: Any, processor: Any, frames: np.ndarray[Any, Any]) -> list[int]:
    fed = processor(list(frames), return_tensors="pt")
    with torch.inference_mode():
        return list(network.eval()(**fed).logits[0].topk(3).indices.tolist())


def main(served: Path) -> None:
    said: dict[str, Any] = {}
    for kind, config in CONFIGS.items():
        torch.manual_seed(0)
        network = transformers.AutoModelForVideoClassification.from_config(config)
        processor = PROCESSORS[kind]()
        for part in (network, processor):
            part.save_pretrained(served / "tiny" / kind)
        count = getattr(config, "num_frames", None) or config.frames_per_clip
        frames = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
        with vidcomp.load(f"hf:tiny/{kind}", strategy="whole", device="cpu") as classifier:
            prediction = classifier(frames)
            long = classifier(frames.repeat(50, axis=0))
        with vidcomp.load(f"hf:tiny/{kind}", strategy="dense3", device="cpu") as classifier:
            dense = classifier(frames)
        with vidcomp.load(f"hf:tiny/{kind}", strategy="uniform2x32", device="cpu") as classifier:
            uniform = classifier(frames.repeat(50, axis=0))
        said[kind] = {
            "found": [label.index for label in prediction.labels[:3]],
            "plain": plain(network, processor, frames),
            "label": prediction.labels[0].label,
            "used": [one.frames.used for one in (prediction, long, uniform)],
            "clip": count,
            "ok": [one.ok for one in (long, dense, uniform)],
        }
    transformers.VideoMAEModel(CONFIGS["videomae"]).save_pretrained(served / "tiny" / "backbone")
    PROCESSORS["videomae"]().save_pretrained(served / "tiny" / "backbone")
    transformers.ViTConfig().save_pretrained(served / "tiny" / "pictures")
    CONFIGS["videomae"].save_pretrained(served / "tiny" / "unfed")
    for name, more in {"strange": {}, "code": {"auto_map": {"AutoConfig": "code.Config"}}}.items():
        (served / "tiny" / name).mkdir()
        (served / "tiny" / name / "config.json").write_text(json.dumps({"model_type": "zorglub", **more}))
    (served / "tiny" / "code" / "code.py").write_text("raise SystemExit('the code of a repository ran')")
    for name in ("absent", "backbone", "pictures", "unfed", "strange", "code", ""):
        try:
            vidcomp.load(f"hf:tiny/{name}")
        except ZooError as error:
            said[f"hf:tiny/{name}"] = str(error)
    own = served / "own"
    own.mkdir()
    said["pushed"] = hub.push(make_tiny_model(own, kind="sfc", stride=1), "hf:me/mine")
    with vidcomp.load("hf:me/mine", device="cpu") as theirs, vidcomp.load(own / "tiny.yaml", device="cpu") as mine:
        frames = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
        said["same"] = theirs(frames).labels == mine(frames).labels
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
