"""`vidcomp doctor`: what is installed here, and whether labeling works; the first thing that a bug report needs."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from vidcomp import __version__
from vidcomp.cli.errors import SOME_FAILED, reported
from vidcomp.cli.options import Debug

_PACKAGES = ("torch", "torchvision", "av", "decord2", "numpy", "safetensors", "pyarrow", "matplotlib", "pandas", "ray")
_MODEL = "ucf16-lite0"


def doctor(
    check: Annotated[bool, typer.Option("--check/--no-check", help="Label a small generated video too.")] = True,
    debug: Debug = False,
) -> None:
    """Show versions, device, decoders and folders, and label a generated video. Paste all of it into a bug report.

    The exit code is 0 if labeling works, 1 if it does not.
    """
    with reported(debug=debug):
        from vidcomp.output.terminal import console_of, print_facts

        print_facts(console_of(sys.stdout), _facts())
        if check:
            problem = _problem()
            print(f"labeling: {problem or 'works'}")
            if problem:
                raise typer.Exit(SOME_FAILED)


def _facts() -> list[tuple[str, str]]:
    import psutil
    import torch

    from vidcomp.zoo.downloads import cache_folder
    from vidcomp.zoo.manifest import models_folder

    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    memory = psutil.virtual_memory()
    return [
        ("vidcomp", f"{__version__} in {Path(__file__).parents[1]}"),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", f"{platform.platform()}, {psutil.cpu_count()} CPUs, torch uses {torch.get_num_threads()}"),
        ("memory", f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}"),
        ("GPUs", ", ".join(devices) or "none that torch can use"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
        ("decord", "can be imported" if importlib.util.find_spec("decord") else "missing: PyAV reads everything"),
        ("ffmpeg", shutil.which("ffmpeg") or "not installed (not needed)"),
        ("models", str(models_folder())),
        ("downloads", str(cache_folder())),
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _problem() -> str | None:
    """What stands in the way of labeling a generated video; None if it works."""
    import vidcomp
    from vidcomp.evaluation.benchmark import make_video

    with tempfile.TemporaryDirectory() as folder:
        path = make_video(Path(folder) / "generated.mp4", 32)
        with vidcomp.load(_MODEL) as classifier:
            prediction = classifier(str(path))
    return prediction.error.message if prediction.error else None
