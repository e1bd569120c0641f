"""What attention costs: making the map instead of leaving it inside fused attention, and summing it up.

    python -m benchmarks.attention_cost VIDEO [--model ucf16-lite0] [--rounds 9]

Processor time of this process, in which decoding has no part, so that other programs on the machine do not count.
Results go to benchmarks/results/attention_cost.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.harness import save
from vidcomp.attention import summarize
from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import attention_map
from vidcomp.memory import tune_malloc
from vidcomp.video import decode
from vidcomp.zoo.build import load_model


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--model", default="ucf16-lite0")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    machine = describe_machine(torch.device("cpu"))
    runner = Runner(load_model(options.model).network, torch.device("cpu"))
    with decode(options.video, runner.decoding) as reader:
        chunks = list(reader.chunks())
        end_s = reader.info.start_s + reader.report.duration_s
    with torch.inference_mode():
        features = runner.network.encode(runner.tensor(part.pixels) for part in chunks)
        output = runner.network.finish(features, need_attention=True)

        def summary() -> object:
            seconds, indices = (
                torch.cat([torch.from_numpy(getattr(part, name)) for part in chunks]).numpy()
                for name in ("seconds", "indices")
            )
            found = attention_map(runner.network, output, seconds, indices)
            assert found is not None
            return summarize(found, end_s).as_dict()

        works: dict[str, Callable[[], object]] = {
            "inference": lambda: runner.whole(part.pixels for part in chunks),
            "after_head_with_map": lambda: runner.network.finish(features, need_attention=True),
            "after_head_without_map": lambda: runner.network.finish(features),
            "summary": summary,
        }
        rounds = [{name: milliseconds(work) for name, work in works.items()} for _ in range(options.rounds)]
    results = {
        "model": options.model,
        "frames": int(sum(len(part) for part in chunks)),
        "cpu_ms": {name: round(statistics.median(one[name] for one in rounds), 3) for name in works},
        "summary_share": round(statistics.median(one["summary"] / one["inference"] for one in rounds), 6),
    }
    save("attention_cost", results, machine)


if __name__ == "__main__":
    main()
