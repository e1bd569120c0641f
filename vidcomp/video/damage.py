"""How much of a video could not be read, what is said of it, and when it is too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vidcomp.files import counted
from vidcomp.video.container import open_container
from vidcomp.video.errors import VideoDamaged, VideoEncrypted
from vidcomp.video.frames import Damage, VideoInfo
from vidcomp.video.pyav import Clock, Picture
from vidcomp.video.sampling import Selection
from vidcomp.video.streams import ENCRYPTED, unread_share


class Backend(Protocol):
    """What a decoder must offer: see `pyav` and `decord`."""

    name: str
    info: VideoInfo
    size: tuple[int, int]
    clock: Clock
    decoded: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how the file was understood."""
        ...

    @property
    def repaired(self) -> int:
        """Coded frames that came damaged or not at all."""
        ...

    @property
    def hidden(self) -> int:
        """Coded frames that an edit list hides."""
        ...

    @property
    def others_end_s(self) -> float:
        """When the other streams were seen to end, if that matters: see `container.Decoding`."""
        ...

    def damage(self) -> Damage:
        """How much of what was read so far came damaged or not at all."""
        ...

    def pictures(self, selection: Selection, after: int = -1) -> Iterator[Picture]:
        """The selected frames beyond number `after`, in order; raises DecodeFailed where it stops too early."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def check_damage(path: str, backend: Backend, limit: float, *, complete: bool = True) -> Damage:
    """How much of what was read came damaged or not at all; `complete` if it was read to its end.

    Raises:
        VideoDamaged, VideoEncrypted: it is a larger share than `limit`.
    """
    harm = backend.damage()
    if harm.encrypted > limit:
        raise VideoEncrypted(path, ENCRYPTED)
    share = max(harm.share, _lost(path, backend, limit) if complete else 0.0)
    if share > limit:
        reason = f"{share:.1%} of its frames are damaged or missing, and at most {limit:.0%} may be"
        raise VideoDamaged(path, f"{reason}; copy or record it again, or allow more damage")
    return harm


def notes_on(path: str, backend: Backend, harm: Damage, *, complete: bool = True) -> list[str]:
    """What to say of what was lacking or had to be guessed."""
    notes = _shortfall(path, backend) if complete else []
    if backend.repaired:
        notes.append(f"{counted(backend.repaired, 'damaged frame')}, concealed by the decoder or left out")
    if harm.encrypted:
        share = f"{harm.encrypted:.0%}" if harm.encrypted >= 0.01 else "less than 1%"
        notes.append(f"{share} of it is encrypted, and was left out")
    if backend.clock.invented:
        notes.append(f"{counted(backend.clock.invented, 'frame')} had no usable timestamp; the frame rate gave theirs")
    return notes


def _lost(path: str, backend: Backend, limit: float) -> float:
    """The share of frames that holes in the file took: they are lacking, and so many of its bytes cannot be read.

    All bytes of a file that was cut can be read. Times alone would not do: frames may be few for long, and headers
    may lie.
    """
    expected = max(backend.info.expected_frames or 0, round(backend.clock.covered * backend.info.fps))
    seen = _seen(backend.info, backend.decoded, backend.others_end_s)
    lacking = 1 - seen / max(1, expected)
    if not _falls_short(seen, expected) or lacking <= limit:
        return 0.0
    with open_container(path) as container:
        return min(lacking, unread_share(container))


def _shortfall(path: str, backend: Backend) -> list[str]:
    """What to say of a video that ended before its time."""
    info, decoded = backend.info, backend.decoded
    if info.frame_count:
        promised = info.frame_count - backend.hidden
        return [f"the file promises {promised} frames, {decoded} could be read"] if decoded < promised else []
    expected = info.expected_frames
    short = expected and _falls_short(_seen(info, decoded, backend.others_end_s), expected)
    if not short or _is_sparse(path, backend):
        return []
    return [f"the file promises about {expected} frames, {decoded} could be read"]


def _is_sparse(path: str, backend: Backend) -> bool:
    """Whether frames are few because they are far apart, as in a time-lapse: none is lacking."""
    if backend.repaired or backend.clock.covered < 0.95 * (backend.info.duration_s or 0.0):
        return False
    with open_container(path) as container:
        return not unread_share(container)


def _seen(info: VideoInfo, decoded: int, others_end_s: float) -> int:
    """Frames to the end of what was read: where sound lasts as long as was promised, the promise was the sound's."""
    return max(decoded, round((others_end_s - info.start_s) * info.fps))


def _falls_short(decoded: int, expected: int) -> bool:
    """Whether clearly more is lacking than rounding takes: duration × rate is an estimate only."""
    return decoded < 0.95 * expected - 2
