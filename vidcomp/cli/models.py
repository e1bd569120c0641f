"""`vidcomp models`: what there is, what each costs, whether its weights are whole; and public checkpoints converted."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli.errors import UsageError, reported
from vidcomp.cli.options import complete_models

if TYPE_CHECKING:
    from vidcomp.zoo.convert import ConversionReport
    from vidcomp.zoo.manifest import Manifest


app = typer.Typer(name="models", help="List, show and verify models; convert public weights.", no_args_is_help=True)


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
    name: str = typer.Argument(
        DEFAULT_MODEL, help="A model's name, or the path of a YAML manifest.", autocompletion=complete_models
    ),
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
def verify(
    name: str = typer.Argument(help="A model's name or manifest.", autocompletion=complete_models), debug: bool = _DEBUG
) -> None:
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


@app.command()
def convert(
    file: Path = typer.Argument(help="The publisher's checkpoint (.pyth, .pth, .pt, .ckpt or .safetensors)."),
    source: str = typer.Option(..., "--from", help="Who published it: mmaction2, pytorchvideo, tpn, vmz or i3d."),
    output: Path = typer.Option(..., "--output", "-o", help="The .safetensors file to write."),
    backbone: str | None = typer.Option(None, "--backbone", help="Its backbone family; recognized if not given."),
    half: bool = typer.Option(False, "--half", help="Store the numbers in 16 bits: half the size."),
    keys: bool = typer.Option(False, "--keys", help="Print what became of every key."),
    as_json: bool = typer.Option(False, "--json", help="Print the whole report as JSON."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Convert a public checkpoint of a backbone, and account for every key in it.

    Nothing is written unless every tensor of the network was found and no tensor of the checkpoint was left over
    without a known reason.
    """
    with reported(debug=debug):
        from vidcomp.zoo.convert import SOURCES, ConversionError, convert_file, write

        if source not in SOURCES:
            raise UsageError(f"--from {source!r}: choose one of {', '.join(SOURCES)}")
        if output.suffix != ".safetensors":
            raise UsageError(f"--output {output}: the file's name must end in .safetensors")
        publisher = SOURCES[source]
        try:
            tensors, report = convert_file(file, publisher, backbone)
        except ConversionError as error:
            _print_report(error.report, keys=keys, as_json=as_json, extra={})
            raise
        metadata = {"format": "pt", "converted_from": source, "backbone": report.family}
        digest = write(output, tensors, metadata, half=half)
        extra = {
            "output": str(output),
            "sha256": digest,
            "preprocessing": {
                key: [round(value, 6) for value in values] for key, values in publisher.normalization._asdict().items()
            },
        }
        _print_report(report, keys=keys, as_json=as_json, extra=extra)


def _print_report(report: ConversionReport, *, keys: bool, as_json: bool, extra: dict[str, Any]) -> None:
    mismatched = {key: {"checkpoint": theirs, "network": ours} for key, (theirs, ours) in report.mismatched.items()}
    if as_json:
        content = {
            "backbone": report.family,
            "classes": report.classes,
            "used": list(report.used),
            "renamed": dict(report.renamed),
            "unused": dict(report.unused),
            "missing": list(report.missing),
            "mismatched": mismatched,
            "filled": list(report.filled),
        }
        print(json.dumps(content | extra, indent=2))
        return
    print(f"backbone {report.family}, {report.classes} classes")
    for name, found in (
        ("used", dict.fromkeys(report.used, "")),
        ("renamed", {old: f"-> {new}" for old, new in report.renamed.items()}),
        ("unused", {key: f"({why})" if why else "(no rule knows it)" for key, why in report.unused.items()}),
        ("missing", dict.fromkeys(report.missing, "")),
        ("mismatched", {key: f"{shapes['checkpoint']}, not {shapes['network']}" for key, shapes in mismatched.items()}),
        ("filled with 0", dict.fromkeys(report.filled, "")),
    ):
        print(f"{len(found):6d} {name}")
        # What arrived is listed where asked for; what did not, always.
        if keys or name in ("unused", "missing", "mismatched"):
            for key, remark in found.items():
                print(f"         {key} {remark}".rstrip())
    if extra:
        print(f"wrote {extra['output']}")
        print("For a manifest, under backbone:")
        print(f"  weights: {{path: {Path(extra['output']).resolve()}, sha256: {extra['sha256']}}}")
        print(f"and, as these weights want to be fed, preprocessing: {json.dumps(extra['preprocessing'])}")
