"""`vidcomp train head`: teach a model labels of one's own by a few videos of each."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.errors import SOME_FAILED, reported
from vidcomp.cli.options import (
    LABELED,
    Debug,
    DecodeWorkers,
    Device,
    DeviceChoice,
    Model,
    Precision,
    PrecisionChoice,
    Quiet,
)
from vidcomp.cli.train import Cache, CacheGB, what, where
from vidcomp.files import counted

if TYPE_CHECKING:
    from vidcomp.training.head import HeadResult

# Confused pairs that are shown.
_PAIRS = 5


def train_head(
    folder: Annotated[Path, LABELED],
    output: Annotated[
        Path, where("--output", "-o", help="The manifest (.yaml) to write. The weights get the same name.")
    ],
    model: Model = DEFAULT_MODEL,
    group_by: Annotated[
        str | None,
        what(
            "--group-by",
            metavar="PATTERN|COLUMN",
            help="Which videos are of one recording: a regular expression to find in their paths, or a column of the "
            "CSV file. By default, numbers such as _g08 in names.",
        ),
    ] = None,
    background: Annotated[
        Path | None,
        what(
            "--background",
            metavar="FOLDER",
            help="Videos that show none of the classes; they become the class 'none of these'.",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        what(
            "--strategy",
            metavar="NAME",
            help="How videos pass the network, as in classify; by default as the model's manifest says. uniform1x32 "
            "is quick: 32 frames from the middle of each.",
        ),
    ] = None,
    cache_gb: CacheGB = 20.0,
    cache: Cache = None,
    overwrite: Annotated[bool, where("--overwrite", help="Replace a result that exists.")] = False,
    device: Device = DeviceChoice.AUTO,
    precision: Precision = PrecisionChoice.AUTO,
    decode_workers: DecodeWorkers = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Teach a model your own labels: fit a new last layer to a few videos per class.

    Each video passes the network once, and its features are kept. After an interruption, or with more videos, the same
    command continues. Weight decay and temperature are chosen, and accuracy is measured, on videos kept out of the fit;
    videos of one recording are never split between the two. A single video per class works too.

    The exit code is 0 when the model is written, 1 if some videos were skipped, 2 for wrong usage, 130 if interrupted.
    """
    with reported(debug=debug):
        from vidcomp.cli.terminal import warn
        from vidcomp.cli.training_progress import told
        from vidcomp.training.config import Paths
        from vidcomp.training.head import HeadJob
        from vidcomp.training.head import train_head as train

        job = HeadJob(model, group_by, background, strategy, precision.value)
        paths = Paths(
            source=folder,
            output=output,
            cache=cache,
            cache_gb=cache_gb,
            workers=decode_workers or 0,
            device=device.value,
            overwrite=overwrite,
        )
        with told("video", "run the same command to continue", quiet=quiet, debug=debug) as (progress, reporter):
            result = train(job, paths, reporter, progress)
        for note in () if quiet else result.notes:
            warn(note)
        if not quiet:
            _print(result)
            print(f"wrote {output} with its weights beside it; try: vidcomp classify VIDEO --model {output}")
        if reporter.left_out:
            raise typer.Exit(SOME_FAILED)


def _print(result: HeadResult) -> None:
    from vidcomp.evaluation.statistics import interval_of_mean
    from vidcomp.output.terminal import console_of, print_facts, print_table

    console = console_of(sys.stdout)
    tested = result.tested
    if not tested.any():
        print("accuracy: not known, because no class has videos of two recordings; the nearest class mean decides")
        return
    right = (result.predicted == result.truth)[tested]
    groups = [group for group, one in zip(result.groups, tested, strict=True) if one]
    low, high = interval_of_mean(right, groups)
    per_class = [right[result.truth[tested] == number].mean() for number in sorted(set(result.truth[tested]))]
    facts = [
        (
            "videos",
            f"{len(result.truth)} of {len(result.classes)} classes, {counted(len(set(result.groups)), 'recording')}",
        ),
        ("accuracy", f"{right.mean():.1%} on videos kept out (95%: {low:.1%} to {high:.1%})"),
        ("balanced", f"{sum(per_class) / len(per_class):.1%}, the mean over classes"),
    ]
    if not tested.all():
        facts.append(("not tested", f"{counted(int((~tested).sum()), 'video')}, whose class has no other recording"))
    print_facts(console, facts)
    pairs = Counter(zip(result.truth[tested], result.predicted[tested], strict=True))
    wrong = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]][:_PAIRS]
    if wrong:
        rows = [[result.classes[true], result.classes[said], str(count)] for (true, said), count in wrong]
        print_table(console, ["class", "taken for", "videos"], rows)
