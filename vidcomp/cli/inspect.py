"""`vidcomp inspect`: what video files hold, how they were coded, and how much of them can be read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcomp.cli.errors import OK, SOME_FAILED, UsageError, reported
from vidcomp.cli.models import ShowFormat
from vidcomp.cli.options import PATHS, Debug
from vidcomp.cli.terminal import warn

if TYPE_CHECKING:
    from vidcomp.video import Inspection, VideoFile


def inspect(
    paths: Annotated[list[str], PATHS],
    all_files: Annotated[
        bool, typer.Option("--all-files", help="Try every file of a folder, whatever its extension.")
    ] = False,
    output_format: Annotated[ShowFormat, typer.Option("--format", help="How to print.")] = ShowFormat.TABLE,
    debug: Debug = False,
) -> None:
    """Show what video files hold: streams, size, key frames, B-frames, motion vectors, damage.

    Each file is decoded from end to end. Files that cannot be read are named on standard error.
    """
    with reported(debug=debug):
        from vidcomp.video import VideoError, find_videos

        found = find_videos(paths, stdin=sys.stdin.buffer, all_files=all_files)
        for note in found.notes:
            warn(note)
        if not found.videos:
            raise UsageError(f"no videos in {', '.join(paths)}: name a file, or a folder that holds videos")
        failed = 0
        records: list[dict[str, Any]] = []
        for video, result in _inspected(found.videos):
            if isinstance(result, VideoError):
                failed += 1
                warn(str(result), prefix="error")
                error = {"kind": result.kind, "message": str(result)}
                records.append({"path": video.path, "status": "error", "error": error})
            else:
                records.append(result.to_dict())
                if output_format is ShowFormat.TABLE:
                    if len(records) > failed + 1:
                        print()
                    _print(result)
        if output_format is ShowFormat.JSON:
            print(json.dumps(records, indent=2))
        code = SOME_FAILED if failed else OK
    raise typer.Exit(code)


def _inspected(videos: tuple[VideoFile, ...]) -> Iterator[tuple[VideoFile, Any]]:
    """Each video with what was found in it, or the `VideoError` that it is."""
    from vidcomp.video import DecodePool, VideoError
    from vidcomp.video.worker.pool import default_workers

    with DecodePool(min(len(videos), default_workers())) as pool:

        def look(video: VideoFile) -> Inspection | VideoError:
            try:
                return pool.inspect(video.path)
            except VideoError as error:
                return error

        yield from zip(videos, pool.map(look, videos), strict=True)


def _print(found: Inspection) -> None:
    from vidcomp.files import counted, printable
    from vidcomp.output.terminal import console_of, print_facts

    info, bitstream = found.info, found.bitstream
    console = console_of(sys.stdout)
    lengths = bitstream.gop_lengths
    least, most = min(lengths, default=0), max(lengths, default=0)
    far = counted(most, "frame") if least == most else f"{least} to {most} frames"
    apart = f", {far} apart" if len(lengths) > 1 else ""
    turned = f"{info.rotation}° counter-clockwise" if info.rotation else ""
    mirrored = "mirrored" if info.mirrored else ""
    own = "its own" if bitstream.vectors == "native" else "from re-encoding it as MPEG-4"
    damaged = "none found"
    if bitstream.repaired:
        damaged = f"{counted(bitstream.repaired, 'coded frame')} damaged or missing"
    facts = [
        ("size", f"{info.file_bytes:,} bytes"),
        ("container", info.container.replace(",", ", ")),
        *((stream.kind, ", ".join(filter(None, (stream.codec, stream.detail)))) for stream in found.streams),
        ("shown as", ", ".join(filter(None, (f"{info.width}×{info.height} pixels", mirrored, turned)))),
        ("frames", f"{bitstream.frames} in {bitstream.duration_s:.2f} s, {info.fps:.4g} per second"),
        ("key frames", f"{len(lengths)}{apart}"),
        ("B-frames", f"{bitstream.share_of_b:.0%}"),
        ("vectors", own),
        ("damage", damaged),
        *(("note", note) for note in bitstream.notes),
    ]
    console.print(printable(info.path), style="bold")
    print_facts(console, facts)
