"""`vidcomp models`: what there is, what each costs, and whether its weights are whole."""

from __future__ import annotations

import json
import re
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli import checkpoints
from vidcomp.cli.errors import UsageError, reported
from vidcomp.cli.help import App
from vidcomp.cli.options import complete_models
from vidcomp.files import counted

if TYPE_CHECKING:
    from vidcomp.zoo.manifest import Manifest


app = App(name="models", help="List, show, fetch and check models; convert checkpoints.", no_args_is_help=True)


class ShowFormat(str, Enum):
    """Formats of `models list` and `models show`."""

    TABLE = "table"
    JSON = "json"


_DEBUG = typer.Option(False, "--debug", help="Show tracebacks.")
_FORMAT = typer.Option(ShowFormat.TABLE, "--format", help="How to print.")


@app.command("list")
def list_models(
    family: Annotated[
        str | None, typer.Option("--family", metavar="TEXT", help="Only families whose name contains this text.")
    ] = None,
    output_format: ShowFormat = _FORMAT,
    debug: bool = _DEBUG,
) -> None:
    """List all models, family by family, and what each needs before it can label videos."""
    with reported(debug=debug):
        from vidcomp.zoo.manifest import list_manifests

        manifests = list_manifests()
        wanted = (family or "").casefold()
        found = [one for one in manifests if wanted in f"{_group(one)} {one.backbone.family}".casefold()]
        if not found:
            groups = ", ".join(dict.fromkeys(_group(one) for one in manifests))
            raise UsageError(f"--family {family!r}: no family is called that; there are {groups}")
        rows = [_row(one) for one in found]
        # The default's family comes first, then others that ship.
        first = {row["family"]: 2 for row in rows}
        for row in rows:
            first[row["family"]] = min(
                first[row["family"]], 0 if row["default"] else 1 if row["weights"] == "ships" else 2
            )
        rows.sort(key=lambda row: (first[row["family"]], row["family"].casefold(), row["name"]))
        if output_format is ShowFormat.JSON:
            print(json.dumps(rows, indent=2))
            return
        _print_list(rows)


def _group(manifest: Manifest) -> str:
    return manifest.group or manifest.backbone.family


def _row(manifest: Manifest) -> dict[str, Any]:
    published = (row for row in manifest.reported if row.get("dataset", "Kinetics-400") == "Kinetics-400")
    kinds = ["+".join(section.kind for section in manifest.compressors)]
    return {
        "name": manifest.name,
        "family": _group(manifest),
        "backbone": manifest.backbone.family,
        "default": manifest.name == DEFAULT_MODEL,
        "weights": _weights_state(manifest),
        "labels": manifest.backbone.classes,
        "gmacs": manifest.gmacs,
        "top1": next((row["top1"] for row in published if "top1" in row), None),
        "license": _short_license(manifest.license),
        "compressors": [*kinds, *manifest.alternatives, *manifest.siblings],
        "summary": manifest.summary,
    }


def _short_license(text: str) -> str | None:
    """The name of the weights' license alone, if they have one."""
    found = re.search(r"Apache-2\.0|MIT|BSD-3-Clause", text)
    return found[0] if found else None


def _print_list(rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from vidcomp.output.terminal import Cell, console_of, print_table, print_text

    def shown(value: float | str | None) -> str:
        return "–" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)

    cells: list[tuple[Cell, ...]] = []
    for number, row in enumerate(rows):
        if not number or row["family"] != rows[number - 1]["family"]:
            cells.append((Text(row["family"], style="bold"), *[""] * 7))
        compressors = [kind for kind in row["compressors"] if kind != "identity"]
        cells.append(
            (
                f"  {row['name']}{' *' if row['default'] else ''}",
                Text(row["weights"], style={"ships": "green", "on this disk": "green"}.get(row["weights"], "")),
                shown(row["labels"]),
                shown(row["gmacs"]),
                shown(row["top1"]),
                shown(row["license"]),
                ", ".join(compressors),
                row["summary"],
            )
        )
    console = console_of(sys.stdout)
    headings = ("model", "weights", "labels", "GMACs", "top-1", "license", "compressors", "what it is")
    print_table(console, headings, cells, right=(2, 3, 4), spare=(7, 6, 5, 2, 3, 4))
    for line in (
        "* is the default. One download: fetched on first use, or by vidcomp models get NAME.",
        "GMACs are for ten seconds of video; top-1 is as published, on Kinetics-400.",
    ):
        print_text(console, line, "dim")


@app.command()
def show(
    name: str = typer.Argument(help="A model's name, or the path of a YAML manifest.", autocompletion=complete_models),
    compressor: str | None = typer.Option(None, "--compressor", help="The model's compressor, or none."),
    tau: float | None = typer.Option(None, "--tau", help="Compression ratio of SFC (at least 1)."),
    cut: str | None = typer.Option(None, "--cut", help="Stage after which the compressor stands."),
    frames: int | None = typer.Option(None, "--frames", min=1, help="Frames entering the network."),
    size: str | None = typer.Option(None, "--size", help="Height x width of those frames, such as 256x312."),
    output_format: ShowFormat = _FORMAT,
    debug: bool = _DEBUG,
) -> None:
    """Show a model: its parts, their parameters and GMACs, its labels and the source of its numbers.

    GMACs are multiply-accumulates in thousands of millions, which the literature often calls GFLOPs.
    """
    with reported(debug=debug):
        import torch

        from vidcomp.evaluation.cost import gmacs, parameters
        from vidcomp.zoo.build import Variant, build_network, vary
        from vidcomp.zoo.downloads import downloads_of
        from vidcomp.zoo.manifest import find_manifest

        manifest = vary(find_manifest(name), Variant(compressor, tau, cut))
        with torch.device("meta"):
            network = build_network(manifest).eval()
        count = frames or network.spec.clip_frames
        height, width = _parse_size(size) if size else (network.spec.whole_side, network.spec.whole_side)
        description: dict[str, Any] = {
            "name": manifest.name,
            "summary": manifest.summary,
            "family": _group(manifest),
            "backbone": manifest.backbone.family,
            "compressors": [
                {"cut": section.cut, "kind": section.kind, "options": section.options}
                for section in manifest.compressors
            ],
            "cuts": list(network.cuts_allowed),
            "classes": manifest.backbone.classes,
            "weights": _weights_state(manifest),
            "downloads": [download.url for download in downloads_of(manifest)],
            "frames": count,
            "size": f"{height}x{width}",
            "preprocessing": {
                "clip_frames": network.spec.clip_frames,
                "stride": network.spec.stride,
                "fps": network.spec.fps,
                "short_side": network.spec.short_side,
                "crop": network.spec.crop,
                "central": network.spec.central,
                "mean": list(network.spec.mean),
                "std": list(network.spec.std),
            },
            "params": parameters(network).as_dict(),
            "params_without_batchnorm": parameters(network, batch_norm=False).as_dict(),
            "gmacs": gmacs(network, count, height, width).as_dict(digits=6),
            "reported": list(manifest.reported),
            "measured": list(manifest.measured),
            "source": manifest.source,
            "license": manifest.license,
        }
        if output_format is ShowFormat.JSON:
            print(json.dumps(description, indent=2))
        else:
            _print_description(description)


@app.command()
def labels(
    name: str = typer.Argument(
        DEFAULT_MODEL, help="A model's name, or the path of a YAML manifest.", autocompletion=complete_models
    ),
    match: str | None = typer.Option(None, "--match", metavar="TEXT", help="Only labels that contain this text."),
    debug: bool = _DEBUG,
) -> None:
    """Print the labels of a model, one per line, in the order of its outputs. Such a list is what --only-file reads."""
    with reported(debug=debug):
        from vidcomp.zoo.labels import caseless, labels_of, near_labels
        from vidcomp.zoo.manifest import find_manifest

        manifest = find_manifest(name)
        known = labels_of(manifest)
        found = [label for label in known if match is None or caseless(match) in caseless(label)]
        if not found:
            near = ", ".join(near_labels(known, match or ""))
            hint = f"near it: {near}" if near else "try a shorter text"
            raise UsageError(f"--match {match!r}: no label of {manifest.name} contains it; {hint}")
        print("\n".join(found))


@app.command()
def verify(
    name: str = typer.Argument(help="A model's name or manifest.", autocompletion=complete_models), debug: bool = _DEBUG
) -> None:
    """Check that a model's weights are present, undamaged and of its network. Download them if needed."""
    with reported(debug=debug):
        from vidcomp.cli.terminal import download_progress
        from vidcomp.zoo import weights
        from vidcomp.zoo.build import load_variant
        from vidcomp.zoo.manifest import find_manifest

        with download_progress() as progress:
            manifest = find_manifest(name)
            weights.verify(manifest, progress)
            model = load_variant(manifest, progress)
        count = sum(parameter.numel() for parameter in model.network.parameters())
        print(f"{model.manifest.name}: weights are whole: {count:,} parameters, {counted(len(model.labels), 'label')}")


for command in (checkpoints.get, checkpoints.remove, checkpoints.cache, checkpoints.convert, checkpoints.push):
    app.command()(command)


def _parse_size(size: str) -> tuple[int, int]:
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) >= 16 for part in parts):
        raise UsageError(f"--size {size!r} is not height x width in pixels, at least 16 each, such as 256x312")
    return int(parts[0]), int(parts[1])


def _weights_state(manifest: Manifest) -> str:
    """At a glance: where the backbone's weights are."""
    from vidcomp.zoo.downloads import downloads_of

    if not manifest.backbone.has_weights:
        return "bring your own"
    if manifest.backbone.weights is None:
        return "on the Hub"
    downloads = list(downloads_of(manifest))
    if not downloads:
        return "ships"
    return "on this disk" if all(download.here for download in downloads) else "one download"


def _print_description(description: dict[str, Any]) -> None:
    from vidcomp.output.terminal import console_of, print_facts, print_table

    console = console_of(sys.stdout)
    console.print(description["name"], style="bold")
    feeding = description["preprocessing"]
    view = "its middle" if feeding["central"] else "dense views"
    rate = f"{feeding['fps']:g} a second" if feeding["fps"] else f"stride {feeding['stride']}"
    facts = {
        "summary": description["summary"],
        "backbone": f"{description['backbone']}, {description['classes']} classes",
        "compressors": "; ".join(
            f"{one['kind']} after {one['cut']}"
            + "".join(f", {key} {value}" for key, value in one["options"].items() if value is not None)
            for one in description["compressors"]
        ),
        "can be cut after": ", ".join(description["cuts"]),
        "weights": " ".join([description["weights"], *description["downloads"]]),
        "clip": f"{feeding['clip_frames']} frames at {rate}, "
        f"short side {feeding['short_side']} px, {view} {feeding['crop']} px",
        "source": description["source"],
        "license": description["license"],
    }
    print_facts(console, [(key, value) for key, value in facts.items() if value])
    console.print(f"one pass of {description['frames']} frames of {description['size']}", style="italic")
    rows = [
        (part, f"{description['params'][part]:,}", f"{description['gmacs'][part]:.2f}")
        for part in ("head", "compressor", "tail", "total")
    ]
    print_table(console, ("", "parameters", "GMACs"), rows, right=(1, 2))
    numbers = [
        (key, ", ".join(f"{name} {value}" for name, value in row.items()))
        for key in ("measured", "reported")
        for row in description[key]
    ]
    if numbers:
        print_facts(console, numbers)
