"""Labels over time as subtitles, SubRip and WebVTT, and as chapters in FFmpeg's metadata."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from vidcomp.files import encodable, printable, replace_file
from vidcomp.inference.batch import Job, Sink, Stamp, Unwritable
from vidcomp.inference.in_progress import InProgress
from vidcomp.inference.prediction import Label, Prediction
from vidcomp.output.places import Places
from vidcomp.output.run import OutputError, identity, kept_so_far, unwritable

# What befalls every video after this one, too.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def subtitles(prediction: Prediction, form: str) -> str:
    """One cue per moment found, "PushUps 93%", or else per window, which ends where the next begins.

    Windows without a label have none, nor have those that start together with the next, or end before the player's
    clock starts. In the form ``ffmetadata`` each is a chapter.
    """
    if form == "ffmetadata":
        return _chapters(prediction)
    webvtt = form == "vtt"
    mark = "." if webvtt else ","
    cues = []
    for number, (start_s, end_s, best) in enumerate(_cues(prediction), start=1):
        times = f"{_clock(start_s, mark)} --> {_clock(end_s, mark)}"
        text = printable(" ".join(best.label.split()))
        if webvtt:
            text = text.replace("&", "&amp;").replace("<", "&lt;")
        cues.append(f"{number}\n{times}\n{text} {best.probability:.0%}\n\n")
    return ("WEBVTT\n\n" if webvtt else "") + "".join(cues)


class SubtitleFiles(Sink):
    """Writes subtitles for each labeled video: beside it, within a folder as the videos lie in theirs, or to a file.

    Beside a video they are called `NAME.vidcomp.srt`, with the video's whole name: no name that a person's own
    subtitles, or another video's, would have.

    A video that killed the program twice is left out from then on, without `resume` tried again. Use it as a context
    manager: leaving it says that the program was not killed.
    """

    def __init__(self, form: str, *, folder: Path | None = None, file: Path | None = None, resume: bool = True) -> None:
        """Settle where subtitles go; `OutputError` if there can be no such folder."""
        self._form, self._folder, self._file, self._resume = form, folder, file, resume
        self._in_progress: dict[Path, InProgress] = {}
        self._places = None
        self.last: Path | None = None
        """The file written last."""
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(folder, error) from None
            self._places = Places(folder)

    def write(self, job: Job, prediction: Prediction, stamp: Stamp | None) -> None:
        """Write a prediction's subtitles, whole or not at all; folders on the way are made.

        Raises:
            Unwritable: they cannot be written there.
            OutputError: the disk is full.
        """
        if self.deaths(job, stamp) < 2:
            self.pass_over(job)
        if not prediction.ok:
            return
        path = self._file or self._beside(job)
        try:
            with kept_so_far(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, [encodable(subtitles(prediction, self._form)).encode()])
            self.last = path
        except OutputError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno in _FULL:
                raise
            why = f"its subtitles cannot be written to {printable(str(path))} ({cause.strerror})"
            raise Unwritable(f"{printable(job.path)}: {why}; choose another place with --output") from error

    def deaths(self, job: Job, stamp: Stamp | None) -> int:
        """How often the program died while this video was worked on: 0, 1, or 2 if the last time it was alone."""
        return self._noted(job).deaths(identity(job.root, job.name), stamp)

    def begin(self, job: Job, stamp: Stamp | None, *, alone: bool) -> None:
        """Note that work on this video begins, with no other in the works or with others."""
        self._noted(job).begin(identity(job.root, job.name), stamp, alone=alone)

    def pass_over(self, job: Job) -> None:
        """There is nothing to write for this video."""
        self._noted(job).done(identity(job.root, job.name))

    def __enter__(self) -> SubtitleFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for noted in self._in_progress.values():
            noted.close()

    def _noted(self, job: Job) -> InProgress:
        """What is being worked on: noted once for all where they go to one place, else beside each video."""
        path = self._file or (self._folder / f"subtitles.{self._form}" if self._folder else self._beside(job))
        if path not in self._in_progress:
            self._in_progress[path] = InProgress(path, resume=self._resume)
        return self._in_progress[path]

    def _beside(self, job: Job) -> Path:
        video = Path(job.path) if self._places is None else self._places.of(job.name, identity(job.root, job.name))
        return video.with_name(f"{video.name}.vidcomp.{self._form}")


def _cues(prediction: Prediction) -> list[tuple[float, float, Label]]:
    if prediction.moments is not None:
        return [(max(0.0, part.start_s), part.end_s, part.label) for part in prediction.moments]
    starts = [part.start_s for part in prediction.windows[1:]]
    return [
        (max(0.0, part.start_s), min(part.end_s, following), part.labels[0])
        for part, following in zip(prediction.windows, [*starts, float("inf")], strict=False)
        if part.labels and min(part.end_s, following) > max(0.0, part.start_s)
    ]


def _chapters(prediction: Prediction) -> str:
    """Chapters as FFmpeg reads them: what is special in its metadata has a backslash before it."""
    chapters = [";FFMETADATA1\n"]
    for start_s, end_s, best in _cues(prediction):
        title = re.sub(r"([=;#\\])", r"\\\1", printable(" ".join(best.label.split())))
        times = f"START={round(start_s * 1000)}\nEND={round(end_s * 1000)}"
        chapters.append(f"\n[CHAPTER]\nTIMEBASE=1/1000\n{times}\ntitle={title} {best.probability:.0%}\n")
    return "".join(chapters)


def _clock(seconds: float, mark: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{thousandths:03}"
