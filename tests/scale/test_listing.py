"""What is named becomes jobs: files, folders, manifests with their columns, object stores."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.scale.conftest import Bucket
from vidcomp.scale.listing import Listing
from vidcomp.video import Shard, SourceError, VideoSelection
from vidcomp.video.container import describe
from vidcomp.video.errors import VideoMissing


def listing(*named: object, **options: Any) -> Listing:
    selection = options.pop("selection", VideoSelection())
    return Listing([str(name) for name in named], selection=selection, **options)


def test_a_folder_is_listed_as_a_single_machine_does(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/x.mkv", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = listing(tmp_path)
    assert [(job.path, job.name, job.root) for job in found.jobs()] == [
        (f"{tmp_path}/a/x.mkv", "a/x.mkv", str(tmp_path)),
        (f"{tmp_path}/b.mp4", "b.mp4", str(tmp_path)),
    ]
    assert found.count() == 2
    everything = listing(tmp_path, all_files=True)
    assert [job.certain for job in everything.jobs()] == [True, True, False]


def test_a_relative_name_is_opened_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    (job,) = listing("a.mp4").jobs()
    assert (job.path, job.name, job.root) == (f"{tmp_path}/a.mp4", "a.mp4", str(tmp_path))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_a_manifest_are_carried_through(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame(
        {
            "camera": [1, 2],
            "path": ["a.mp4", "/else/b.mp4"],
            "label": ["x", "a, b"],
            "on": [datetime.date(2026, 1, 2)] * 2,
        }
    )
    place = tmp_path / f"list.{ending}"
    frame.to_csv(place, index=False) if ending == "csv" else frame.to_parquet(place, index=False)
    found = listing(place, reserved=["path", "label"])
    one, two = found.jobs()
    assert (one.path, one.name, one.root) == (f"{tmp_path}/a.mp4", "a.mp4", str(tmp_path))
    assert (two.path, two.name, two.root) == ("/else/b.mp4", "/else/b.mp4", None)
    assert two.extra["given_label"] == "a, b"
    assert two.extra["camera"] == ("2" if ending == "csv" else 2)
    assert list(found.columns) == ["camera", "given_label", "on"]
    assert {str(kind) for kind in found.columns.values()} == (
        {"string"} if ending == "csv" else {"int64", *({str(found.columns["given_label"])}), "date32[day]"}
    )
    assert found.count() == 2
    assert [job.path for job in listing(lists=[str(place)]).jobs()] == [one.path, two.path]


def test_a_manifest_is_read_as_it_is_wanted(tmp_path: Path) -> None:
    place = tmp_path / "list.parquet"
    pd.DataFrame({"path": [f"{number}.mp4" for number in range(20_000)]}).to_parquet(place, row_group_size=1000)
    found = listing(place, selection=VideoSelection(exclude=("3*",), shard=Shard(2, 4), limit=7))
    names = [job.name for job in found.jobs()]
    assert len(names) == 7
    assert not [name for name in names if name.startswith("3")]
    assert found.count() == 7
    shares = [listing(place, selection=VideoSelection(shard=Shard(number, 3))) for number in (1, 2, 3)]
    every = [job.name for share in shares for job in share.jobs()]
    assert len(every) == len(set(every)) == 20_000


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("file,label\na.mp4,x\n", "its columns are file, label; name the one with the videos path"),
        ("path,x,x\na.mp4,1,2\n", "two of its columns have the same name"),
        ("path,x\n,1\n", "a row has no path"),
        ("path,x\na.mp4\n", "cannot be read as a CSV file"),
        ("", "cannot be read as a CSV file"),
        (None, "no such file"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, content: str | None, why: str) -> None:
    place = tmp_path / "list.csv"
    if content is not None:
        place.write_text(content)
    with pytest.raises(SourceError, match=why):
        list(listing(place).jobs())


def test_a_table_that_is_no_parquet(tmp_path: Path) -> None:
    place = tmp_path / "list.parquet"
    place.write_text("path\na.mp4\n")
    with pytest.raises(SourceError, match="cannot be read as a Parquet file"):
        listing(place)


def test_object_stores(bucket: Bucket) -> None:
    for name in ("videos/b.mp4", "videos/deep/a.webm", "videos/notes.txt", "other.mp4"):
        bucket.pipe_file(f"/archive/{name}", b"x")
    bucket.pipe_file("/archive/list.csv", b"path,camera\nvideos/b.mp4,1\ns3://else/c.mp4,2\ndeep/d.mp4,3\n")
    found = listing("s3://archive/videos/", "s3://archive/other.mp4")
    assert [(job.path, job.name, job.root) for job in found.jobs()] == [
        (address, address, None)
        for address in ("s3://archive/videos/b.mp4", "s3://archive/videos/deep/a.webm", "s3://archive/other.mp4")
    ]
    chosen = listing("s3://archive/videos/", selection=VideoSelection(include=("deep/*",)))
    assert [job.path for job in chosen.jobs()] == ["s3://archive/videos/deep/a.webm"]
    assert [job.path for job in listing("s3://archive/list.csv").jobs()] == [
        "s3://archive/videos/b.mp4",
        "s3://else/c.mp4",
        "s3://archive/deep/d.mp4",
    ]


def test_a_scheme_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(address: str) -> None:
        raise ImportError("no module named gcsfs")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(SourceError, match="gs:// needs gcsfs; pip install gcsfs"):
        list(listing("gs://archive/").jobs())


def test_web_addresses_are_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "list.csv"
    place.write_text("path\nhttps://example.org/a.mp4\n")
    with pytest.raises(SourceError, match="allow_urls"):
        listing("https://example.org/a.mp4")
    (job,) = listing("https://example.org/a.mp4", allow_urls=True).jobs()
    assert (job.name, job.root) == ("https://example.org/a.mp4", None)
    # In lists, each is told by itself that it was not fetched.
    lines = tmp_path / "list.txt"
    lines.write_text("https://example.org/a.mp4\n")
    for listed in (listing(str(place)), listing(lists=[str(lines)])):
        (job,) = listed.jobs()
        assert (job.path, job.name, job.root) == ("https://example.org/a.mp4", "https://example.org/a.mp4", None)
        with pytest.raises(VideoMissing, match="this is an address; give allow_urls=True to have it fetched"):
            describe(job.path)
