"""The command line: one module per command, which parses, calls and renders."""

from __future__ import annotations

import sys

import typer

from vidcomp import __version__
from vidcomp.cli import classify, compare, doctor, embed, evaluate, inspect, models, results, search, train, train_head
from vidcomp.cli.errors import OUTPUT_ERRORS, tell_lost_output
from vidcomp.cli.help import App
from vidcomp.cli.terminal import prepare_streams
from vidcomp.memory import tune_malloc

app = App(
    name="vidcomp",
    help="Name the action in videos, in one pass over each whole video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(classify.classify)
app.command()(results.results)
app.command()(embed.embed)
app.command()(search.search)
app.command()(inspect.inspect)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(doctor.doctor)
train.app.command("head")(train_head.train_head)
app.add_typer(train.app)
app.add_typer(models.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"vidcomp {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Name the action in videos, in one pass over each whole video."""


def main() -> None:
    """Run the command line; the process's exit code says how it went."""
    prepare_streams()
    tune_malloc()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OUTPUT_ERRORS as error:
        sys.exit(tell_lost_output(error))
