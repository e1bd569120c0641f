"""The command line's front door: quick to answer, and clear about wrong usage."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from vidcomp.cli import app
from vidcomp.cli.options import complete_strategies


def vidcomp(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from vidcomp.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_the_commands_and_loads_neither_torch_nor_a_decoder() -> None:
    code = (
        "import sys\nfrom vidcomp.cli import main\nsys.argv = ['vidcomp', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'torchvision', 'decord', 'av', 'numpy', 'pydantic', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for command in ("classify", "compare", "evaluate", "models", "train"):
        assert command in run.stdout


def test_version() -> None:
    import vidcomp as package

    assert vidcomp("--version").stdout == f"vidcomp {package.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("classify --model ucf16-lite0-sgs", {"ucf16-lite0-sgs", "ucf16-lite0-sgs-sfc"}),
        ("train --model ucf16-lite0-sgs-", {"ucf16-lite0-sgs-sfc"}),
        ("train head --model ucf16-lite0-sgs-", {"ucf16-lite0-sgs-sfc"}),
        ("models show ucf16-lite0-sgs-", {"ucf16-lite0-sgs-sfc"}),
        ("evaluate --strategy dense", {"dense30", "dense10x1"}),
        ("compare --strategy sgs", {"sgs", "sgs+sfc"}),
        ("classify --decoder p", {"pyav"}),
        ("ev", {"evaluate"}),
    ],
)
def test_shells_complete_names_of_models_and_strategies(typed: str, meant: set[str]) -> None:
    words = ["vidcomp", *typed.split()]
    asked = {
        "_VIDCOMP_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    completed = CliRunner().invoke(app, [], env=asked, prog_name="vidcomp")
    assert completed.exit_code == 0, completed.output
    assert set(completed.output.split()) == meant


def test_every_example_that_a_shell_offers_is_a_strategy() -> None:
    from vidcomp.inference.grammar import parse_strategy

    assert all(parse_strategy(name).strategy is not None for name in complete_strategies())


def test_wrong_usage_is_exit_code_2() -> None:
    run = vidcomp("classify")
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    for arguments in (["nothing"], ["classify", "x.mp4", "--top-k", "0"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.stderr
        assert "Traceback" not in result.stderr


def numbers(group: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each option that takes a number with a point, behind the words of its command."""
    for part in group.registered_groups:
        assert part.typer_instance is not None
        yield from numbers(part.typer_instance, (*words, str(part.typer_instance.info.name)))
    for command in group.registered_commands:
        assert command.callback is not None
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            if get_origin(hint) is Annotated and "float" in str(get_args(hint)[0]):
                option = next(iter(get_args(hint)[1].param_decls or ()), "--" + name.replace("_", "-"))
                yield (*words, str(command.name or command.callback.__name__), option)


NUMBERS = list(numbers(app))


def test_there_are_options_that_take_numbers() -> None:
    assert {("classify", "--tau"), ("compare", "--tau"), ("train", "head", "--cache-gb")} <= set(NUMBERS)


@pytest.mark.parametrize("words", NUMBERS, ids=" ".join)
def test_what_is_no_number_or_infinite_is_refused(words: tuple[str, ...]) -> None:
    for value in ("nan", "inf"):
        result = CliRunner().invoke(app, [*words, value, "."])
        assert result.exit_code == 2
        assert f"Invalid value for '{words[-1]}'" in result.stderr


@pytest.mark.parametrize("command", ["classify", "evaluate", "compare", "embed"])
def test_a_model_is_chosen_by_the_same_option_everywhere(command: str) -> None:
    """Its short form and the environment's variable, which scripts set once for all commands."""
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    (line,) = [line for line in text.splitlines() if "--model " in line]
    assert "-m " in line
    assert "VIDCOMP_MODEL" in line


def helps(command: Any, name: str = "vidcomp") -> Iterator[tuple[str, str]]:
    """The help of a command and of those below it, by name."""
    yield name, CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"COLUMNS": "200"}).stdout
    for child, below in getattr(command, "commands", {}).items():
        yield from helps(below, f"{name} {child}")


def test_help_names_values_in_words_and_fills_its_lines() -> None:
    shown = dict(helps(typer.main.get_command(app)))
    assert len(shown) > 20
    for name, text in shown.items():
        assert not re.search(r"<(bool|int|float|str|list)\b", text), name
    assert "--limit" in shown["vidcomp classify"]
    assert re.search(r"--limit +N ", shown["vidcomp classify"])
    # The docstring's line ends here, and the paragraph goes on.
    assert "The exit code is 0 if every video was labeled" in " ".join(shown["vidcomp classify"].split())
    assert "The exit code is 0\n" not in re.sub(r" +\n", "\n", shown["vidcomp classify"])
