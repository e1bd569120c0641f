"""What commands are asked to do: the options that several of them share, and those of `classify`, checked at once."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidcomp.cli.errors import UsageError

if TYPE_CHECKING:
    from vidcomp.inference.grammar import NamedStrategy
    from vidcomp.video import VideoSelection

which = partial(typer.Option, rich_help_panel="Which videos")
how = partial(typer.Option, rich_help_panel="How videos pass the network")
where = partial(typer.Option, rich_help_panel="Where results go")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DEFAULT_EVERY_S = 10.0


class DecoderChoice(str, Enum):
    """What may be asked for with --decoder."""

    AUTO = "auto"
    DECORD = "decord"
    PYAV = "pyav"


class DeviceChoice(str, Enum):
    """What may be asked for with --device."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PrecisionChoice(str, Enum):
    """What may be asked for with --precision."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class PathsChoice(str, Enum):
    """How results name videos."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


_STRATEGIES = (
    "whole",
    "sfc",
    "sfc-tau4",
    "sgs",
    "sgs+sfc",
    "dense30",
    "dense10x1",
    "uniform8",
    "uniform8x32",
    "keyframes",
)


def finite(value: Any) -> Any:
    """A number, or several, of an option; BadParameter if one is infinite or none at all."""
    for number in value if isinstance(value, list) else [value]:
        if number is not None and not math.isfinite(number):
            raise typer.BadParameter(f"{number} is not a finite number.")
    return value


def complete_models() -> list[str]:
    """What a shell may complete a model's name to; it completes the paths of manifests by itself."""
    from vidcomp.zoo.manifest import model_names

    return model_names()


def complete_strategies() -> list[str]:
    """What a shell may complete a strategy's name to: examples of the grammar."""
    return list(_STRATEGIES)


PATHS = typer.Argument(
    metavar="PATH...",
    help="Video files, folders (searched recursively), globs, or - for a list of paths on standard input.",
)
LABELED = typer.Argument(help="A folder with a sub-folder of videos for each class, or a CSV file of path,label.")
FilesFrom = Annotated[
    list[str] | None, which("--files-from", help="Read paths from this file, one per line; they are never patterns.")
]
Null = Annotated[bool, which("--null", "-0", help="Paths in lists are separated by NUL, as find -print0 writes them.")]
Include = Annotated[
    list[str] | None, which("--include", help="Only videos whose name, folder or relative path matches this pattern.")
]
Exclude = Annotated[list[str] | None, which("--exclude", help="Leave out videos that match this pattern.")]
Limit = Annotated[int | None, which("--limit", min=1, help="Only the first N videos.")]
Window = Annotated[
    str | None, how("--window", metavar="TIME", help="Length of a window; if longer than --every, windows overlap.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="VIDCOMP_MODEL",
        help="A model's name, or the path of a YAML manifest.",
        autocompletion=complete_models,
    ),
]
Tau = Annotated[float | None, how("--tau", callback=finite, help="Compression ratio of SFC (at least 1).")]
Strategy = Annotated[
    str | None,
    how(
        "--strategy",
        metavar="NAME",
        autocompletion=complete_strategies,
        help="whole (no compression); sfc, sfc-tau4, sgs or sgs+sfc (by these compressors); bitstream; dense30 or "
        "dense10x1 (clips x crops of the uncompressed network); uniform8 or uniform8x32 (clips spread over the "
        "video); keyframes (a quick look). By default the whole video, compressed as the model's manifest says.",
    ),
]
Device = Annotated[DeviceChoice, how("--device", envvar="VIDCOMP_DEVICE", help="Where the model runs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, warnings or summary.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Precision = Annotated[
    PrecisionChoice,
    how("--precision", help="Number format of the computation; auto is fp32 on a CPU, bf16 or fp16 on CUDA."),
]
Compile = Annotated[bool, how("--compile", help="Compile the model first; worthwhile for hundreds of videos.")]
DecodeWorkers = Annotated[
    int | None,
    how(
        "--decode-workers",
        min=1,
        help="Processes that decode the next videos in advance; by default one per two cores.",
    ),
]
DecodeTimeout = Annotated[
    float | None,
    how(
        "--decode-timeout",
        min=0.1,
        callback=finite,
        help="Most seconds that decoding one video may take; by default it depends on the video.",
    ),
]
Batch = Annotated[
    int | None,
    how(
        "--batch",
        min=1,
        help="Videos of equal shape that pass compressor and tail together; by default 1 on a CPU, 16 on CUDA.",
    ),
]
Decoder = Annotated[
    DecoderChoice,
    how("--decoder", help="Which decoder reads videos; auto is decord where it is exact, and PyAV elsewhere."),
]
MaxDamage = Annotated[
    float,
    how(
        "--max-damage",
        metavar="PERCENT",
        min=0.0,
        max=100.0,
        callback=finite,
        help="Percentage of a video's frames that may be damaged or missing before it is an error.",
    ),
]
Resume = Annotated[bool, where("--resume/--no-resume", help="Continue with what is in --output, or start over.")]
RetryErrors = Annotated[bool, where("--retry-errors", help="Try the videos again that failed in an earlier run.")]
PathsAs = Annotated[
    PathsChoice,
    where(
        "--paths",
        help="How results name videos: relative (in --output to the folder, elsewhere as given) or absolute.",
    ),
]


class OutputFormat(str, Enum):
    """Formats of the answer."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    SRT = "srt"
    VTT = "vtt"
    FFMETADATA = "ffmetadata"

    @property
    def is_subtitles(self) -> bool:
        """Whether there is a file for each video, with what is when."""
        return self in (OutputFormat.SRT, OutputFormat.VTT, OutputFormat.FFMETADATA)


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which videos."""

    paths: tuple[str, ...]
    lists: tuple[str, ...] = ()
    all_files: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: str | None = None
    limit: int | None = None
    allow_urls: bool = False
    null: bool = False

    def __post_init__(self) -> None:
        if not self.paths and not self.lists:
            raise UsageError("name a video, a folder, a pattern, - for a list on standard input, or --files-from FILE")

    @property
    def one_folder(self) -> str | None:
        """The folder, if only one is given: names relative to it are distinct; of several, each may hold `x.mp4`."""
        only = self.paths[0] if len(self.paths) == 1 and not self.lists else None
        return only if only is not None and os.path.isdir(only) else None  # noqa: PTH112

    def selection(self) -> VideoSelection:
        """The patterns, share and limit."""
        from vidcomp.video import Shard, VideoSelection

        try:
            shard = Shard.parse(self.shard) if self.shard is not None else None
        except ValueError as error:
            raise UsageError(f"--shard: {error}") from None
        return VideoSelection(self.include, self.exclude, shard, self.limit)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """With which model, and how a video is passed through it."""

    name: str
    compressor: str | None = None
    tau: float | None = None
    device: str = "auto"
    clips: int | None = None
    clip_frames: int | None = None
    every: str | None = None
    window: str | None = None
    moments: bool = False
    decode_timeout_s: float | None = None
    decode_workers: int | None = None
    precision: str = "auto"
    compile: bool = False
    batch: int | None = None
    strategy: str | None = None
    max_damage: float = 0.5
    decoder: Literal["auto", "decord", "pyav"] = "auto"
    only: tuple[str, ...] = ()
    only_file: Path | None = None

    def labels(self) -> tuple[str, ...]:
        """The labels to choose among: those named, and those in the file, one per line; # begins a comment."""
        if self.only_file is None:
            return self.only
        from vidcomp.video import SourceError
        from vidcomp.video.discovery import read_text

        try:
            lines = read_text(str(self.only_file)).splitlines()
        except (OSError, SourceError) as error:
            why = error.reason if isinstance(error, SourceError) else error.strerror
            raise UsageError(f"--only-file {self.only_file}: cannot be read ({why}); name a file of labels") from None
        named = tuple(line for line in map(str.strip, lines) if line and not line.startswith("#"))
        if not named:
            raise UsageError(f"--only-file {self.only_file}: it names no label; write one per line")
        return (*self.only, *named)

    def named(self, *, subtitles: bool) -> NamedStrategy:
        """How to pass a video, by windows or not, and through which variant of the model.

        Subtitles need windows, or moments.
        """
        from vidcomp.inference.grammar import StrategyError, parse_strategy

        try:
            named = parse_strategy(self._clips(), compressor=self.compressor, tau=self.tau)
        except StrategyError as error:
            raise UsageError(f"--strategy {error}") from None
        every = _seconds("--every", self.every)
        window = _seconds("--window", self.window)
        if every is None and subtitles and not self.moments:
            every = _DEFAULT_EVERY_S
        if every is None:
            if window is not None:
                raise UsageError("--window: give --every too, which says how far apart windows start")
            return named
        from vidcomp.inference.strategies import WholeVideo
        from vidcomp.inference.windows import Windows

        if not isinstance(named.strategy, (WholeVideo, type(None))):
            other = "--clips" if self.clips is not None else f"--strategy {self.strategy}"
            raise UsageError(f"windows (--every) and {other} are two ways to pass a video; choose one")
        try:
            return replace(named, strategy=Windows(every, window if window is not None else every))
        except ValueError as error:
            raise UsageError(f"--every: {error}") from None

    def _clips(self) -> str | None:
        """The strategy's name; --clips and --clip-frames spell one of them."""
        if self.clips is None:
            if self.clip_frames is not None:
                raise UsageError("--clip-frames: give --clips too, which says how many clips there are")
            return self.strategy
        if max(self.clips, self.clip_frames or 0) > 9999:
            raise UsageError("--clips and --clip-frames: at most 9999")
        if self.strategy is not None:
            raise UsageError(f"--clips and --strategy {self.strategy} are two ways to pass a video; choose one")
        return f"uniform{self.clips}" + ("" if self.clip_frames is None else f"x{self.clip_frames}")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the answers go, and in what form."""

    path: Path | None = None
    chosen: OutputFormat | None = None
    top_k: int = 5
    min_probability: float = 0.0
    resume: bool = True
    retry_errors: bool = False
    move_to: Path | None = None
    link_to: Path | None = None
    cut: Path | None = None
    cut_exact: bool = False
    dry_run: bool = False
    verbose: bool = False
    quiet: bool = False
    debug: bool = False
    paths: PathsChoice = PathsChoice.RELATIVE
    in_parts: bool = False
    form: OutputFormat = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", self._form())
        if self.form is OutputFormat.PARQUET and self.path is None and not self.in_parts:
            raise UsageError("--format parquet: give --output FILE too; a terminal cannot show it")
        if self.move_to is not None and self.link_to is not None:
            raise UsageError("--move-to and --link-to: choose one")
        if self.cut_exact and self.cut is None:
            raise UsageError("--cut-exact: give --cut DIR too, where the clips go")
        if self.cut is not None and self.move_to is not None:
            raise UsageError("--cut and --move-to: clips are cut from where the videos lie; use --link-to")

    def _form(self) -> OutputFormat:
        """The format asked for, or else the one that the output's extension names; of parts, Parquet."""
        if self.in_parts:
            if self.chosen not in (None, OutputFormat.PARQUET, OutputFormat.JSONL):
                raise UsageError(f"--format {self.chosen.value}: --engine ray writes parquet or jsonl")
            return self.chosen or OutputFormat.PARQUET
        if self.chosen is not None:
            self._check_extension(self.chosen)
            return self.chosen
        if self.path is None:
            return OutputFormat.TABLE
        try:
            return OutputFormat(self.path.suffix.removeprefix(".").lower())
        except ValueError:
            raise UsageError(
                f"--output {self.path}: the extension names no format; use .jsonl, .json, .csv, .parquet, .srt, .vtt "
                "or .ffmetadata, or give --format"
            ) from None

    def _check_extension(self, chosen: OutputFormat) -> None:
        suffix = "" if self.path is None or self.path.is_dir() else self.path.suffix.removeprefix(".").lower()
        if suffix != chosen.value and suffix in {form.value for form in OutputFormat}:
            raise UsageError(
                f"--output {self.path} and --format {chosen.value}: the extension names another format; "
                "leave --format out, or choose another extension"
            )


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What is made for a person to look at, beside the answers."""

    folder: Path | None = None
    video: bool = False
    report: Path | None = None

    def __post_init__(self) -> None:
        if self.video and self.folder is None:
            raise UsageError("--explain-video: give --explain DIR too, where it goes")
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"--report {self.report}: give a file that ends in .html")


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """All of it."""

    input: InputOptions
    model: ModelOptions
    output: OutputOptions
    explain: ExplainOptions

    def __post_init__(self) -> None:
        if self.output.cut is not None and not self.model.moments:
            raise UsageError("--cut: give --moments too, which finds what to cut")
        kept = {
            "--move-to": self.output.move_to,
            "--link-to": self.output.link_to,
            "--cut": self.output.cut,
            "--explain": self.explain.folder,
        }
        wants_file = next((option for option, value in kept.items() if value is not None), None)
        if self.input.allow_urls and wants_file:
            raise UsageError(f"{wants_file} and --allow-urls: what is fetched is not kept; download the videos first")


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _UNITS or not float(match[1]):
        raise UsageError(f"{option} {text}: not a length of time; examples are 10s, 500ms and 1.5m")
    return float(match[1]) * _UNITS[match[2]]
