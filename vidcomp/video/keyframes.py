"""A fast look at a video: its key frames alone are decoded, which takes a fraction of the time, whatever the codec."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from vidcomp.video.errors import DecodeFailed, VideoTruncated
from vidcomp.video.pyav import Picture, PyAVReader
from vidcomp.video.sampling import Selection

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame


_SPARSE_S = 2.0  # where key frames are farther apart, on average, it is said how few there are


class KeyPackets:
    """Lets a stream's key frames through to the decoder, and knows their numbers among all of its frames.

    Decoders told to skip all others (FFmpeg's ``skip_frame``) do not always obey: that of VP9 does not.
    """

    def __init__(self) -> None:
        self.coded = 0
        self.lost = 0
        """Frames before the first key frame, which no decoder can show: they are not numbered."""
        self.end: int | None = None
        """The latest time of presentation of any frame, in units of the stream's time base."""
        self._begun = False
        self._waiting: deque[list[Any]] = deque()  # presentation time and number of those not yet out of the decoder

    def takes(self, packet: Packet[Any]) -> bool:
        """Whether the decoder is to have this packet; to be asked about every one, in order."""
        if not packet.size:
            return True
        stamp, latest = packet.pts, self._waiting[-1] if self._waiting else None
        if stamp is not None:
            self.end = stamp if self.end is None else max(self.end, stamp)
        if packet.is_keyframe:
            self._begun = True
            self._waiting.append([stamp, self.coded])
        elif stamp is not None and latest is not None and latest[0] is not None and stamp < latest[0]:
            latest[1] += 1  # it is coded after the key frame, and shown before
        if self._begun:
            self.coded += not packet.is_discard
        else:
            self.lost += 1
        return bool(packet.is_keyframe)

    def number(self, frame: VideoFrame) -> int | None:
        """The number of the key frame that has come out of the decoder; None if it is another frame."""
        if frame.pts is not None and all(frame.pts != stamp for stamp, _ in self._waiting):
            known = any(stamp is None for stamp, _ in self._waiting)
            return int(self._waiting.popleft()[1]) if known else None
        while self._waiting:
            stamp, number = self._waiting.popleft()
            if frame.pts is None or stamp == frame.pts:
                return int(number)
        return None


class KeyFrameReader(PyAVReader):
    """The key frames of a video, in order, with their numbers and times; see `Selection.keys`.

    Raises:
        DecodeFailed: none of them can be shown.
    """

    def __init__(self, path: str, **options: Any) -> None:
        """Open it with the options of :class:`PyAVReader`."""
        self._keys = KeyPackets()
        try:
            super().__init__(path, keys=self._keys, **options)
        except (DecodeFailed, VideoTruncated) as error:
            if not self._keys.coded + self._keys.lost:
                raise  # it did not come as far as that
            raise DecodeFailed(path, "no key frame of it can be shown; choose another strategy") from error

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how the file was understood, and on how little of it key frames are, if so."""
        seconds = self.clock.covered
        if self._keys.coded <= self.decoded or (self.decoded > 1 and seconds / self.decoded <= _SPARSE_S):
            return super().notes
        count = "a single key frame" if self.decoded == 1 else f"{self.decoded} key frames"
        return *super().notes, f"{count} in {seconds:.1f} s: what lies between was not looked at"

    def pictures(self, selection: Selection, after: int = -1) -> Iterator[Picture]:
        """The selected key frames beyond number `after`."""
        last: tuple[int, float] | None = None
        for number, seconds, frame in self.timed():
            if last is None or selection.apart(number - last[0], seconds - last[1]):
                last = number, seconds
                if number > after:
                    yield number, seconds, self.upright(frame)

    def timed(self) -> Iterator[tuple[int, float, VideoFrame]]:
        """Every key frame, as decoded, with its number and its time in seconds."""
        # A frame is numbered when the next one is there: those that are coded behind it and shown before it then are.
        last = 0
        for frame, _ in pairwise(chain(self._decoding, (None,))):
            assert frame is not None
            number = self._keys.number(frame)
            if number is not None:
                self.decoded += 1
                yield number, self.clock.tick(self._stamp(frame, number), number - last), frame
                last = number
        # The video lasts as long as frames follow.
        if self.clock.invented:
            self.clock.extend_by(self._keys.coded - 1 - last)
        elif self._keys.end is not None and self._time_base is not None and not self._ticks:
            self.clock.extend(float(self._keys.end * self._time_base))
        else:
            self.clock.extend(self._stamp(None, self._keys.coded - 1))

    @property
    def _ticks(self) -> bool:
        """Whether frames are shown at those times at which they are decoded, one a tick, as in AVI."""
        return self.info.container == "avi"

    def _stamp(self, frame: VideoFrame | None, number: int) -> float:
        if frame is not None and frame.time is not None and not self._ticks:
            return float(frame.time)
        return float(number * self._time_base) if self._ticks and self._time_base else number / self.info.fps
