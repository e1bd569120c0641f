"""`vidcomp models convert`: a public checkpoint to a weights file that manifests can name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidcomp.cli.errors import UsageError, reported

if TYPE_CHECKING:
    from vidcomp.zoo.convert import ConversionReport


def convert(
    file: Path = typer.Argument(help="The publisher's checkpoint (.pyth, .pth, .pt, .ckpt or .safetensors)."),
    source: str = typer.Option(..., "--from", help="Who published it: mmaction2, pytorchvideo, tpn, vmz or i3d."),
    output: Path = typer.Option(..., "--output", help="The .safetensors file to write."),
    backbone: str | None = typer.Option(None, "--backbone", help="Its backbone family; recognised if not given."),
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
