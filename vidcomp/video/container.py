"""Open a file's container safely, and learn what it says of itself without decoding it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

from vidcomp.video.errors import (
    DecodeFailed,
    NotVideo,
    VideoEmpty,
    VideoEncrypted,
    VideoError,
    VideoMissing,
    VideoTooLarge,
    VideoTruncated,
    VideoUnreadable,
)
from vidcomp.video.frames import MAX_PIXELS, Damage, VideoInfo
from vidcomp.video.orientation import turns_itself
from vidcomp.video.streams import (
    ENCRYPTED,
    companions,
    demux,
    info_of,
    is_encrypted,
    packet_end,
    scrambled_share,
    video_stream,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from vidcomp.video.keyframes import KeyPackets

MAX_ASPECT = 32
"""How many times longer than the other a side of a picture may be that is scaled: its short side decides its size."""

# Containers whose bytes lie in the one file. Left out on purpose are those that name further files or addresses (HLS
# and DASH playlists, concat lists, SDP, image sequences): a video must never make the program read something else.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,mpegvideo,m4v,h261,h263,h264,hevc,vvc,av1,obu,ivf,ogg,gif,apng,"
    "rm,dv,dhav,nut,mxf,mxf_opatom,wtv,nsv,nuv,vc1,vc1test,cavsvideo,dirac,rawvideo,yuv4mpegpipe,mjpeg,mjpeg_2000,"
    "smjpeg,swf,roq,bink,smk,fli,flic,vmd,wsvqa,live_flv,kux,xmv,ea,4xm,amv,"
    "png_pipe,jpeg_pipe,bmp_pipe,webp_pipe,tiff_pipe"
)
LONGEST_GAP_S = 3600.0
"""A frame that would come so long after the one before it has an absurd timestamp."""

_HOPELESS = 1000  # encrypted frames before the first of another kind
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


@dataclass(frozen=True)
class PacketScan:
    """The coded frames of a stream, found by walking through the container.

    `seconds` are the presentation times, ascending, None where the stream has none. `stamps` are the same in units of
    the stream's time base, `keys` those of the key frames; both are empty if a frame has none or two have the same.
    `shifted`: an edit list hides some frames. `reconfigured`: the stream's parameters change on the way. `turning`:
    pictures carry an orientation of their own. `others_end_s` is as in `Decoding`.
    """

    frames: int
    seconds: tuple[float | None, ...]
    shifted: bool
    reconfigured: bool
    turning: bool
    others_end_s: float
    stamps: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()

    def covered(self, step_s: float) -> float:
        """Seconds from the first frame to the end of the last, where frames without a usable time last `step_s`."""
        known = [second for second in self.seconds if second is not None]
        gaps = (later - earlier for earlier, later in pairwise(known))
        usable = [gap for gap in gaps if 0 < gap < LONGEST_GAP_S]
        return sum(usable) + step_s * (self.frames - len(usable))


def describe(path: str, *, count: bool = False, max_pixels: int = MAX_PIXELS) -> VideoInfo:
    """What the file says of itself, its first picture decoded to be sure of size and orientation.

    With `count`, `frame_count` is the exact number of coded frames, and `duration_s` what their times cover, at the
    price of reading the file once.

    Raises:
        VideoError: as `open_container`, `video_stream` and `Decoding`.
    """
    with open_container(path) as container:
        stream = video_stream(path, container)
        info = info_of(path, container, stream, Decoding(path, container, stream, max_pixels).first)
    if not count:
        return info
    packets = scan(path)
    return replace(info, frame_count=packets.frames, counted=True, duration_s=packets.covered(1 / info.fps))


@contextmanager
def open_container(path: str) -> Iterator[InputContainer]:
    """Open the one file at `path` for demuxing; the path is never taken for an address or a protocol.

    Raises:
        VideoMissing, VideoUnreadable, VideoEmpty, NotVideo, VideoTruncated: the file cannot be opened as a media file.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    with _open_file(path) as file:
        try:
            container = av.open(
                file,
                mode="r",
                metadata_errors="replace",
                options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
            )
        except (av.FFmpegError, ValueError) as error:
            raise _why_not_open(path) from error
        with container:
            yield container


class Decoding:
    """The frames of a stream in order of presentation, each once, damage stepped over.

    `delivered` counts the frames that came out, `repaired` the coded frames that came damaged or not at all,
    `encrypted` those among them that are encrypted, `hidden` those that an edit list hides, and `coded` all the others.
    `others_end_s` is when the other streams were seen to end, in seconds since the container's start: where the
    container alone tells a duration, that tells a cut file from one with longer sound.
    With `vectors`, frames carry their motion vectors, where the codec's decoder gives them. With `keys`, only those
    frames count, and are decoded, that it lets through.

    Raises:
        VideoTooLarge: its pictures have more than `max_pixels` pixels.
        VideoEncrypted, DecodeFailed, VideoTruncated: no picture comes out.
    """

    def __init__(
        self,
        path: str,
        container: InputContainer,
        stream: VideoStream,
        max_pixels: int,
        threads: int = 1,
        *,
        vectors: bool = False,
        keys: KeyPackets | None = None,
    ) -> None:
        check_pixels(path, stream.codec_context.width, stream.codec_context.height, max_pixels)
        # The decoder refuses larger ones itself, should the size change midway.
        stream.codec_context.options = {"max_pixels": str(max_pixels)} | ({"flags2": "+export_mvs"} if vectors else {})
        stream.codec_context.thread_count = threads
        # With a thread for each of several frames, vectors would differ from run to run.
        stream.codec_context.thread_type = "SLICE" if vectors else "AUTO"
        self.repaired = self.encrypted = self.coded = 0
        self.hidden = 0
        self.delivered = 0
        self.others_end_s = 0.0
        self._path, self._container, self._stream, self._keys = path, container, stream, keys
        self._frames = self._decode(container, stream)
        first = next(self._frames, None)
        if first is None and (self.encrypted or scrambled_share(path, container, stream)):
            raise VideoEncrypted(path, ENCRYPTED)
        if first is None and stream.frames > 1:
            raise VideoTruncated(path, f"the file promises {stream.frames} frames, none could be read: cut or damaged")
        if first is None:
            raise DecodeFailed(path, "no frame of it can be decoded; it is damaged, or its codec is not supported")
        self.first = first

    def __iter__(self) -> Iterator[VideoFrame]:
        yield self.first
        yield from self._frames

    def seek(self, stamp: int) -> None:
        """Go on from the last key frame at or before `stamp`, in units of the stream's time base."""
        self._container.seek(stamp, stream=self._stream, backward=True)
        self._frames = self._decode(self._container, self._stream)

    def damage(self) -> Damage:
        """How much of what was read came damaged or not at all; what a cut file lacks was never there to read."""
        scrambled = scrambled_share(self._path, self._container, self._stream)
        coded = max(1, self.coded)
        encrypted = max(scrambled, self.encrypted / coded)
        return Damage(max(encrypted, min(1.0, self.repaired / coded)), encrypted)

    @property
    def following(self) -> Iterator[VideoFrame]:
        """The frames that come after those already taken, or after the latest `seek`; the same iterator each time."""
        return self._frames

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        import av

        broken = False
        try:
            for packet in demux(container, stream, *companions(container, stream)):
                if packet.stream.index != stream.index:
                    self.others_end_s = max(self.others_end_s, packet_end(packet, container))
                    continue
                if self._keys is not None and not self._keys.takes(packet):
                    continue
                self.hidden += packet.is_discard
                self.coded += packet.size > 0 and not packet.is_discard
                if is_encrypted(packet):
                    # Decoders would make noise of it.
                    self.repaired += 1
                    self.encrypted += 1
                    if self.encrypted > _HOPELESS and not self.delivered:
                        return
                    continue
                if packet.is_corrupt and stream.codec_context.codec.intra_only:
                    # It was cut; where nothing is behind the picture, decoders leave what was in memory by chance.
                    self.repaired += 1
                    continue
                try:
                    frames = packet.decode()
                    if self._keys is not None and packet.size:
                        # Each by itself: by the counters of its order, which start anew now and then, a decoder that
                        # lacks the frames between takes a key frame for an earlier one than the last, and drops it.
                        frames += _drained(stream)
                except av.EOFError:
                    return
                except MemoryError:
                    raise
                except av.FFmpegError:
                    self.repaired += 1
                    broken = True
                    continue
                # After damage, a decoder may be silent up to the next key frame.
                self.repaired += broken and not frames and packet.size > 0
                broken = broken and not frames
                for frame in frames:
                    self.repaired += frame.is_corrupt
                    self.delivered += 1
                    yield frame
        except MemoryError:
            raise
        except av.FFmpegError:
            # The container itself is damaged here: what came before is what there is; the report tells how much.
            self.repaired += 1


def _drained(stream: VideoStream) -> list[VideoFrame]:
    """The frames that a decoder still holds; it then begins anew."""
    frames = stream.codec_context.decode()
    stream.codec_context.flush_buffers()
    for frame in frames:
        if stream.time_base is not None:
            frame.time_base = stream.time_base
    return frames


def check_pixels(path: str, width: int, height: int, limit: int) -> None:
    """Refuse pictures of more than `limit` pixels.

    Raises:
        VideoTooLarge: they are.
    """
    if width * height > limit:
        raise VideoTooLarge(
            path, f"its pictures of {width}×{height} pixels are over the limit of {limit} pixels; scale it down first"
        )


def check_scaled(info: VideoInfo, size: tuple[int, int], limit: int) -> None:
    """Refuse pictures that would have more than `limit` pixels, or a side over `MAX_ASPECT` times as long as the other.

    `size` is their width and height once they are scaled: a file of some bytes can hold pictures so narrow that
    scaling makes gigabytes of them.

    Raises:
        VideoTooLarge: they would.
    """
    narrow = max(size) > MAX_ASPECT * min(size) and size != (info.width, info.height)
    if narrow or size[0] * size[1] > limit:
        raise VideoTooLarge(
            info.path,
            f"its pictures of {info.width}×{info.height} pixels would be scaled to {size[0]}×{size[1]}; crop it first",
        )


def scan(path: str) -> PacketScan:
    """Walk through the container once, decoding nothing.

    Raises:
        VideoError: as `open_container` and `video_stream`.
    """
    import av

    seconds: list[float | None] = []
    stamps: list[int] = []
    keys: list[int] = []
    hidden = changes = turns = 0
    others_end_s = 0.0
    with open_container(path) as container:
        stream = video_stream(path, container)
        base, codec, extradata = stream.time_base, stream.codec_context.name, stream.codec_context.extradata
        try:
            for packet in demux(container, stream, *companions(container, stream)):
                if packet.stream.index != stream.index:
                    others_end_s = max(others_end_s, packet_end(packet, container))
                    continue
                if not packet.size:
                    continue
                turns += turns_itself(bytes(packet), codec, extradata)
                changes += packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change")
                if packet.is_discard:
                    hidden += 1
                    continue
                if packet.pts is not None:
                    stamps.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
                stamp = packet.dts if packet.pts is None else packet.pts
                seconds.append(None if stamp is None or base is None else float(stamp * base))
        except av.FFmpegError:
            pass  # what lies before the damage is what can be counted
    known = [time for time in seconds if time is not None]
    ordered: list[float | None] = [*sorted(known), *[None] * (len(seconds) - len(known))]
    shifted = hidden > 0 or (bool(known) and min(known) < 0)
    if len(set(stamps)) != len(seconds):
        stamps, keys = [], []
    return PacketScan(
        len(seconds),
        tuple(ordered),
        shifted,
        changes > 0,
        turns > 0,
        others_end_s,
        tuple(sorted(stamps)),
        tuple(sorted(keys)),
    )


def _open_file(path: str) -> BinaryIO:
    try:
        status = os.stat(path)  # noqa: PTH116 - a path may hold what pathlib refuses
        if stat.S_ISDIR(status.st_mode):
            raise NotVideo(path, "it is a folder; name a video file")
        # Opening a pipe or a device could wait for ever.
        if not stat.S_ISREG(status.st_mode):
            raise NotVideo(path, "it is not an ordinary file; name a video file")
        if not status.st_size:
            raise VideoEmpty(path, "the file is empty; copy or record it again")
        return open(path, "rb", buffering=0)  # noqa: PTH123 - closed by the caller
    except ValueError as error:
        raise VideoMissing(path, "no file can have such a name") from error
    except OSError as error:
        raise _os_error(path, error) from error


def _os_error(path: str, error: OSError) -> VideoError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        if os.path.islink(path):  # noqa: PTH114
            return VideoMissing(path, "it is a link that leads nowhere; restore the file it stands for")
        from vidcomp.video.remote import is_address

        if is_address(path):
            return VideoMissing(path, "this is an address; give allow_urls=True to have it fetched")
        return VideoMissing(path, "there is no such file; check the name")
    why = error.strerror or type(error).__name__
    return VideoUnreadable(path, f"the file cannot be read ({why}); check its permissions and the disk")


def _why_not_open(path: str) -> VideoError:
    """Tell a cut MP4, whose index stands at its end, from what never was a video."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(12)
    except OSError as error:
        return _os_error(path, error)
    if head[4:8] in _MP4_BOXES:
        return VideoTruncated(path, "its index is missing or damaged: the file was cut short; record or copy it again")
    if head[:4] in (b"\x1aE\xdf\xa3", b"RIFF", b"FLV\x01"):
        return VideoTruncated(path, "it breaks off within its header; record or copy it again")
    return NotVideo(path, "not a video, or not of a known format; name a video file")
