"""What decoders do not tell of a file that gave few frames: that it is encrypted, or has holes."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
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
        pass  # what comes behind was not read either; or a stream appeared on the way: see `streams.demux`
    packets.sort()
    length = container.size - packets[0][0] if packets else 0
    if length <= 0:
        return 0.0
    unread = 1 - sum(size for _, size in packets) / length
    longest = max((later - begin - size for (begin, size), (later, _) in pairwise(packets)), default=0) / length
    return unread if unread > _OVERHEAD or longest > _HOLE else 0.0
