"""The moments of videos as files of their own: packets copied from the key frame before, or frames encoded anew."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from vidcomp.files import replacing
from vidcomp.inference.prediction import Moment, Prediction
from vidcomp.output.explanations import CLOCK, relative_to, shared_folder, video_stream
from vidcomp.output.places import Places, folder_name
from vidcomp.video import DecodeOptions, DecodePool

# Containers that are written as they came, by FFmpeg's names; what comes in others goes into Matroska, which takes
# nearly everything.
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


class MomentClips:
    """Writes ``NAME.START-END LABEL.mp4`` for each moment of a video, in folders as the videos lie in theirs."""

    def __init__(
        self, folder: Path, paths: Sequence[str], pool: DecodePool, *, root: str | None = None, exact: bool = False
    ) -> None:
        """Settle where everything goes.

        Args:
            folder: where the files go; made when the first is written.
            paths: all videos that may come.
            pool: whose processes decode for ``exact``.
            root: the folder below which the videos lie; by default the deepest that holds them all.
            exact: re-encode each moment, from its first frame to its last and without sound, instead of copying
                packets, with sound, from the key frame before on.
        """
        self._places, self._pool, self._exact = Places(folder), pool, exact
        self._root = shared_folder(paths) if root is None else root

    def write(self, path: str, prediction: Prediction) -> list[Path]:
        """Make the files of one video, each whole or not at all; returns where they are.

        Raises:
            VideoError, OSError: the video cannot be read again, or a file cannot be written.
        """
        if not prediction.moments:
            return []
        if not prediction.moments:
            return []
        place = self._places.of(*relative_to(self._root, path))
        suffix = ".mp4" if self._exact else place.suffix.lower() if place.suffix.lower() in _FORMATS else ".mkv"
        targets = [
            place.with_name(f"{place.name}.{part.start_s:.2f}-{part.end_s:.2f} {folder_name(part.label.label)}{suffix}")
            for part in prediction.moments
        ]
        place.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # What is not whole in the end never gets its name.
            new = [stack.enter_context(replacing(target)) for target in targets]
            if self._exact:
                self._encode(path, prediction.moments, new)
            else:
                _copy(path, prediction.moments, new, _FORMATS[suffix])
        return targets

    def _encode(self, path: str, moments: Sequence[Moment], targets: Sequence[Path]) -> None:
        """Decode the video once, and encode the frames of each moment as they come."""
        import av

        info = self._pool.probe(path, count=False)
        options = DecodeOptions(min(info.width, info.height), max_damage=1.0)
        with self._pool.open(path, options) as reader:
            frames = (
                (seconds, pixels)
                for chunk in reader.chunks()
                for seconds, pixels in zip(chunk.seconds.tolist(), chunk.pixels, strict=True)
            )
            held = next(frames, None)
            for moment, target in zip(moments, targets, strict=True):
                with av.open(str(target), "w", format="mp4") as container:
                    stream = video_stream(container, *reader.size)
                    while held is not None and held[0] < moment.end_s:
                        seconds, pixels = held
                        if seconds >= moment.start_s:
                            cut = pixels[: stream.height, : stream.width]
                            frame = av.VideoFrame.from_ndarray(cut, format="rgb24")
                            frame.pts, frame.time_base = round((seconds - moment.start_s) * CLOCK), Fraction(1, CLOCK)
                            container.mux(stream.encode(frame))
                        held = next(frames, None)
                    container.mux(stream.encode())


def _copy(path: str, moments: Sequence[Moment], targets: Sequence[Path], form: str) -> None:
    import av

    with av.open(path) as source:
        video, audio = source.streams.best("video"), source.streams.best("audio")
        assert video is not None
        streams = [stream for stream in (video, audio) if stream is not None]
        # The player's clock begins with the file's earliest stream.
        zero_s = (source.start_time or 0) / av.time_base
        for moment, target in zip(moments, targets, strict=True):
            with av.open(str(target), "w", format=form) as container:
                copies = {stream.index: container.add_stream_from_template(stream) for stream in streams}
                start_s, end_s = moment.start_s + zero_s, moment.end_s + zero_s
                source.seek(int(start_s / float(video.time_base or 1)), stream=video)
                first_s: float | None = None
                for packet in source.demux(streams):
                    if packet.dts is None or packet.pts is None:
                        continue
                    dts_s, is_video = float(packet.dts * packet.time_base), packet.stream.index == video.index
                    if is_video and dts_s >= end_s:
                        break
                    if first_s is None and is_video and packet.is_keyframe:
                        first_s = float(packet.pts * packet.time_base)
                    if first_s is None or not (is_video or first_s <= dts_s < end_s):
                        continue
                    # The copy begins at 0, with the key frame.
                    shift = round(first_s / float(packet.time_base))
                    packet.dts, packet.pts = packet.dts - shift, packet.pts - shift
                    packet.stream = copies[packet.stream.index]
                    container.mux(packet)
