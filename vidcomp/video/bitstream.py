"""A video as what its encoder made of it: groups of pictures, each an anchor, and motion and residuals that follow it.

What is ours to choose (see *Towards Scalable Modeling of Compressed Videos*, arXiv 2503.13724, which names only
I-frames, motion vectors and residuals): anchors are the pictures that were coded by themselves and, where those are
farther apart, one more every so many frames, since any decoded frame can serve. Vectors are added up to the anchor.
B-frames are left out: decoders do not tell which pictures theirs refer to.

FFmpeg tells the vectors of H.264, MPEG-1, -2 and -4, H.261, H.263 and their kin alone. Anything else passes through an
MPEG-4 encoder, in memory, and the vectors of that are read. So do pictures of more than 1280 × 720 pixels, which are
cheaper to re-encode at a small size than to take residuals of, and videos in which no picture refers to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import chain, count, islice, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.container import check_scaled
from vidcomp.video.damage import check_damage, notes_on
from vidcomp.video.errors import DecodeFailed
from vidcomp.video.frames import MAX_DAMAGE, MAX_PIXELS, ReaderBase, VideoInfo, target_size
from vidcomp.video.motion import Predictor, accumulate, fields_of, grid_size
from vidcomp.video.orientation import Orientation
from vidcomp.video.pyav import PyAVReader, Weave

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MPEG = ("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2")
NATIVE = frozenset(("h261", "h263", "h264", "flv1", "rv10", "rv20", *_MPEG))
"""Codecs whose decoders in FFmpeg tell motion vectors."""

TRANSCODED_SIDE = 160
"""Pixels of the shorter side of a picture that is encoded anew."""

_MOST_NATIVE_PIXELS = 1280 * 720
_LAG = 4  # non-B frames between the two whose difference is taken
_INTRA, _B = (1, 5), (3, 7)  # FFmpeg's numbers of I and SI pictures, and of B and BI pictures
_LAMBDA = 118  # FFmpeg's unit of a quantizer
_QUALITY = 4  # of MPEG-4's quantizers, 1 to 31, the lowest being the best

_Timed = tuple[int, float, "VideoFrame"]


@dataclass(frozen=True, kw_only=True)
class BitstreamOptions:
    """What to read of a bitstream.

    `short_side`: pixels of an anchor's shorter side, None for the source's size. `anchor_every`: most frames from one
    anchor to the next. `transcode`: "auto" re-encodes what has no vectors, "always" everything (vectors then do not
    depend on whose encoder wrote the file), "never" makes an error of it. `motion`, `residual`, `difference`: whether
    they are wanted at all. `motion_every`: only every so many-th P-frame counts, and its vectors stand for those in
    between. `joined`: of so many groups in a row, the first one's anchor alone is wanted.
    """

    short_side: int | None = 160
    anchor_every: int = 12
    transcode: Literal["auto", "always", "never"] = "auto"
    residual: bool = True
    motion: bool = True
    difference: bool = False
    motion_every: int = 1
    joined: int = 1

    def __post_init__(self) -> None:
        if min(self.short_side or 1, self.anchor_every, self.motion_every, self.joined) < 1:
            raise ValueError(f"short_side, anchor_every, motion_every and joined must be at least 1: {self}")
        if self.transcode not in ("auto", "always", "never"):
            raise ValueError(f"transcode must be auto, always or never, got {self.transcode!r}")


@dataclass(frozen=True)
class GroupOfPictures:
    """An anchor and the P-frames up to the next one. All is upright, as it is shown; times are those of a player.

    `anchor` uint8 RGB (H, W, 3), at `anchor_s` seconds, number `anchor_index` of the video's frames; `times_s` float64
    (P,) of the P-frames. `motion` float32 (P, h, w, 2): for each cell of 8 × 8 pixels of the coded picture, how far
    from it, right and down, in pixels of the coded picture, lies in the anchor what it shows now. `mask` uint8
    (P, h, w): 1 where that is known; 0, with motion 0, where it was coded by itself. `residual` int16 (P, H', W'),
    half the coded picture's size, rounded up: brightness, 0 to 255, minus that of the non-B frame before, moved as the
    vectors say. `difference` int16 (D, H', W'): brightness of the last P-frame minus that of four non-B frames before,
    or of the anchor where that is nearer; D is 0 where no P-frame follows the anchor, else 1. Of what was not asked
    for, height and width are 0.
    """

    anchor: NDArray[np.uint8]
    anchor_s: float
    anchor_index: int
    motion: NDArray[np.float32]
    mask: NDArray[np.uint8]
    residual: NDArray[np.int16]
    difference: NDArray[np.int16]
    times_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times_s)


@dataclass(frozen=True)
class BitstreamReport:
    """What a bitstream turned out to be, known once it was read.

    `gop_lengths` are frames from each key frame to the next, as the file has them; `share_of_b` is the share of its
    frames that are B-frames. `vectors` are "native", or "transcoded" where the video was re-encoded. `frames` counts
    the frames decoded, `repaired` the coded frames that came damaged or not at all, and `duration_s` is the time that
    they cover.
    """

    codec: str
    gop_lengths: tuple[int, ...]
    share_of_b: float
    vectors: Literal["native", "transcoded"]
    frames: int
    repaired: int
    duration_s: float
    notes: tuple[str, ...] = ()


DEFAULTS = BitstreamOptions()


class BitstreamReader(ReaderBase[BitstreamReport]):
    """The groups of pictures of one video, forward only, in this process.

    `info` is what the file claims; `size` the (width, height) of anchors, and `coded_size` that of the pictures that
    vectors refer to, both upright. `groups()` may be called once; `report` is there when it has ended. The result is
    the same on every run, with any number of threads.

    Raises:
        VideoError: of the class that says why no frame can be read.
    """

    def __init__(
        self,
        path: str,
        options: BitstreamOptions = DEFAULTS,
        *,
        threads: int = 1,
        max_pixels: int = MAX_PIXELS,
        max_damage: float = MAX_DAMAGE,
    ) -> None:
        self._path, self._options, self._max_damage = path, options, max_damage
        self._reader = PyAVReader(
            path, short_side=options.short_side, threads=threads, max_pixels=max_pixels, vectors=True
        )
        try:
            self.info: VideoInfo = self._reader.info
            self.size = self._reader.size
            check_scaled(self.info, self.size, max_pixels)
            frames = self._reader.timed()
            ahead = list(islice(frames, 2))
            self._frames: Iterator[_Timed] = self._noted(chain(ahead, frames))
            self._transcoder = self._transcoder_for([frame for _, _, frame in ahead])
        except BaseException:
            self.close()
            raise
        first = ahead[0][2]
        self._stored = (first.width, first.height) if self._transcoder is None else self._transcoder.size
        self.coded_size = self._reader.orientation(first).size(*self._stored)
        self._keys: list[int] = []
        self._b_frames = 0
        self._started = False

    def groups(self) -> Iterator[GroupOfPictures]:
        """The groups, one after the other, all arrays but for P of the same shapes.

        Raises:
            VideoDamaged, VideoEncrypted: at the end, if more of it than `max_damage` could not be read right.
        """
        if self._started:
            raise RuntimeError("groups() can be read once; open the file again")
        self._started = True
        group: _Group | None = None
        numbers = count()
        for index, seconds, coded, original, whole in self._coded():
            if group is None or not whole or not group.takes(index, coded):
                if group is not None:
                    yield self._finished(group)
                anchor = np.zeros((0, 0, 3), np.uint8)
                if next(numbers) % self._options.joined == 0:
                    anchor = self._reader.upright(original).copy()
                group = _Group(anchor, seconds, index, coded, self._reader.orientation(original), self._options)
            else:
                group.add(seconds, coded)
        if group is not None:
            yield self._finished(group)
        self._report = self._reported()

    def skim(self) -> BitstreamReport:
        """Decode everything for the sake of the report alone; raises as `groups()`, in place of which it is called."""
        self._started = True
        for _ in self._frames:
            pass
        self._report = self._reported()
        return self._report

    def _reported(self) -> BitstreamReport:
        harm = check_damage(self._path, self._reader, self._max_damage)
        frames = self._reader.decoded
        ends = [*self._keys, frames]
        return BitstreamReport(
            self.info.codec,
            tuple(later - earlier for earlier, later in pairwise(ends)),
            self._b_frames / frames,
            "native" if self._transcoder is None else "transcoded",
            frames,
            self._reader.repaired,
            self._reader.clock.covered,
            (*self._reader.notes, *notes_on(self._path, self._reader, harm)),
        )

    def close(self) -> None:
        """Let go of the file. May be called more than once."""
        self._reader.close()

    def _transcoder_for(self, first: Sequence[VideoFrame]) -> _Transcoder | None:
        """What encodes the video anew, if it has to be; the first two frames tell whether any refers to another."""
        width, height = first[0].width, first[0].height
        alone = len(first) > 1 and all(frame.key_frame for frame in first)
        unfit = self.info.codec not in NATIVE or alone
        if self._options.transcode == "never":
            if unfit:
                raise DecodeFailed(self._path, f"its codec, {self.info.codec}, gives no motion vectors; transcode it")
            return None
        if self._options.transcode == "auto" and not unfit and width * height <= _MOST_NATIVE_PIXELS:
            return None
        return _Transcoder(width, height, self._options.anchor_every)

    def _noted(self, frames: Iterable[_Timed]) -> Iterator[_Timed]:
        """The same frames; what they tell of how they were coded is kept for the report."""
        for index, seconds, frame in frames:
            if frame.key_frame:
                self._keys.append(index)
            self._b_frames += frame.pict_type in _B
            yield index, seconds, frame

    def _coded(self) -> Iterator[tuple[int, float, VideoFrame, VideoFrame, bool]]:
        """Frames but for B-frames, with number and time: as they are coded, as they are shown, and whether nothing is
        lacking since the one before.
        """
        if self._transcoder is not None:
            for index, seconds, coded, original in self._transcoder(self._frames):
                yield index, seconds, coded, original, True
            return
        repaired = self._reader.repaired
        for index, seconds, frame in self._frames:
            if frame.pict_type not in _B:
                yield index, seconds, frame, frame, repaired == self._reader.repaired
                repaired = self._reader.repaired

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self._stored)

    def _finished(self, group: _Group) -> GroupOfPictures:
        if group.size == self._predictor.size:
            return group.finish(self._predictor)
        return group.finish(Predictor(group.size), self._predictor.size)


class _Group:
    """A group of pictures while it is read."""

    def __init__(
        self,
        anchor: NDArray[np.uint8],
        seconds: float,
        index: int,
        coded: VideoFrame,
        orientation: Orientation,
        options: BitstreamOptions,
    ) -> None:
        self.size = coded.width, coded.height
        self._anchor, self._seconds, self._index = anchor, seconds, index
        self._orientation, self._options = orientation, options
        self._coded = [coded]
        self._times = [seconds]

    def takes(self, index: int, coded: VideoFrame) -> bool:
        """Whether a frame belongs to the group: it refers to the ones before, and the anchor is not too far away."""
        if coded.key_frame or coded.pict_type in _INTRA:
            return False
        return index - self._index < self._options.anchor_every and (coded.width, coded.height) == self.size

    def add(self, seconds: float, coded: VideoFrame) -> None:
        """Take a P-frame in."""
        self._coded.append(coded)
        self._times.append(seconds)

    def finish(self, predictor: Predictor, size: tuple[int, int] | None = None) -> GroupOfPictures:
        """The arrays of the group, brought to those of pictures of `size`, if given."""
        options, step = self._options, self._options.motion_every
        kept = range(step, len(self._coded), step)
        if options.motion or options.residual:
            fields, known = fields_of(*_vectors([self._coded[number] for number in kept]), self.size)

        @cache
        def blurred(number: int) -> NDArray[np.uint8]:
            return predictor.blurred(_luma(self._coded[number]))

        residual = np.zeros((len(kept), 0, 0), np.int16)
        if options.residual:
            left = [
                predictor.residual(blurred(number), blurred(number - 1), field)
                for number, field in zip(kept, fields, strict=True)
            ]
            residual = np.stack(left) if left else np.zeros((0, *predictor.half), np.int16)
        last = len(self._coded) - 1
        difference = np.zeros((min(1, last), 0, 0), np.int16)
        if options.difference:
            difference = np.zeros((min(1, last), *predictor.half), np.int16)
            if last:
                difference[0] = predictor.difference(blurred(last), blurred(max(0, last - _LAG)))
        motion, mask = np.zeros((len(kept), 0, 0, 2), np.float32), np.zeros((len(kept), 0, 0), np.uint8)
        if options.motion:
            motion, reached = accumulate(fields * step, known)
            mask = reached.view(np.uint8)
        if size is not None:
            columns, rows = grid_size(*size)
            ratio = np.divide(size, self.size, dtype=np.float32)
            motion, mask = (_resized(motion, rows, columns) * ratio, _resized(mask, rows, columns))
            half = -(-size[1] // 2), -(-size[0] // 2)
            residual, difference = _resized(residual, *half), _resized(difference, *half)
        return GroupOfPictures(
            self._anchor,
            self._seconds,
            self._index,
            np.ascontiguousarray(self._orientation.turn(self._orientation.apply(motion, 1))),
            np.ascontiguousarray(self._orientation.apply(mask, 1)),
            np.ascontiguousarray(self._orientation.apply(residual, 1)),
            np.ascontiguousarray(self._orientation.apply(difference, 1)),
            np.array([self._times[number] for number in kept], np.float64),
        )


class _Transcoder:
    """Encodes pictures anew, small, as MPEG-4 without B-frames, and decodes them again, with their vectors."""

    def __init__(self, width: int, height: int, anchor_every: int) -> None:
        width, height = target_size(width, height, TRANSCODED_SIDE)
        self.size = width, height
        self._gop = anchor_every

    def __call__(self, frames: Iterable[_Timed]) -> Iterator[tuple[int, float, VideoFrame, VideoFrame]]:
        """For each frame number, time, the picture as it was coded anew, and as it came."""
        from av import CodecContext
        from av.video.frame import PictureType
        from av.video.reformatter import VideoReformatter

        encoder, decoder = CodecContext.create("mpeg4", "w"), CodecContext.create("mpeg4", "r")
        encoder.width, encoder.height = self.size
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        encoder.gop_size, encoder.max_b_frames = self._gop, 0
        encoder.options = {"flags": "+qscale", "global_quality": str(_QUALITY * _LAMBDA)}
        decoder.options = {"flags2": "+export_mvs"}
        encoder.thread_count = decoder.thread_count = 1
        weave, reformatter = Weave(), VideoReformatter()
        waiting: deque[_Timed] = deque()
        for number, timed in enumerate(frames):
            small = reformatter.reformat(weave(timed[2]), *self.size, "yuv420p", interpolation="BICUBIC")
            small.pts, small.time_base, small.pict_type = number, encoder.time_base, PictureType.NONE
            waiting.append(timed)
            for packet in encoder.encode(small):
                for coded in decoder.decode(packet):
                    index, seconds, original = waiting.popleft()
                    yield index, seconds, coded, original
        for coded in chain.from_iterable(map(decoder.decode, (*encoder.encode(None), None))):
            index, seconds, original = waiting.popleft()
            yield index, seconds, coded, original


def _vectors(frames: Sequence[VideoFrame]) -> tuple[NDArray[Any], list[int]]:
    """The motion vectors of all frames, as FFmpeg tells them, and how many there are of each."""
    found: list[Any] = [frame.side_data.get("MOTION_VECTORS") for frame in frames]
    told = [vectors for vectors in found if vectors is not None]
    form = told[0].to_ndarray().dtype if told else np.uint8
    # Joined as bytes: NumPy would join the records field by field.
    return np.frombuffer(b"".join(told), form), [0 if vectors is None else len(vectors) for vectors in found]


def _luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """The brightness (H, W) of a frame."""
    form = frame.format
    if form.is_rgb or form.components[0].bits != 8 or not (form.is_planar or len(form.components) == 1):
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def _resized(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Maps (P, h, w, ...) brought to another size by repeating or leaving out; those without a size stay so."""
    if not values.shape[1]:
        return values
    rows = np.arange(height) * values.shape[1] // height
    columns = np.arange(width) * values.shape[2] // width
    return values[:, rows[:, None], columns]
