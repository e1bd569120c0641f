"""`vidcomp embed`: what the model sees in videos, as a table of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcomp import DEFAULT_MODEL
from vidcomp.cli import options as opt
from vidcomp.cli.errors import UsageError, reported
from vidcomp.cli.options import how, where
from vidcomp.cli.scale import ActorCount, ActorCpus, ActorGpus, Engine, EngineOptions, on_cluster

if TYPE_CHECKING:
    from vidcomp.inference.batch import Sink
    from vidcomp.inference.classifier import Classifier


def embed(
    paths: Annotated[list[str] | None, opt.PATHS] = None,
    output: Annotated[
        Path,
        where(
            "--output",
            "-o",
            help="The table to write, .parquet or .npz. The next run skips what is done.",
            show_default=False,
        ),
    ] = Path(),
    files_from: opt.FilesFrom = None,
    include: opt.Include = None,
    exclude: opt.Exclude = None,
    limit: opt.Limit = None,
    model: opt.Model = DEFAULT_MODEL,
    strategy: opt.Strategy = None,
    every: Annotated[
        str | None,
        how("--every", metavar="TIME", help="Write a row per window; windows start this far apart, such as 4s."),
    ] = None,
    window: opt.Window = None,
    device: opt.Device = opt.DeviceChoice.AUTO,
    precision: opt.Precision = opt.PrecisionChoice.AUTO,
    decode_workers: opt.DecodeWorkers = None,
    max_damage: opt.MaxDamage = 50.0,
    decoder: opt.Decoder = opt.DecoderChoice.AUTO,
    resume: opt.Resume = True,
    retry_errors: opt.RetryErrors = False,
    paths_as: opt.PathsAs = opt.PathsChoice.RELATIVE,
    engine: Engine = None,
    actors: ActorCount = None,
    actor_cpus: ActorCpus = None,
    actor_gpus: ActorGpus = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Write a vector per video, or per window: the input of the model's last layer, averaged over time.

    Similar videos have similar vectors; `vidcomp search` finds them, and so does any vector database. Videos that
    cannot be read have a row with their error and no vector. Exit codes are those of `vidcomp classify`.
    """
    with reported(debug=debug):
        on = EngineOptions(engine=engine, actors=actors, cpus=actor_cpus, gpus=actor_gpus)
        if output == Path():
            raise UsageError("--output FILE: say where the table goes, such as --output features.parquet")
        if output.suffix.lower() not in (".parquet", ".npz"):
            raise UsageError(f"--output {output}: a table of features ends in .parquet or .npz; choose one of these")
        options = opt.ClassifyOptions(
            input=opt.InputOptions(
                paths=tuple(paths or ()),
                lists=tuple(files_from or ()),
                include=tuple(include or ()),
                exclude=tuple(exclude or ()),
                limit=limit,
            ),
            model=opt.ModelOptions(
                name=model,
                strategy=strategy,
                every=every,
                window=window,
                device=device.value,
                precision=precision.value,
                decode_workers=decode_workers,
                max_damage=max_damage / 100,
                decoder=decoder.value,
            ),
            output=opt.OutputOptions(
                path=output,
                chosen=opt.OutputFormat.PARQUET,
                resume=resume,
                retry_errors=retry_errors,
                paths=paths_as,
                quiet=quiet,
                debug=debug,
            ),
            explain=opt.ExplainOptions(),
        )
        from vidcomp.cli.batch import run
        from vidcomp.inference.classifier import Classifier

        make = Classifier if engine is None else on_cluster(options, on.connect(device.value))
        if code := run(options, to=_table, make=make):
            raise typer.Exit(code)


@contextmanager
def _table(options: opt.ClassifyOptions, classifier: Classifier) -> Iterator[Sink]:
    """The table as where predictions go, which have features as long as it is open."""
    from vidcomp.cli.batch import run_of
    from vidcomp.output.features import FeaturesFile

    output = options.output
    assert output.path is not None
    with (
        classifier.noting_features(),
        FeaturesFile(
            output.path,
            run=run_of(classifier, output),
            any_precision=options.model.precision == "auto",
            resume=output.resume,
            retry_errors=output.retry_errors,
        ) as table,
    ):
        yield table
