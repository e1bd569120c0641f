from __future__ import annotations

import pytest

from vidcomp.video import Shard, VideoFile, VideoSelection

NAMES = ["a/x.mp4", "a/y.mkv", "b/raw/x.mp4", "z.mp4", "caf\udce9.mp4"]


def chosen(choice: VideoSelection) -> list[str]:
    return [video.relative for video in choice.of(VideoFile(f"/v/{name}", name) for name in NAMES)]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (VideoSelection(), NAMES),
        (VideoSelection(include=("*.mkv", "z*")), ["a/y.mkv", "z.mp4"]),
        (VideoSelection(include=("a",)), ["a/x.mp4", "a/y.mkv"]),
        (VideoSelection(exclude=("raw", "*\udce9*")), ["a/x.mp4", "a/y.mkv", "z.mp4"]),
        (VideoSelection(include=("b/*",)), ["b/raw/x.mp4"]),
        (VideoSelection(exclude=("./a/*", "b/*")), ["z.mp4", "caf\udce9.mp4"]),
        (VideoSelection(include=("x.*",), limit=1), ["a/x.mp4"]),
    ],
)
def test_patterns_and_limit(choice: VideoSelection, names: list[str]) -> None:
    assert chosen(choice) == names


def test_shards_part_the_videos() -> None:
    videos = [VideoFile(f"/v/{i}.mp4", f"{i}.mp4") for i in range(1000)]
    parts = [{video.relative for video in VideoSelection(shard=Shard(i, 4)).of(videos)} for i in range(1, 5)]
    assert len(set().union(*parts)) == sum(map(len, parts)) == 1000
    assert all(200 < len(part) < 300 for part in parts)


def test_a_videos_shard_never_changes() -> None:
    elsewhere = [VideoFile(f"/other/{name}", name) for name in reversed(NAMES)]
    here = set(chosen(VideoSelection(shard=Shard(2, 3))))
    assert {video.relative for video in VideoSelection(shard=Shard(2, 3)).of(elsewhere)} == here
    assert Shard(2, 3).holds("a/x.mp4") == (Shard.parse("2/3").holds("a/x.mp4"))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/0", "-1/2"])
def test_shards_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)
