"""Size of a large HTML report, and how long Chromium takes to open it.

    python -m benchmarks.report_size FOLDER [--rows 1000]

FOLDER's videos are taken in turns until there are enough rows; their attention is made up, as dense as any can be.
Needs Playwright (pip install 'vidcomp[browser]') and a Chromium. Results go to benchmarks/results/report_size.json.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import sync_playwright

from benchmarks.harness import save
from vidcomp.attention import AttentionMap, summarize
from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.output.html import HtmlReport
from vidcomp.video import DecodeWorker, find_videos

_FRAMES = 200
_OPENINGS = 5


def record(path: str, frames: int, duration_s: float | None, generator: np.random.Generator) -> dict[str, object]:
    """A record with five labels and an attention map whose importance differs from frame to frame."""
    seconds = np.linspace(0, duration_s or 10.0, _FRAMES, endpoint=False)
    weights = generator.random((1, _FRAMES), np.float32) ** 4
    shares = np.sort(generator.dirichlet(np.ones(5)))[::-1].tolist()
    return {
        "path": path,
        "error": None,
        "labels": [{"label": f"an action of class {i}", "probability": share} for i, share in enumerate(shares)],
        "strategy": "whole",
        "frames": {"decoded": frames, "duration_s": duration_s},
        "attention": summarize(AttentionMap("sfc", weights, seconds), duration_s).as_dict(),
        "notes": [],
    }


def openings(page_path: Path, chromium: str) -> tuple[list[float], list[float]]:
    """Seconds from asking for the page until it is loaded, its script has run and a frame has been painted.

    The second list is what the page's main thread computed for it, which other programs do not lengthen.
    """
    seconds, computing = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(_OPENINGS):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            began = time.perf_counter()
            page.goto(page_path.as_uri())
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            seconds.append(time.perf_counter() - began)
            metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
            computing.append(metrics["TaskDuration"])
            page.close()
        browser.close()
    return seconds, computing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=1000)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no Chromium here")
    machine = describe_machine(torch.device("cpu"))
    generator = np.random.default_rng(0)
    paths = [video.path for video in find_videos([options.folder]).videos]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.html"
        with HtmlReport(target, "a large report") as report, DecodeWorker() as worker:
            infos = {path: worker.probe(path) for path in paths}
            for path in itertools.islice(itertools.cycle(paths), options.rows):
                info = infos[path]
                report.add(record(path, info.frame_count or 1, info.duration_s, generator), path)
        size = target.stat().st_size
        seconds, computing = openings(target, chromium)
    results = {
        "rows": options.rows,
        "megabytes": round(size / 1e6, 2),
        "open_s": {"median": round(statistics.median(seconds), 3), "all": [round(value, 3) for value in seconds]},
        "main_thread_cpu_s": {
            "median": round(statistics.median(computing), 3),
            "all": [round(value, 3) for value in computing],
        },
    }
    save("report_size", results, machine)


if __name__ == "__main__":
    main()
