"""`--engine ray`: the commands on many actors, in one machine or in a cluster of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidcomp.cli.errors import OK, SOME_FAILED, Stopped, UsageError, stop_signals
from vidcomp.cli.options import ClassifyOptions, ModelOptions, PathsChoice, finite
from vidcomp.cli.terminal import batch_progress, run_summary, say, tell_prediction, warn
from vidcomp.files import absolute

if TYPE_CHECKING:
    from vidcomp.inference.classifier import Classifier
    from vidcomp.scale.actor import Loaded
    from vidcomp.scale.engine import Actors
    from vidcomp.scale.listing import ListedJob
    from vidcomp.video.worker.pool import DecodePool
    from vidcomp.zoo.build import LoadedModel
    from vidcomp.zoo.manifest import Manifest

_panel = partial(typer.Option, rich_help_panel="On many machines")
Engine = Annotated[
    str | None,
    _panel(
        "--engine",
        metavar="ray[=ADDRESS]",
        help="Share the videos out among actors in a Ray cluster: the one at ADDRESS (auto, HOST:PORT) or RAY_ADDRESS, "
        "else one that is started on this machine. --output is then a folder, or an s3:// or gs:// address.",
    ),
]
ActorCount = Annotated[
    str | None,
    _panel("--actors", metavar="MIN:MAX", help="How many actors; by default as many as there is room for."),
]
ActorCpus = Annotated[
    int | None, _panel("--actor-cpus", min=1, help="CPUs of each actor; by default 2, and on GPUs its share.")
]
ActorGpus = Annotated[
    float | None,
    _panel(
        "--actor-gpus",
        min=0.0,
        callback=finite,
        help="GPUs of each actor, such as 0.5; by default 1 where there are any.",
    ),
]

_ENGINE = re.compile(r"ray(?:=(.+))?")
_ACTORS = re.compile(r"(\d+)(?::(\d+))?")
_CPUS = 2


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where actors run, how many, and what each reserves."""

    engine: str | None
    actors: str | None = None
    cpus: int | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.engine is None:
            alone = {"--actors": self.actors, "--actor-cpus": self.cpus, "--actor-gpus": self.gpus}
            for option in (option for option, value in alone.items() if value is not None):
                raise UsageError(f"{option}: give --engine ray too")
            return
        if not _ENGINE.fullmatch(self.engine):
            raise UsageError(f"--engine {self.engine}: choose ray, or ray=ADDRESS (auto or HOST:PORT)")
        match = _ACTORS.fullmatch(self.actors or "1")
        if match is None or not int(match[1]) or (match[2] and int(match[2]) < int(match[1])):
            raise UsageError(f"--actors {self.actors}: not a number, or a range such as 2:16")

    def connect(self, device: str) -> Actors:
        """Join or start the cluster; what was not said follows from it.

        On GPUs, an actor has one, and its share of the node's CPUs.
        """
        from vidcomp.scale.engine import Actors, connect, nodes

        match = _ENGINE.fullmatch(self.engine or "")
        connect(match[1] if match else None)
        gpus, cpus = self.gpus, self.cpus
        with_gpu = [node for node in nodes() if node.get("GPU")]
        if gpus is None:
            gpus = 1.0 if device == "cuda" or (device == "auto" and with_gpu) else 0.0
        if cpus is None:
            shares = [node.get("CPU", 0.0) / node["GPU"] * gpus for node in with_gpu] if gpus else []
            cpus = max(1, int(min(shares))) if shares else min(_CPUS, max(int(node.get("CPU", 1)) for node in nodes()))
        least, most = None, None
        if self.actors is not None:
            first, _, last = self.actors.partition(":")
            least, most = int(first), int(last or first)
        return Actors(least=least, most=most, cpus=cpus, gpus=gpus)


def run(options: ClassifyOptions, engine: EngineOptions) -> int:
    """Label the videos with actors, into a folder of parts; returns the exit code.

    Raises:
        UsageError, SourceError, ZooError, OutputError, EngineError: it cannot be done as asked.
        Stopped: a signal ended it; what was published is kept.
    """
    _check(options)
    from vidcomp.inference.batch import RunStats
    from vidcomp.output.parquet import record_schema
    from vidcomp.scale.archive import label_archive
    from vidcomp.scale.listing import Listing
    from vidcomp.scale.parts import Parts
    from vidcomp.scale.stores import address_of

    given, output, quiet = options.input, options.output, options.output.quiet
    assert output.path is not None
    listing = Listing(
        given.paths,
        lists=given.lists,
        selection=given.selection(),
        stdin=sys.stdin.buffer,
        null=given.null,
        all_files=given.all_files,
        allow_urls=given.allow_urls,
        reserved=tuple(record_schema().names),
    )
    for note in listing.notes if not quiet else ():
        warn(note)
    stats = RunStats(listing.count())
    if not stats.total and given.shard is None:
        named = ", ".join((*given.paths, *given.lists))
        raise UsageError(f"no videos in {named}: name a file, or a folder that holds videos")
    with ExitStack() as stack:
        parts = stack.enter_context(
            Parts(
                address_of(str(output.path)),
                output.form.value,
                columns=listing.columns,
                share=given.shard or "",
                resume=output.resume,
                retry_errors=output.retry_errors,
                any_precision=options.model.precision == "auto",
            )
        )
        try:
            # Ray has its own idea of what a request to terminate does.
            actors = engine.connect(options.model.device)
            stack.enter_context(stop_signals())
            model = portable(options.model, actors.cpus)
            labeled = label_archive(
                _named(listing.jobs(), output.paths),
                parts,
                partial(_loaded, replace(options, model=model, output=replace(output, quiet=True))),
                stats,
                actors=actors,
                min_probability=output.min_probability,
                tell=partial(warn, prefix="note") if not quiet else lambda note: None,
            )
            with batch_progress(stats, quiet=quiet) as advance:
                for prediction in labeled:
                    tell_prediction(prediction, quiet=quiet)
                    advance()
        except Stopped as stopped:
            how = "interrupted" if str(stopped) == "SIGINT" else "terminated"
            warn(
                f"{how}: the videos labeled so far were written; run the same command again to continue", prefix="error"
            )
            raise
    if not quiet:
        say(run_summary(stats))
    return SOME_FAILED if stats.errors else OK


def portable(model: ModelOptions, cpus: int) -> ModelOptions:
    """The same in an actor, which may run in another folder and has so many cores to itself."""
    workers = model.decode_workers or default_workers(cpus)
    return replace(model, name=portable_name(model.name), only=model.labels(), only_file=None, decode_workers=workers)


def portable_name(model: str) -> str:
    """A model's name, or its manifest by an absolute path."""
    return absolute(model) if Path(model).is_file() else model


def default_workers(cpus: int) -> int:
    """Decoding processes of an actor with so many cores: as of a machine that has them."""
    return max(1, cpus // 2)


def on_cluster(options: ClassifyOptions, actors: Actors) -> Callable[..., Classifier]:
    """Makes a classifier like ``Classifier`` whose videos are labeled by actors, each with these options."""
    from vidcomp.cli.batch import load
    from vidcomp.scale.classifier import ClusterClassifier

    quiet = replace(options, model=portable(options.model, actors.cpus), output=replace(options.output, quiet=True))
    return partial(ClusterClassifier, load=partial(load, quiet), actors=actors, tell=partial(warn, prefix="note"))


def evaluating(actors: Actors) -> Callable[..., Classifier]:
    """The same for a classifier that is given its model, and options, later."""
    from vidcomp.scale.classifier import ClusterClassifier

    def make(
        model: LoadedModel, *, decode_workers: int | None, pool: DecodePool | None = None, **options: Any
    ) -> ClusterClassifier:
        # Processes that decode here are of no use there.
        there = {**options, "decode_workers": decode_workers or default_workers(actors.cpus)}
        load = partial(_of_manifest, model.manifest, there)
        tell = partial(warn, prefix="note")
        return ClusterClassifier(model, load=load, actors=actors, tell=tell, pool=pool, **options)

    return make


def _of_manifest(manifest: Manifest, options: dict[str, Any]) -> Classifier:
    from vidcomp.inference.classifier import Classifier
    from vidcomp.zoo.build import load_variant

    return Classifier(load_variant(manifest), **options)


def _check(options: ClassifyOptions) -> None:
    """Refuse what many actors cannot do."""
    output, explain = options.output, options.explain
    if output.path is None:
        raise UsageError("--engine ray: give --output too, a folder (or s3://…) for the parts of the results")
    if output.path.is_file():
        raise UsageError(f"--output {output.path}: --engine ray writes a folder of parts; name a folder")
    unfit = {
        "--move-to": output.move_to,
        "--link-to": output.link_to,
        "--cut": output.cut,
        "--explain": explain.folder,
        "--report": explain.report,
    }
    for option in (option for option, value in unfit.items() if value is not None):
        raise UsageError(f"{option}: not with --engine ray; run it on the videos that matter, without --engine")


def _named(jobs: Iterator[ListedJob], paths: PathsChoice) -> Iterator[ListedJob]:
    from vidcomp.output.run import identity

    if paths is PathsChoice.RELATIVE:
        return jobs
    return (replace(job, name=identity(job.root, job.name), root=None) for job in jobs)


@contextmanager
def _loaded(options: ClassifyOptions) -> Iterator[Loaded]:
    """In an actor: the classifier, and what makes its records."""
    from vidcomp.cli.batch import load, run_of
    from vidcomp.scale.actor import Loaded
    from vidcomp.scale.archive import Recorder
    from vidcomp.scale.stores import Scratch

    with load(options, downloads=Scratch(web=options.input.allow_urls)) as classifier:
        recorder = Recorder.of(classifier, str(run_of(classifier, options.output)), options.output.top_k)
        yield Loaded(classifier, recorder, recorder)
