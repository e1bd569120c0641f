"""Videos a second of whole, SFC, SGS and dense views, by backbone; the model alone, and from the file.

    python -m benchmarks.throughput                                            # the embedded model: a minute or two
    python -m benchmarks.throughput --model slow_r50_8x8-sfc --rows dense30 sfc --rounds 1    # four minutes or so
    python -m benchmarks.throughput --model tpn_r50_8x8-sfc r2plus1d_18-sfc --rows dense3 sfc

Rows are measured as `vidcomp compare` measures them, in turns, on a generated video of 288 frames. Results go to
benchmarks/results/throughput-MODEL.json, a picture to docs/throughput-MODEL.png with --plot (needs matplotlib).
"""

from __future__ import annotations

import argparse

from benchmarks.harness import DOCS, save
from vidcomp.evaluation import compare
from vidcomp.memory import tune_malloc
from vidcomp.output.plots import comparison_picture


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["ucf16-lite0"])
    parser.add_argument("--rows", nargs="+", default=["dense30", "whole", "sfc"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=240, help="no round is begun that would end later")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    for model in options.model:
        measured = compare(
            model,
            strategies=options.rows,
            rounds=options.rounds,
            seconds=options.seconds,
            device=options.device,
            random_weights=True,
        )
        results = measured.as_dict()
        save(f"throughput-{model}", {key: results[key] for key in results if key != "machine"}, measured.machine)
        if options.plot:
            (DOCS / f"throughput-{model}.png").write_bytes(comparison_picture(measured))


if __name__ == "__main__":
    main()
