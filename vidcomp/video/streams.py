"""Which stream of a container is the video, what it says of itself, and what decoders hide: encryption, and holes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidcomp.video.errors import DecodeFailed, NoVideoStream, VideoEncrypted, VideoTruncated
from vidcomp.video.frames import VideoInfo
from vidcomp.video.orientation import Orientation, orientation_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


ENCRYPTED = "it is encrypted, and there is no key; decrypt it first"

# Where demuxers note a protection of the whole file: WebM and Matroska of a stream, ASF (WMV) of the container.
_NOTED = frozenset({"enc_key_id", "ASF_Protection_Type", "ASF_Key_ID"})
# Of a transport or program stream so many blocks are looked at, spread over the file.
_BLOCKS, _BLOCK_BYTES = 32, 96 * 1024
_PACKET_BYTES = (188, 192, 204)  # of broadcasts, camcorders and Blu-ray discs, and with error correction
_SYNC = 0x47
# The header of a program stream's packet of video, up to the byte whose bits 4 and 5 tell whether it is scrambled.
_PES = re.compile(rb"\x00\x00\x01[\xe0-\xef]..([\x80-\xbf])", re.DOTALL)
# What a container itself takes of its bytes, at most: headers, and stuffing.
_OVERHEAD = 0.25
# What lies between two packets and is longer is none of that.
_HOLE = 0.05


def is_encrypted(packet: Packet[Any]) -> bool:
    """Whether a coded frame is encrypted (Common Encryption, as MP4 files for players with a license have it)."""
    return packet.has_sidedata("encryption_info")


def is_protected(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the container says that all of a stream is encrypted."""
    return not _NOTED.isdisjoint({*container.metadata, *stream.metadata})


def scrambled_share(path: str, container: InputContainer, stream: VideoStream) -> float:
    """The share of a stream's packets that are scrambled: as broadcasts (MPEG-TS) and DVDs (MPEG-PS) are; else 0.

    Demuxers drop such packets, or pass them on as they are. A sample of the file is looked at.
    """
    if container.format.name not in ("mpegts", "mpeg"):
        return 0.0
    scrambled = total = 0
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        size = os.fstat(file.fileno()).st_size
        for start in range(0, size, max(_BLOCK_BYTES, size // _BLOCKS)):
            file.seek(start)
            block = file.read(_BLOCK_BYTES)
            flags = _transport_flags(block, stream.id) if container.format.name == "mpegts" else _program_flags(block)
            scrambled += sum(flags)
            total += len(flags)
    return scrambled / total if total else 0.0


def _transport_flags(block: bytes, stream: int) -> list[bool]:
    """For each packet of a stream that carries something, whether it is scrambled."""
    data = np.frombuffer(block, np.uint8)
    for size in _PACKET_BYTES:
        reach = max(0, min(size, len(data) - 3 * size))
        begins = np.all([data[n * size : n * size + reach] == _SYNC for n in range(4)], axis=0)
        if begins.any():
            data = data[int(begins.argmax()) :]
            packets = data[: len(data) // size * size].reshape(-1, size)
            identity = (packets[:, 1].astype(int) & 0x1F) << 8 | packets[:, 2]
            chosen = (packets[:, 0] == _SYNC) & (identity == stream) & (packets[:, 3] & 0x10 > 0)
            return [bool(flags & 0xC0) for flags in packets[chosen, 3]]
    return []


def _program_flags(block: bytes) -> list[bool]:
    return [bool(match[1][0] & 0x30) for match in _PES.finditer(block)]


def unread_share(container: InputContainer) -> float:
    """The share of a file's bytes, from the first packet on, that are in no packet: holes that could not be read.

    What a container itself needs, spread over the file, and what cannot be told, is 0.
    """
    import av

    packets: list[tuple[int, int]] = []
    try:
        for packet in container.demux():
            if packet.size and packet.pos is not None and packet.pos >= 0:
                packets.append((packet.pos, packet.size))
    except (av.FFmpegError, IndexError):
        pass  # what comes behind was not read either; or a stream appeared on the way: see `demux`
    packets.sort()
    length = container.size - packets[0][0] if packets else 0
    if length <= 0:
        return 0.0
    unread = 1 - sum(size for _, size in packets) / length
    longest = max((later - begin - size for (begin, size), (later, _) in pairwise(packets)), default=0) / length
    return unread if unread > _OVERHEAD or longest > _HOLE else 0.0


_FALLBACK_FPS = 25.0  # what raw streams are taken to run at, since they do not say
_LATEST_START_S = 3600.0  # a video that would start later than this has an absurd first timestamp


def video_stream(path: str, container: InputContainer) -> VideoStream:
    """The stream of moving pictures; never a cover or a preview.

    Of several, one that the container marks as default goes before others, then that with the largest pictures, with
    the most frames, and the first.

    Raises:
        NoVideoStream: there is none.
        VideoEncrypted: it is encrypted.
        DecodeFailed: its codec is unknown.
        VideoTruncated: nothing in its beginning tells how large the pictures are.
    """
    streams = _moving(container)
    if not streams:
        raise NoVideoStream(path, "there is sound or a cover in it, but no video; name a file with moving pictures")
    stream = max(streams, key=_preference)  # the first of equals
    # Of an encrypted stream not even the codec may be known, and of a scrambled one not the size.
    if is_protected(container, stream):
        raise VideoEncrypted(path, ENCRYPTED)
    context: VideoCodecContext | None = stream.codec_context
    if context is not None and context.width and context.height:
        return stream
    if _begins_encrypted(path, container, stream):
        raise VideoEncrypted(path, ENCRYPTED)
    if context is None:
        raise DecodeFailed(path, "its codec is not known to this version of FFmpeg; convert it to H.264, for example")
    raise VideoTruncated(path, "it has no key frame to start from; cut it at one")


def _begins_encrypted(path: str, container: InputContainer, stream: VideoStream) -> bool:
    first = islice(demux(container, stream), 1)
    return any(map(is_encrypted, first)) or bool(scrambled_share(path, container, stream))


def choice_notes(container: InputContainer, stream: VideoStream) -> tuple[str, ...]:
    """What to say of the choice of `stream`: nothing, unless there are others."""
    indices = [other.index for other in _moving(container)]
    if len(indices) == 1:
        return ()
    size = f"{stream.codec_context.width}×{stream.codec_context.height}"
    return (f"it has {len(indices)} video streams; number {indices.index(stream.index) + 1} was read ({size})",)


def info_of(path: str, container: InputContainer, stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    """Gather what container, stream and first frame tell."""
    orientation = orientation_of(frame) or Orientation()
    width, height = orientation.size(frame.width, frame.height)
    start_s = _start(container, frame)
    duration_s = own_duration(stream)
    if duration_s is None and container.duration:
        duration_s = max(0.0, container.duration / 1_000_000 - start_s)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        fps=fps_of(stream),
        start_s=start_s,
        duration_s=duration_s,
        frame_count=stream.frames or None,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        file_bytes=Path(path).stat().st_size,
    )


def fps_of(stream: VideoStream) -> float:
    """Frames a second; a plausible one where the stream names none, or an absurd one."""
    rates = [stream.average_rate, stream.guessed_rate]
    if stream.start_time is None:
        # A bare bitstream has no times to take an average of: it is libav's default, 25, whatever the headers say.
        rates.reverse()
    for rate in rates:
        if rate and 0.01 <= rate <= 1000:
            return float(rate)
    return _FALLBACK_FPS


def own_duration(stream: VideoStream) -> float | None:
    """Seconds that the stream itself claims to last; None where only the container, sound and all, makes a claim."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska notes in a tag when a stream ends.
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    end_s = 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
    begin_s = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    return end_s - begin_s if end_s > begin_s else end_s


def companions(container: InputContainer, stream: VideoStream) -> list[Stream]:
    """The streams whose ends tell whether a container is cut or only longer than its video; none if that tells."""
    if own_duration(stream) is not None:
        return []
    return [other for other in container.streams if other.type in ("audio", "video") and other.index != stream.index]


def demux(container: InputContainer, *streams: Stream) -> Iterator[Packet[Any]]:
    """The packets of these streams, or of all, and an empty one of each at the end.

    Streams that appear on the way, as they do where broadcasts were joined, are left out: PyAV trips over them when it
    ends the others.
    """
    with contextlib.suppress(IndexError):
        yield from container.demux(*streams)


def packet_end(packet: Packet[Any], container: InputContainer) -> float:
    """When a packet ends, in seconds since the container's start; 0 where it does not tell."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base) - (container.start_time or 0) / 1_000_000


def _moving(container: InputContainer) -> list[VideoStream]:
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & pictures]


def _preference(stream: VideoStream) -> tuple[bool, bool, int, int]:
    from av.stream import Disposition

    context: VideoCodecContext | None = stream.codec_context
    if context is None:
        return False, False, 0, 0
    # A stream without a single packet tells its size, but not how its pixels are stored.
    present = context.pix_fmt is not None
    # Where all streams are marked as default, as in most MP4s, that decides nothing.
    default = bool(stream.disposition & Disposition.default)
    return present, default, context.width * context.height, stream.frames


def _start(container: InputContainer, frame: VideoFrame) -> float:
    """When a player shows the first frame: it counts from where the container starts."""
    begin: int | None = container.start_time
    # AVI has no times of presentation: what comes before the first frame there is the decoder's delay.
    if frame.time is None or begin is None or container.format.name == "avi":
        return 0.0
    start_s = frame.time - begin / 1_000_000
    return start_s if 0 < start_s < _LATEST_START_S else 0.0
