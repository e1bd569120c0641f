"""Which videos a run suspects, after the one before it was killed: here, one whose note nobody has closed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from vidcomp.inference.in_progress import InProgress, noted_beside, noted_in_cache
from vidcomp.video.errors import VideoCrashed


@dataclass(frozen=True)
class Video:
    path: str


@pytest.fixture
def videos(tmp_path: Path) -> list[Video]:
    for name in "abc":
        (tmp_path / name).write_text(name)
    return [Video(str(tmp_path / name)) for name in "abc"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "answer"


def die_over(place: Path, video: Video, *, before: tuple[Video, ...] = ()) -> None:
    """A run that is killed in an attempt at one video, after some went well."""
    note = InProgress(place)
    for other in before:
        with note.attempt(other.path):
            pass
    attempt = note.attempt(video.path)
    attempt.__enter__()
    _killed.append(attempt)


# Attempts that never end: were they collected, they would.
_killed: list[object] = []


def test_a_video_is_left_out_that_killed_a_run_beside_others_and_another_alone(
    place: Path, videos: list[Video]
) -> None:
    first, second, third = videos
    drawn = InProgress(place).together(videos)
    assert [next(drawn), next(drawn)] == [first, second]
    assert InProgress(place).parted(videos) == ([third], [first, second])
    die_over(place, second, before=(first,))
    note = InProgress(place)
    with note.attempt(first.path):
        pass
    with pytest.raises(VideoCrashed, match=rf"killed twice.*delete {place.parent}/\.answer\.inprogress"):
        note.attempt(second.path).__enter__()
    note.complete()
    # The next run must not die of it either.
    assert InProgress(place).parted(videos) == ([first, third], [second])


def test_what_goes_well_first_and_kills_later_in_the_run_is_left_out_too(place: Path, videos: list[Video]) -> None:
    for _ in range(2):
        die_over(place, videos[0], before=tuple(videos))
    with pytest.raises(VideoCrashed):
        InProgress(place).attempt(videos[0].path).__enter__()


def test_another_file_in_its_place_is_not_suspect(place: Path, videos: list[Video]) -> None:
    for _ in range(2):
        die_over(place, videos[0])
    Path(videos[0].path).write_text("another")
    assert InProgress(place).parted(videos) == (videos, [])


def test_an_interrupt_and_an_error_are_no_videos_fault(place: Path, videos: list[Video]) -> None:
    with suppress(KeyboardInterrupt), noted_beside(place) as note:
        next(note.together(videos))
        with note.attempt(videos[1].path):
            raise KeyboardInterrupt
    assert InProgress(place).parted(videos) == (videos, [])
    assert sorted(path.name for path in place.parent.iterdir()) == ["a", "b", "c"]


def test_a_suspect_stays_one_until_a_run_is_complete(place: Path, videos: list[Video]) -> None:
    die_over(place, videos[0])
    for complete in (False, True):
        with noted_beside(place) as note:
            assert note.parted(videos)[1] == videos[:1]
            with note.attempt(videos[0].path):
                pass
            if complete:
                note.complete()
    assert InProgress(place).parted(videos) == (videos, [])


def test_what_another_process_works_on_at_the_same_time_is_not_suspect(place: Path, videos: list[Video]) -> None:
    with noted_beside(place) as one, one.attempt(videos[0].path):
        with noted_beside(place) as other, other.attempt(videos[1].path):
            assert other.parted(videos) == (videos, [])
        assert InProgress(place).parted(videos) == (videos[1:], videos[:1])


def test_a_note_is_of_a_command_and_of_all_that_it_was_asked(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with noted_in_cache("evaluate", ["a", "sfc"]) as note, note.attempt(videos[0].path):
        for command, asked in (("compare", ["a", "sfc"]), ("evaluate", ["b", "sfc"]), ("evaluate", ["a", "sgs"])):
            with noted_in_cache(command, asked) as other, other.attempt(videos[0].path):
                pass
        (kept,) = (tmp_path / "cache").glob(".*.inprogress")
        with noted_in_cache("evaluate", [videos[0].path, "sfc"]) as same, same.attempt(videos[1].path):
            assert list((tmp_path / "cache").glob(".*.inprogress")) == [kept]


def test_without_a_place_to_write_to_nothing_is_noted(tmp_path: Path, videos: list[Video]) -> None:
    (tmp_path / "file").touch()
    with noted_beside(tmp_path / "file" / "answer") as note, note.attempt(videos[0].path):
        assert note.parted(videos) == (videos, [])
