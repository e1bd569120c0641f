"""How soon the network runs after `vidcomp classify` was typed, beside `python -c "import torch"`.

    python -m benchmarks.startup CLIP [--model NAME] [--rounds 5]

Both are started in turns; told are seconds of the clock and of this machine's processors until torch is imported, and
until the network is given the first frames. Results go to benchmarks/results/startup-MODEL.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from benchmarks.harness import save
from vidcomp import DEFAULT_MODEL
from vidcomp.evaluation.statistics import spread

TORCH = "import time, torch; print(time.time(), time.process_time())"
# The command as it is typed, ended where the network would run for the first time.
CLASSIFY = """
import os, sys, time
import vidcomp.cli
def stop(module):
    def encode(self, *given):
        print(time.time(), time.process_time(), flush=True)
        os._exit(0)
    module.Runner.encode = encode
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "vidcomp.inference.runner":
            sys.meta_path.remove(self)
            spec = __import__("importlib.util").util.find_spec(name)
            load = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (load(module), stop(module))
            return spec
sys.meta_path.insert(0, Watch())
sys.argv = ["vidcomp", "classify", *sys.argv[1:]]
vidcomp.cli.main()
"""


def seconds(code: str, *arguments: str) -> tuple[float, float]:
    """Of the clock and of the processors, from the start of a Python process to the line that it prints."""
    # Modules are compiled once, as in any installation.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    now, spent = map(float, done.stdout.splitlines()[-1].split())
    return now - began, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ways = {"import torch": (TORCH,), "vidcomp classify": (CLASSIFY, options.clip, "--model", options.model)}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, way in ways.items():
            measured = seconds(*way)
            if number:  # the first round fills the system's cache of files
                taken[name].append(measured)
    results = {}
    for name, values in taken.items():
        clock, processors = spread([value[0] for value in values]), spread([value[1] for value in values])
        assert clock is not None
        assert processors is not None
        results[name] = {"seconds": round(clock.median, 2), "processor_seconds": round(processors.median, 2)}
    first, second = results.values()
    ratios = {key: round(second[key] / first[key], 2) for key in first}
    save(f"startup-{options.model}", {"rounds": options.rounds, **results, "times_as_long": ratios})


if __name__ == "__main__":
    main()
