"""`vidcomp models get`, `remove`, `cache` and `convert`: the files of weights, from the web and of one's own."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcomp.cli.errors import SOME_FAILED, UsageError, reported
from vidcomp.cli.terminal import download_progress, warn
from vidcomp.files import counted

if TYPE_CHECKING:
    from vidcomp.zoo.convert import ConversionReport
    from vidcomp.zoo.manifest import Manifest

_Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Names of models.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def get(
    names: _Names = None,
    all_models: Annotated[bool, typer.Option("--all", help="All models that can be downloaded.")] = False,
    debug: _Debug = False,
) -> None:
    """Fetch the weights of models before they are needed, and convert them."""
    with reported(debug=debug):
        from vidcomp.zoo import ZooError
        from vidcomp.zoo.build import load_variant
        from vidcomp.zoo.downloads import downloads_of

        chosen = _chosen(names, all_models)
        failed = 0
        for manifest in chosen:
            fetched = [download for download in downloads_of(manifest) if not download.here]
            try:
                with download_progress() as progress:
                    model = load_variant(manifest, progress)
            except ZooError as error:
                if len(chosen) == 1:
                    raise
                warn(str(error), prefix="error")
                failed += 1
                continue
            count = sum(parameter.numel() for parameter in model.network.parameters())
            how = "fetched from " + ", ".join(one.url for one in fetched) if fetched else "was here already"
            print(f"{manifest.name}: {how}; {count:,} parameters, {counted(len(model.labels), 'label')}")
        if failed:
            raise typer.Exit(SOME_FAILED)


def remove(
    names: _Names = None,
    all_models: Annotated[bool, typer.Option("--all", help="All models that were downloaded.")] = False,
    debug: _Debug = False,
) -> None:
    """Remove the downloaded weights of models from this machine. What ships with vidcomp stays."""
    with reported(debug=debug):
        from vidcomp.zoo import downloads
        from vidcomp.zoo.downloads import downloads_of

        if all_models and not names:
            files = downloads.kept()
        else:
            files = [one.file for manifest in _chosen(names, all_models) for one in downloads_of(manifest)]
            files = [file for file in dict.fromkeys(files) if file.is_file()]
        freed = sum(downloads.remove(file) for file in files)
        for file in files:
            print(file)
        print(f"{_count(files)} removed, {freed / 1e6:.1f} MB" if files else "nothing of that was downloaded")


def _count(files: list[Path]) -> str:
    return counted(len(files), "file")


def cache(debug: _Debug = False) -> None:
    """Show which weights were downloaded, where they are, and how much room they take."""
    with reported(debug=debug):
        from vidcomp.output.terminal import console_of, print_table
        from vidcomp.zoo import downloads
        from vidcomp.zoo.downloads import downloads_of
        from vidcomp.zoo.manifest import list_manifests

        models: dict[Path, list[str]] = {}
        for manifest in list_manifests():
            for download in downloads_of(manifest):
                models.setdefault(download.file, []).append(manifest.name)
        files = downloads.kept()
        rows = [(", ".join(models.get(file, ["–"])), f"{file.stat().st_size / 1e6:.1f}", file.name) for file in files]
        if rows:
            print_table(console_of(sys.stdout), ("model", "MB", "file"), rows, right=(1,), spare=(2,))
        total = sum(file.stat().st_size for file in files)
        print(f"{downloads.cache_folder()}: {_count(files)}, {total / 1e6:.1f} MB")


def push(
    folder: Annotated[Path, typer.Argument(help="A manifest (.yaml), or a folder with one.")],
    name: Annotated[str, typer.Argument(metavar="hf:OWNER/NAME", help="The repository on the Hugging Face Hub.")],
    debug: _Debug = False,
) -> None:
    """Upload a model to the Hugging Face Hub, where everyone can use it as hf:OWNER/NAME."""
    with reported(debug=debug):
        from vidcomp.zoo.hub import push as upload

        manifests = [folder] if folder.is_file() else sorted(folder.glob("*.yaml"))
        if len(manifests) != 1:
            raise UsageError(f"{folder}: there are {len(manifests)} manifests (.yaml); name one")
        print(f"{name}: uploaded to {upload(manifests[0], name)}")


def _chosen(names: list[str] | None, every: bool) -> list[Manifest]:
    from vidcomp.zoo.downloads import downloads_of
    from vidcomp.zoo.manifest import find_manifest, list_manifests

    if bool(names) == every:
        raise UsageError("name models, or give --all" if every is False else "name models or give --all, not both")
    if names:
        return [find_manifest(name) for name in names]
    return [manifest for manifest in list_manifests() if any(downloads_of(manifest))]


def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint (.pyth, .pth, .pt, .ckpt or .safetensors).")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Who published it: mmaction2, pytorchvideo, tpn, vmz, torchvision or i3d; guessed by default.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .safetensors file to write, by default beside the checkpoint."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Its backbone family; recognized if not given.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Its labels, one per line, if they are its own.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the numbers in 16 bits: half the size.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print what became of every key.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    debug: _Debug = False,
) -> None:
    """Convert a checkpoint of a backbone, account for every key in it, and write a manifest beside the result.

    Nothing is written unless every tensor of the network was found and no tensor of the checkpoint was left over
    without a known reason.
    """
    with reported(debug=debug):
        from vidcomp.zoo.convert import SOURCES, ConversionError, convert_file, guess_source, write

        named, output = output is not None, output or file.with_suffix(".safetensors")
        if source is not None and source not in SOURCES:
            raise UsageError(f"--from {source!r}: choose one of {', '.join(SOURCES)}")
        if output.suffix != ".safetensors":
            raise UsageError(f"--output {output}: the file's name must end in .safetensors")
        if output.exists() and output.samefile(file):
            raise UsageError(f"--output {output}: that is the checkpoint itself; choose another name")
        _check_not_anothers(output, named=named)
        own = _labels_in(labels)
        try:
            publisher = source or guess_source(file, SOURCES, backbone)
            tensors, report = convert_file(file, SOURCES[publisher], backbone)
        except ConversionError as error:
            if as_json or not error.report.foreign:
                _print_report(error.report, keys=keys, as_json=as_json, extra={})
            raise
        if own and len(own) != report.classes:
            raise UsageError(f"--labels {labels}: {len(own)} labels for {report.classes} classes; give one for each")
        digest = write(output, tensors, {"converted_from": publisher}, half=half)
        wanted = SOURCES[publisher].normalization
        feeding = (
            {} if wanted is None else {key: [round(v, 6) for v in values] for key, values in wanted._asdict().items()}
        )
        manifest = _write_manifest(output, digest, publisher, report, feeding, own)
        extra = {
            "from": publisher,
            "output": str(output),
            "manifest": str(manifest),
            "sha256": digest,
            "preprocessing": feeding,
        }
        _print_report(report, keys=keys, as_json=as_json, extra=extra)


_MADE_BY = "converted by vidcomp models convert"


def _check_not_anothers(weights: Path, *, named: bool) -> None:
    """Make sure that no file is overwritten that neither was named nor came from an earlier conversion."""
    manifest = weights.with_suffix(".yaml")
    earlier = manifest.is_file() and _MADE_BY in manifest.read_text(encoding="utf-8", errors="replace")
    for path in [manifest] if named else [manifest, weights]:
        if path.exists() and not earlier:
            raise UsageError(f"{path}: this file would be overwritten; name another with --output NAME.safetensors")


def _labels_in(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _write_manifest(
    weights: Path,
    sha256: str,
    publisher: str,
    report: ConversionReport,
    preprocessing: dict[str, list[float]],
    labels: list[str],
) -> Path:
    """Write the manifest of converted weights beside them: a model that ships, of their backbone, with these."""
    import yaml

    from vidcomp.files import replace_file
    from vidcomp.zoo.manifest import list_manifests

    alike = [one for one in list_manifests() if one.backbone.family == report.family]

    def published(one: Manifest) -> bool:
        return one.backbone.weights is not None and one.backbone.weights.format == publisher

    base = next(iter(sorted(alike, key=published, reverse=True)), None)
    content: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9._+-]", "-", weights.stem).lstrip("._+-") or "converted",
        "summary": f"{report.family}, converted from {publisher}",
        "backbone": {
            "family": report.family,
            "classes": report.classes,
            "weights": {"file": weights.name, "sha256": sha256},
        },
        "preprocessing": preprocessing,
        "source": f"{_MADE_BY} --from {publisher}",
        "license": "that of the checkpoint",
    }
    if base is None:
        content["compressors"] = [{"cut": "stem", "kind": "identity"}]
    else:
        content = {"base": base.name, **content}
    if labels:
        content["labels"] = labels
    elif base is None or base.backbone.classes != report.classes:
        content["labels"] = [f"class {number}" for number in range(report.classes)]
    path = weights.with_suffix(".yaml")
    replace_file(path, [yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()])
    return path


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
        print(f"wrote {extra['manifest']}: vidcomp classify VIDEO --model {extra['manifest']}")
