"""What a file holds: its streams, how its pictures were coded, and how much of it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vidcomp.video.bitstream import BitstreamOptions, BitstreamReader, BitstreamReport
from vidcomp.video.container import open_container
from vidcomp.video.frames import MAX_PIXELS, VideoInfo

if TYPE_CHECKING:
    from av.stream import Stream


@dataclass(frozen=True)
class StreamInfo:
    """A stream of a file: what it carries ("video", "audio", "subtitle", ...), its codec, and what a person would ask
    for next: its size, say, or its channels.
    """

    kind: str
    codec: str
    detail: str


@dataclass(frozen=True)
class Inspection:
    """What was found by decoding a file from end to end: what it claims, all its streams, and what the video is."""

    info: VideoInfo
    streams: tuple[StreamInfo, ...]
    bitstream: BitstreamReport

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inspection:
        """One that went through `dataclasses.asdict` and JSON."""
        bitstream = values["bitstream"]
        lists = {name: tuple(bitstream[name]) for name in ("gop_lengths", "notes")}
        streams = tuple(StreamInfo(**stream) for stream in values["streams"])
        return cls(VideoInfo(**values["info"]), streams, BitstreamReport(**{**bitstream, **lists}))

    def to_dict(self) -> dict[str, Any]:
        """The record that `vidcomp inspect` writes as JSON: plain JSON values."""
        info, bitstream = self.info, self.bitstream
        return {
            "path": info.path,
            "status": "ok",
            "error": None,
            "container": info.container,
            "file_bytes": info.file_bytes,
            "streams": [asdict(stream) for stream in self.streams],
            "codec": bitstream.codec,
            "width": info.width,
            "height": info.height,
            "rotation": info.rotation,
            "mirrored": info.mirrored,
            "fps": info.fps,
            "start_s": info.start_s,
            "duration_s": bitstream.duration_s,
            "frames": bitstream.frames,
            "gop_lengths": list(bitstream.gop_lengths),
            "share_of_b": bitstream.share_of_b,
            "vectors": bitstream.vectors,
            "damaged_frames": bitstream.repaired,
            "notes": list(bitstream.notes),
        }


def inspect_video(path: str, *, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Decode a file from end to end, in this process, however damaged it is.

    Raises:
        VideoError: no frame of it can be read.
    """
    with open_container(path) as container:
        streams = tuple(_stream_info(stream) for stream in container.streams)
    with BitstreamReader(path, BitstreamOptions(short_side=None), max_pixels=max_pixels, max_damage=1.0) as reader:
        return Inspection(reader.info, streams, reader.skim())


def _stream_info(stream: Stream) -> StreamInfo:
    context: Any = stream.codec_context
    if context is None:
        return StreamInfo(stream.type, "unknown", "")
    detail = ""
    if stream.type == "video":
        detail = f"{context.width}×{context.height} {context.pix_fmt or ''}".rstrip()
    elif stream.type == "audio":
        detail = f"{context.sample_rate} Hz, {context.layout.name}"
    return StreamInfo(stream.type, context.codec.canonical_name, detail)
