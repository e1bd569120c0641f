"""The path of a video is told from the command line to the record, in order."""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks.path_of_a_video import path_of, trace
from tests.tiny_model import make_tiny_model
from vidcomp.files import printable
from vidcomp.video import Selection


def test_functions_are_told_once_in_their_order_and_in_all_threads() -> None:
    def run() -> None:
        thread = threading.Thread(target=lambda: printable("a"))
        thread.start()
        thread.join()
        Selection(stride=2)
        printable("b")

    passed = trace(run)
    assert list(passed) == ["vidcomp/files.py", "vidcomp/video/sampling.py"]
    assert passed["vidcomp/files.py"].count("printable") == 1
    assert "Selection.__post_init__" in passed["vidcomp/video/sampling.py"]


def test_a_classification_passes_from_its_options_to_its_record(clip: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path)
    passed = path_of(str(clip), ["--model", str(model), "--device", "cpu", "--quiet"])
    steps = [
        "vidcomp/cli/classify.py",
        "vidcomp/zoo/build.py",
        "vidcomp/inference/classifier.py",
        "vidcomp/inference/runner.py",
    ]
    places = [next(n for n, file in enumerate(passed) if file.startswith(step)) for step in steps]
    assert places == sorted(places)
    assert "Classifier.batches" in passed["vidcomp/inference/classifier.py"]
    assert "PrefetchedReader.fill" in passed["vidcomp/video/worker/prefetch.py"]
    assert any(file.startswith("vidcomp/output/") for file in passed)
