"""`vidcomp search`: the videos, or moments of them, that look most like an example."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcomp.cli.errors import UsageError, reported
from vidcomp.cli.files import check_file, write_file
from vidcomp.cli.options import Device, DeviceChoice, Precision, PrecisionChoice
from vidcomp.cli.terminal import download_progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vidcomp.output.features import FeatureTable


class SearchFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"


def search(
    example: Annotated[str, typer.Argument(metavar="VIDEO", help="The video to find similar ones to.")],
    table: Annotated[Path, typer.Option("--in", metavar="FILE", help="What vidcomp embed wrote: .parquet or .npz.")],
    top: Annotated[int, typer.Option("--top", min=1, help="How many to show.")] = 10,
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model that made the table, if it does not ship: its YAML manifest."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE.html", help="Write a page of film strips too.")
    ] = None,
    output_format: Annotated[SearchFormat, typer.Option("--format", help="How to print.")] = SearchFormat.TABLE,
    device: Device = DeviceChoice.AUTO,
    precision: Precision = PrecisionChoice.AUTO,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Find the videos, or the moments, that look most like VIDEO, by the cosine of their vectors.

    If VIDEO is in the table and unchanged, its row is used and nothing is computed. It is never among the answers.
    """
    with reported(debug=debug):
        if html is not None:
            check_file("--html", html, ".html")
        from vidcomp.files import absolute
        from vidcomp.output.features import read_table

        features = read_table(table)
        vector = _own_vector(features, example)
        if vector is None:
            vector = _vector_of(features, example, model, device.value, precision.value)
        if len(vector) != features.vectors.shape[1]:
            raise UsageError(
                f"--in {table}: its vectors have {features.vectors.shape[1]} numbers, and those of the model "
                f"{len(vector)}; name the model that made it (--model)"
            )
        similar = features.similarities(vector)
        own = absolute(example)
        order = [int(n) for n in (-similar).argsort(kind="stable") if features.files[int(n)][0] != own][:top]
        found = [
            {**features.rows[n]._asdict(), "similarity": round(float(similar[n]), 4), "file": features.files[n][0]}
            for n in order
        ]
        for row in found:
            del row["vector"], row["record"], row["error"]
        if html is not None:
            from vidcomp.output.html import search_page

            write_file("--html", html, lambda: search_page(example, found).encode())
        if output_format is SearchFormat.JSON:
            print(json.dumps(found, indent=2))
        else:
            _print(found)


def _own_vector(features: FeatureTable, example: str) -> NDArray[np.float32] | None:
    """What the table itself says of the example, if it is the file that it was: the mean of its rows."""
    from vidcomp.files import absolute
    from vidcomp.inference.batch import stamp_of

    stamp = stamp_of(example)
    if stamp is None:
        return None
    wanted = (absolute(example), stamp.size, stamp.mtime_ns)
    own = [number for number, file in enumerate(features.files) if file == wanted]
    return features.vectors[own].mean(axis=0) if own else None


def _vector_of(
    features: FeatureTable, example: str, model: str | None, device: str, precision: str
) -> NDArray[np.float32]:
    """What the model that made the table makes of the example, passed whole."""
    from vidcomp.inference.classifier import Classifier
    from vidcomp.inference.grammar import StrategyError, parse_strategy
    from vidcomp.zoo import ManifestError
    from vidcomp.zoo.build import Variant, load_variant, vary
    from vidcomp.zoo.manifest import find_manifest
    from vidcomp.zoo.weights import fingerprint

    try:
        manifest = find_manifest(model or features.model)
    except ManifestError as error:
        if model is not None:
            raise
        raise UsageError(f"the table was made by {features.model}: give its manifest as --model ({error})") from None
    # The table does not name compressors, yet its model is known when it is seen.
    variants = [vary(manifest, Variant(kind)) for kind in (None, "none", *manifest.siblings)]
    with download_progress() as progress:
        made_it = next((one for one in variants if features.is_by(fingerprint(one, progress))), None)
        if made_it is None:
            same = manifest.name == features.model
            made_by = f"another version of {features.model}" if same else f"{features.model}, not by {manifest.name}"
            raise UsageError(f"the table was made by {made_by}; name that one (--model), or make the table again")
        loaded = load_variant(made_it, progress)
    try:
        strategy = parse_strategy(features.strategy).strategy
    except StrategyError:  # windows, of which the example is one
        strategy = None
    try:
        with Classifier(loaded, device=device, precision=precision, strategy=strategy) as classifier:
            return classifier.features(example)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _print(found: list[dict[str, Any]]) -> None:
    from vidcomp.output.terminal import console_of, moment_text, print_table

    windows = any(row["start_s"] is not None for row in found)
    rows = [
        [
            f"{row['similarity']:.3f}",
            row["path"],
            *([moment_text(row["start_s"], row["end_s"])] if windows else []),
            row["label"] or "",
        ]
        for row in found
    ]
    headings = ["similarity", "video", *(["moment"] if windows else []), "label"]
    print_table(console_of(sys.stdout), headings, rows, right=(0,))
