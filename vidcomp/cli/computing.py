"""Options that say where and in what the network is computed, for every command that labels videos."""

from __future__ import annotations

from enum import Enum

import typer

HOW = "How they are passed"


class DeviceChoice(str, Enum):
    """What may be asked for with --device."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PrecisionChoice(str, Enum):
    """What may be asked for with --precision."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


STRATEGY = typer.Option(
    None,
    "--strategy",
    metavar="NAME",
    help="whole (no compression), the kind of the model's or a sibling's compressor (sfc, sfc-tau4, sgs, sgs+sfc), "
    "dense30 or dense10x1 (clips x crops of the uncompressed network), or uniform8 or uniform8x32 (clips of an "
    "untrimmed video). By default the whole video through the model as it is.",
    rich_help_panel=HOW,
)
DEVICE = typer.Option(DeviceChoice.AUTO, "--device", help="Where the model runs.", rich_help_panel=HOW)
PRECISION = typer.Option(
    PrecisionChoice.AUTO,
    "--precision",
    help="What the model computes in; auto is fp32 on a CPU, bf16 or fp16 on CUDA.",
    rich_help_panel=HOW,
)
COMPILE = typer.Option(
    False, "--compile", help="Compile the model first: pays for hundreds of videos.", rich_help_panel=HOW
)
DECODE_WORKERS = typer.Option(
    None,
    "--decode-workers",
    min=1,
    help="Processes that decode the next videos meanwhile; by default one for every two cores.",
    rich_help_panel=HOW,
)
BATCH = typer.Option(
    None,
    "--batch",
    min=1,
    help="Videos of equal shape that go through compressor and tail together; by default 1 on a CPU, 16 on CUDA.",
    rich_help_panel=HOW,
)
MAX_DAMAGE = typer.Option(
    50.0,
    "--max-damage",
    metavar="PERCENT",
    min=0.0,
    max=100.0,
    help="How many in a hundred frames of a video may come damaged, or not at all, before it is an error.",
    rich_help_panel=HOW,
)
