"""`vidcomp models`: what there is, what each costs, and whether its weights are whole."""

from __future__ import annotations

import json
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.convert import convert
from vidcomp.cli.errors import UsageError, reported

if TYPE_CHECKING:
    from vidcomp.zoo.manifest import Manifest

app = typer.Typer(name="models", help="List, show and verify models; convert public weights.", no_args_is_help=True)
app.command()(convert)


class ShowFormat(str, Enum):
    """Formats of `models list` and `models show`."""

    TABLE = "table"
    JSON = "json"


_DEBUG = typer.Option(False, "--debug", help="Show tracebacks.")
_FORMAT = typer.Option(ShowFormat.TABLE, "--format", help="How to print.")


@app.command("list")
def list_models(output_format: ShowFormat = _FORMAT, debug: bool = _DEBUG) -> None:
    """List the models that ship with vidcomp."""
    with reported(debug=debug):
        from vidcomp.zoo.manifest import list_manifests

        rows = [
            {
                "name": manifest.name,
                "backbone": manifest.backbone.family,
                "compressors": [f"{section.kind}@{section.cut}" for section in manifest.compressors],
                "weights": _weights_state(manifest),
                "summary": manifest.summary,
            }
            for manifest in list_manifests()
        ]
        if output_format is ShowFormat.JSON:
            print(json.dumps(rows, indent=2))
            return
        from vidcomp.output.terminal import console_of, print_table

        cells = [(str(row["name"]), str(row["weights"]), str(row["summary"])) for row in rows]
        print_table(console_of(sys.stdout), ("model", "weights", "what it is"), cells, prose=True)


@app.command()
def show(
    name: str = typer.Argument(help="A model's name, or the path of a YAML manifest."),
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
        from vidcomp.zoo.manifest import find_manifest

        manifest = vary(find_manifest(name), Variant(compressor, tau, cut))
        with torch.device("meta"):
            network = build_network(manifest).eval()
        count = frames or network.spec.clip_frames
        height, width = _parse_size(size) if size else (network.spec.whole_side, network.spec.whole_side)
        description: dict[str, Any] = {
            "name": manifest.name,
            "summary": manifest.summary,
            "backbone": manifest.backbone.family,
            "compressors": [
                {"cut": section.cut, "kind": section.kind, "options": section.options}
                for section in manifest.compressors
            ],
            "cuts": list(network.cuts_allowed),
            "classes": manifest.backbone.classes,
            "weights": _weights_state(manifest),
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
    name: str = typer.Argument(DEFAULT_MODEL, help="A model's name, or the path of a YAML manifest."),
    match: str | None = typer.Option(None, "--match", metavar="TEXT", help="Only labels that hold this text."),
    debug: bool = _DEBUG,
) -> None:
    """Print the labels of a model, one a line, in the order of its outputs. Such a list is what --only-file reads."""
    with reported(debug=debug):
        from vidcomp.zoo.labels import labels_of, near_labels
        from vidcomp.zoo.manifest import find_manifest

        manifest = find_manifest(name)
        known = labels_of(manifest)
        found = [label for label in known if match is None or match.casefold() in label.casefold()]
        if not found:
            near = ", ".join(near_labels(known, match or ""))
            hint = f"near it: {near}" if near else "try a shorter text"
            raise UsageError(f"--match {match!r}: no label of {manifest.name} holds it; {hint}")
        print("\n".join(found))


@app.command()
def verify(name: str = typer.Argument(help="A model's name or manifest."), debug: bool = _DEBUG) -> None:
    """Check that a model's weights are present, undamaged and of its network; downloads them if need be."""
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
        print(f"{model.manifest.name}: weights are whole: {count:,} parameters, {len(model.labels)} labels")


def _parse_size(size: str) -> tuple[int, int]:
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) >= 16 for part in parts):
        raise UsageError(f"--size {size!r} is not height x width in pixels, at least 16 each, such as 256x312")
    return int(parts[0]), int(parts[1])


def _weights_state(manifest: Manifest) -> str:
    """In a word or two: where weights come from, or which part has none."""
    source = manifest.backbone.weights
    if source is None:
        return "none"
    where = "ships" if source.file else "torchvision" if source.torchvision else "download" if source.url else "local"
    trained = all(section.weights or section.kind == "identity" for section in manifest.compressors)
    return where if trained else "backbone only"


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
        "compressors": ", ".join(
            f"{c['kind']} after {c['cut']} {c['options'] or ''}".rstrip() for c in description["compressors"]
        ),
        "can be cut after": ", ".join(description["cuts"]),
        "weights": description["weights"],
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
