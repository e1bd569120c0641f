"""The notebooks in examples/ run from the first cell to the last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import clips

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_in_their_order(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("videos/a", "videos/b", *(f"labeled/{c}/{n}" for c in "xy" for n in range(4)))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        clips.make_clip(tmp_path / f"{name}.mp4", 24, size=(96, 64), first=30 * number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    names: dict[str, object] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 5
