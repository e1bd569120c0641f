"""What can go wrong between a file and its frames: one class and one short `kind` for each way."""

# ruff: noqa: N818 - the names say what happened to the video; "Error" at the end of each would say no more

from __future__ import annotations

from typing import ClassVar

from vidcomp.files import printable


class VideoError(Exception):
    """A video that gave no frames, or stopped giving them, with the reason in one line.

    `kind` is the stable short name that scripts may rely on; `path` is the file as the caller named it; `str(error)`
    says what is wrong, with which file, and what to do about it.
    """

    kind: ClassVar[str] = "video_error"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = " ".join(reason.split())
        super().__init__(path, self.reason)

    def __str__(self) -> str:
        name = self.path or "''"
        return printable(f"{name}: {self.reason}")


class VideoMissing(VideoError):
    """Nothing exists at that path."""

    kind = "missing"


class VideoUnreadable(VideoError):
    """The file exists, but may not or cannot be read: permissions, or a failing disk."""

    kind = "unreadable"


class VideoEmpty(VideoError):
    """The file has zero bytes."""

    kind = "empty"


class NotVideo(VideoError):
    """Not a media file: a folder, a text, a playlist that names other files, an unknown format."""

    kind = "not_video"


class NoVideoStream(VideoError):
    """A media file without moving pictures: audio only, or audio with a cover."""

    kind = "no_video_stream"


class VideoTruncated(VideoError):
    """Cut before the part without which nothing can be decoded (an MP4's index, the first key frame)."""

    kind = "truncated"


class VideoEncrypted(VideoError):
    """All of it, or more than may be damaged, is encrypted or scrambled, and there is no key."""

    kind = "encrypted"


class VideoDamaged(VideoError):
    """More of its frames than may be (`DecodeOptions.max_damage`) came damaged, or not at all."""

    kind = "damaged"


class DecodeFailed(VideoError):
    """The container opens, but the decoder gives no frame, or the chosen decoder cannot read this kind of file."""

    kind = "decode_failed"


class VideoUnreachable(VideoError):
    """An address (where ``allow_urls`` is set) from which nothing, or not all, could be fetched."""

    kind = "unreachable"


class VideoTooLarge(VideoError):
    """Its pictures have too many pixels, or would once they are scaled; what the network makes of it needs more memory
    than there is; or an address holds too many bytes. It is refused before memory is taken."""

    kind = "too_large"


class VideoOutOfMemory(VideoError):
    """There was not enough memory to decode it."""

    kind = "out_of_memory"


class VideoTimeout(VideoError):
    """Decoding took longer than the time limit and was stopped."""

    kind = "timeout"


class VideoCrashed(VideoError):
    """The process that decoded the file died, or the whole program, twice, while it worked on it."""

    kind = "crashed"


ERRORS: dict[str, type[VideoError]] = {
    error.kind: error
    for error in (
        VideoMissing,
        VideoUnreadable,
        VideoEmpty,
        NotVideo,
        NoVideoStream,
        VideoTruncated,
        VideoEncrypted,
        VideoDamaged,
        DecodeFailed,
        VideoUnreachable,
        VideoTooLarge,
        VideoOutOfMemory,
        VideoTimeout,
        VideoCrashed,
    )
}
"""Every kind of error with its class."""
