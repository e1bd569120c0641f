"""Labels over time as subtitles: SubRip and WebVTT."""

from __future__ import annotations

from pathlib import Path

from vidcomp.inference.batch import Job, Stamp
from vidcomp.inference.prediction import Prediction, Segment
from vidcomp.output.errors import kept_so_far
from vidcomp.output.log import replace_file
from vidcomp.output.writers import encodable

SUBTITLES = ("srt", "vtt")


def subtitles(prediction: Prediction, form: str) -> str:
    """One cue per window, which ends where the next begins: "PushUps 93 %". Windows without a label have none.

    Nor have windows that start together with the next, or end before the player's clock starts.
    """
    webvtt = form == "vtt"
    mark = "." if webvtt else ","
    cues = []
    for number, (start_s, end_s, segment) in enumerate(_cues(prediction), start=1):
        best = segment.labels[0]
        times = f"{_clock(start_s, mark)} --> {_clock(end_s, mark)}"
        text = " ".join(best.label.split())
        if webvtt:
            text = text.replace("&", "&amp;").replace("<", "&lt;")
        cues.append(f"{number}\n{times}\n{text} {best.probability:.0%}\n\n")
    return ("WEBVTT\n\n" if webvtt else "") + "".join(cues)


class SubtitleFiles:
    """Writes subtitles for each labelled video: beside it, within a folder as the videos lie in theirs, or to a file.

    Beside a video they are called `NAME.vidcomp.srt`, with the video's whole name: no name that a person's own
    subtitles, or another video's, would have.
    """

    def __init__(self, form: str, *, folder: Path | None = None, file: Path | None = None) -> None:
        self._form, self._folder, self._file = form, folder, file

    def known(self, job: Job, stamp: Stamp | None) -> None:
        """Subtitles do not tell what made them: they are always written anew."""

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        """Write a prediction's subtitles, whole or not at all; folders on the way are made.

        Raises:
            OutputError: they cannot be written there.
        """
        if not prediction.ok:
            return
        path = self._file or self._beside(Path(job.path) if self._folder is None else self._folder / job.name)
        with kept_so_far(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, [encodable(subtitles(prediction, self._form)).encode()])

    def _beside(self, video: Path) -> Path:
        return video.with_name(f"{video.name}.vidcomp.{self._form}")


def _cues(prediction: Prediction) -> list[tuple[float, float, Segment]]:
    starts = [segment.start_s for segment in prediction.segments]
    ends = [
        min(segment.end_s, following)
        for segment, following in zip(prediction.segments, [*starts[1:], float("inf")], strict=True)
    ]
    return [
        (max(0.0, segment.start_s), end, segment)
        for segment, end in zip(prediction.segments, ends, strict=True)
        if segment.labels and end > max(0.0, segment.start_s)
    ]


def _clock(seconds: float, mark: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{thousandths:03}"
