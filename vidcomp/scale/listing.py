"""Lists of any length: what the user named becomes jobs one after the other, with what a manifest says beside them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vidcomp.files import absolute
from vidcomp.inference.batch import Job
from vidcomp.scale.stores import StoreError, filesystem, is_store, reason_of
from vidcomp.video import Shard, SourceError, VideoFile, VideoSelection, find_videos
from vidcomp.video.discovery import VIDEO_EXTENSIONS
from vidcomp.video.remote import is_address

if TYPE_CHECKING:
    import pyarrow as pa

MANIFESTS = (".csv", ".parquet")
"""How a list ends that is a table: its column ``path`` names the videos, the others are carried through."""

_PATH = "path"
_ROWS = 4096


@dataclass(frozen=True)
class ListedJob(Job):
    """A job, with what its manifest says of the video in other columns."""

    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Manifest:
    """A table of videos; its names are relative to the folder that it lies in."""

    place: str
    columns: Mapping[str, Any]

    @classmethod
    def open(cls, place: str) -> _Manifest:
        with _opened(place) as file:
            schema = _schema(place, file)
        columns = dict(zip(schema.names, schema.types, strict=True))
        if _PATH not in columns:
            raise SourceError(place, f"its columns are {', '.join(columns)}; name the one with the videos {_PATH}")
        if len(columns) < len(schema.names):
            raise SourceError(place, "two of its columns have the same name; leave one")
        return cls(place, {name: kind for name, kind in columns.items() if name != _PATH})

    def count(self) -> int:
        """How many rows it has; a Parquet file knows, a CSV file is read through."""
        import pyarrow.parquet as pq

        with _opened(self.place) as file:
            if self.place.lower().endswith(".parquet"):
                return int(pq.ParquetFile(file).metadata.num_rows)
            return sum(batch.num_rows for batch in _csv(file, [_PATH]))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, read as they are wanted."""
        import pyarrow.parquet as pq

        with _opened(self.place) as file:
            if self.place.lower().endswith(".parquet"):
                batches: Iterable[Any] = pq.ParquetFile(file).iter_batches(_ROWS)
            else:
                batches = _csv(file, None)
            for batch in batches:
                yield from batch.to_pylist()


class Listing:
    """The videos that were named, in order; :meth:`jobs` may be asked for more than once."""

    def __init__(
        self,
        named: Sequence[str],
        *,
        selection: VideoSelection,
        lists: Sequence[str] = (),
        stdin: IO[bytes] | None = None,
        null: bool = False,
        all_files: bool = False,
        allow_urls: bool = False,
        reserved: Iterable[str] = (),
    ) -> None:
        """Look at what is named; manifests and folders of object stores are read when the jobs are wanted.

        Args:
            named: files, folders, patterns, ``-``, as :func:`~vidcomp.video.find_videos` takes them; besides, addresses
                in object stores (a video, or a folder that ends with ``/``), and manifests, here or there.
            selection: which of them.
            lists: files of paths, or manifests.
            stdin, null, all_files, allow_urls: as ``find_videos`` takes them.
            reserved: columns that the results have; one of a manifest with such a name becomes ``given_NAME``.

        Raises:
            SourceError: something named does not exist, or a manifest has no column ``path``.
        """
        self._selection, self._all_files = selection, all_files
        self._reserved = frozenset(reserved)
        self._sources: list[_Manifest | str | tuple[VideoFile, ...]] = []
        self.notes: list[str] = []
        only = named[0] if len(named) == 1 and not lists else None
        self._folder = only if only is not None and os.path.isdir(only) else None  # noqa: PTH112
        for name, is_list in [*((name, False) for name in named), *((name, True) for name in lists)]:
            if name.lower().endswith(MANIFESTS):
                self._sources.append(_Manifest.open(name))
            elif is_store(name) and not is_list:
                self._sources.append(name)
            else:
                how = {"stdin": stdin, "null": null, "all_files": all_files, "allow_urls": allow_urls}
                found = find_videos([], lists=[name], **how) if is_list else find_videos([name], **how)  # type: ignore[arg-type]
                self._sources.append(found.videos)
                self.notes += found.notes

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Columns of the manifests beside ``path``, and their Arrow types; in a CSV file, all are text."""
        return {
            self._renamed(name): kind
            for source in self._sources
            if isinstance(source, _Manifest)
            for name, kind in source.columns.items()
        }

    def count(self) -> int:
        """About how many videos there are: patterns are not looked at, and a share has its part."""
        total = 0
        for source in self._sources:
            if isinstance(source, _Manifest):
                total += source.count()
            else:
                total += len(source) if isinstance(source, tuple) else 1
        shard = self._selection.shard or Shard(1, 1)
        return min(-(-total // shard.of), self._selection.limit or total)

    def jobs(self) -> Iterator[ListedJob]:
        """A job for each video that is selected; one that is named twice comes twice.

        Raises:
            SourceError: a manifest or a folder cannot be read.
        """
        wanted = (job for job, relative in self._all() if self._selection.wants(relative))
        return islice(wanted, self._selection.limit)

    def _all(self) -> Iterator[tuple[ListedJob, str]]:
        """All jobs, each with the relative path that patterns and shares go by."""
        for source in self._sources:
            if isinstance(source, _Manifest):
                for row in source.rows():
                    if not (name := row.pop(_PATH)):
                        raise SourceError(source.place, "a row has no path; take it out")
                    yield self._row(source, str(name), row), str(name)
            elif isinstance(source, str):
                for path, relative in self._stored(source):
                    yield ListedJob(path, path), relative
            else:
                for video in source:
                    yield self._local(video), video.relative

    def _local(self, video: VideoFile) -> ListedJob:
        """A file by its absolute path, for it is opened elsewhere, and called what a single machine calls it."""
        if is_address(video.path) and not os.path.lexists(video.path):
            return ListedJob(video.path, video.path)
        if self._folder is not None:
            return ListedJob(absolute(video.path), video.relative, video.certain, absolute(self._folder))
        root = None if os.path.isabs(video.path) else os.getcwd()  # noqa: PTH109, PTH117
        return ListedJob(absolute(video.path), video.path, video.certain, root)

    def _row(self, manifest: _Manifest, name: str, row: dict[str, Any]) -> ListedJob:
        extra = {self._renamed(column): value for column, value in row.items()}
        if is_store(name) or is_address(name):
            return ListedJob(name, name, extra=extra)
        if is_store(manifest.place):
            address = posixpath.join(posixpath.dirname(manifest.place), name)
            return ListedJob(address, address, extra=extra)
        if os.path.isabs(name):  # noqa: PTH117
            return ListedJob(name, name, extra=extra)
        folder = absolute(str(Path(manifest.place).parent))
        return ListedJob(os.path.join(folder, name), name, root=folder, extra=extra)  # noqa: PTH118

    def _renamed(self, column: str) -> str:
        return f"given_{column}" if column in self._reserved else column

    def _stored(self, address: str) -> Iterator[tuple[str, str]]:
        """Videos in an object store: the one named, or those below a folder, with their paths relative to it."""
        if not address.endswith("/"):
            yield address, posixpath.basename(address)
            return
        try:
            system, root = filesystem(address)
            found = sorted(system.find(root))
        except StoreError as error:
            raise SourceError(address, str(error).removeprefix(f"{address}: ")) from None
        except Exception as error:  # each store's library has its own
            raise SourceError(address, f"cannot be listed ({reason_of(error)}); check name and credentials") from None
        scheme = address.partition("://")[0]
        for path in found:
            if self._all_files or os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS:  # noqa: PTH122
                yield f"{scheme}://{path.lstrip('/')}", posixpath.relpath(path, root.rstrip("/"))


@contextmanager
def _opened(place: str) -> Iterator[Any]:
    """A manifest's bytes, whatever goes wrong with it being a SourceError."""
    import pyarrow as pa

    try:
        system, path = filesystem(place)
        with system.open(path, "rb") as file:
            yield file
    except StoreError as error:
        raise SourceError(place, str(error).removeprefix(f"{place}: ")) from None
    except FileNotFoundError:
        raise SourceError(place, "no such file; check the name") from None
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if place.lower().endswith(".parquet") else "CSV"
        raise SourceError(place, f"cannot be read as a {kind} file ({reason_of(error)})") from None


def _schema(place: str, file: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.read_schema(file) if place.lower().endswith(".parquet") else _csv(file, None).schema


def _csv(file: Any, columns: list[str] | None) -> Any:
    """A CSV file with a heading, block by block, every field as text."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    heading = arrow_csv.open_csv(file).schema.names
    file.seek(0)
    return arrow_csv.open_csv(
        file,
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(heading, pa.string()), include_columns=columns, strings_can_be_null=False
        ),
    )
