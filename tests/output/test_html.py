"""The report's page: what is in it, and how it behaves in a real browser, by keyboard, and without scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import clips
from vidcomp.output.html import HtmlReport
from vidcomp.output.run import OutputError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def record(name: str, label: str = "", probability: float = 0.0, error: str = "") -> dict[str, Any]:
    attention = {
        "compressor": "sfc",
        "times_s": [0.0, 1.0, 2.0],
        "importance": [0.0, 3.0, 0.0],
        "attended": [{"start_s": 0.5, "end_s": 1.5, "mass": 1.0, "peak_s": 1.0}],
        "effective_frames": 1.0,
    }
    return {
        "path": name,
        "error": {"kind": error, "message": f"{name}: <b>no</b> video"} if error else None,
        "labels": [{"label": label, "probability": probability}] if label else [],
        "strategy": "whole",
        "frames": {"decoded": 0 if error else 60, "duration_s": None if error else 2.4},
        "attention": None if error else attention,
        "notes": ["a remark & more"] if label == "run" else [],
    }


@pytest.fixture(scope="module")
def page_path(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    with HtmlReport(path, "videos <script>alert(1)</script>") as report:
        report.add(record("v10.mp4", "jump", 0.5), str(clip))
        report.add(record("v2.mp4", "run", 0.9), str(clip))
        report.add(record("<img src=x onerror=alert(2)>.mp4", error="not_video"), "nowhere")
        report.add(record("gone\udcff.mp4", "jump", 0.7), str(path.parent / "nowhere.mp4"))
    return path


def test_what_files_say_is_text_and_nothing_comes_from_outside(page_path: Path) -> None:
    page = page_path.read_text("utf-8")
    assert page.count("<script>") == 1
    assert "<img src=x" not in page
    assert "<b>no" not in page
    assert "gone\\udcff.mp4" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count("could not be decoded again") == 1
    assert "a remark &amp; more" in page


def test_a_row_is_small_whatever_the_video_shows(tmp_path: Path) -> None:
    """A thousand rows in 30 MB: 30 kB each, here with sharp tiles that differ from frame to frame."""
    video = clips.make_clip(tmp_path / "x.mp4", 200, size=(320, 240))
    with HtmlReport(tmp_path / "r.html", "t") as report:
        report.add({**record("x.mp4", "jump", 0.5), "frames": {"decoded": 200, "duration_s": 8.0}}, str(video))
    row = (tmp_path / "r.html").read_text("utf-8").partition("<ul")[2].partition("</ul>")[0]
    assert 2_000 < len(row.encode()) < 30_000


def test_an_older_page_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")

    def interrupted() -> None:
        with HtmlReport(path, "t") as report:
            report.add(record("x.mp4", error="empty"), "nowhere")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text("utf-8").endswith("</html>\n")
    assert "x.mp4" in path.read_text("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "r.html"):
        with pytest.raises(OutputError, match=r"--report .*cannot be written"):
            HtmlReport(path, "t")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'vidcomp[browser]'")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, page_path: Path) -> Iterator[Any]:
    """The page, opened; what its script complains of, and what it asks of a network, fails the test."""
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: wrong.append(dialog.message))
    opened.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    opened.goto(page_path.as_uri())
    yield opened
    opened.close()
    assert wrong == []


NAMES = ["v10.mp4", "v2.mp4", "<img src=x onerror=alert(2)>.mp4", "gone\\udcff.mp4"]


def shown(page: Any) -> list[str]:
    # Not the inner texts: those of rows that are not drawn yet are empty.
    return [name.strip() for name in page.locator("#videos > li:visible h2").all_text_contents()]


def test_it_shows_all_videos_with_frames_and_attention(page: Any) -> None:
    assert shown(page) == NAMES
    assert page.get_by_role("status").inner_text() == "4 of 4 videos shown, 1 failed in all"
    assert page.locator("#videos img").evaluate_all("all => all.every(one => one.naturalWidth === 8 * 86)")
    timeline = page.get_by_role("img", name="Attention over time: 0:00.5–0:01.5 100%").first
    strip = page.locator("#videos img").first
    assert timeline.bounding_box()["width"] == pytest.approx(strip.bounding_box()["width"])


def test_filters(page: Any) -> None:
    page.get_by_label("Name contains").fill("V2")
    page.locator("#videos > li:visible").nth(1).wait_for(state="detached")
    assert shown(page) == ["v2.mp4"]
    assert page.get_by_role("status").inner_text().startswith("1 of 4")
    page.get_by_label("Name contains").fill("")
    page.locator("#videos > li:visible").nth(3).wait_for()
    page.get_by_label("Label", exact=True).select_option("jump")
    assert shown(page) == ["v10.mp4", "gone\\udcff.mp4"]
    page.get_by_label("Label", exact=True).select_option("")
    page.get_by_label("Show").select_option("failed")
    assert shown(page) == [NAMES[2]]


def test_the_slider_hides_what_is_less_probable_and_labels_have_counts(page: Any) -> None:
    assert page.locator("#label option").all_text_contents()[1] == "jump (2)"
    page.get_by_role("slider").fill("80")
    assert "of 4" in page.get_by_role("status").inner_text()
    for row in page.locator("#videos > li:visible").all():
        assert float(row.get_attribute("data-probability")) >= 0.8
    page.get_by_role("slider").fill("0")
    assert len(shown(page)) == 4


def test_what_is_shown_is_exported(page: Any) -> None:
    page.get_by_label("Label", exact=True).select_option("jump")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export what is shown").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["name", '"v10.mp4"', '"gone\\udcff.mp4"']


def test_sorting_puts_what_is_unknown_last(page: Any) -> None:
    page.get_by_label("Sort by").select_option("probability")
    assert shown(page) == [NAMES[0], NAMES[3], NAMES[1], NAMES[2]]
    page.get_by_role("button", name="Descending").click()
    assert shown(page) == [NAMES[1], NAMES[3], NAMES[0], NAMES[2]]
    page.get_by_label("Sort by").select_option("name")
    assert shown(page)[:2] == ["v10.mp4", "v2.mp4"]  # by number, largest first


def test_the_keyboard_reaches_and_works_everything(page: Any) -> None:
    focused = "document.activeElement.id || document.activeElement.className"
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    assert reached == ["skip", "search", "label", "outcome", "least", "order", "direction", "export"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert page.get_by_role("button", name="Descending", pressed=True).count() == 1
    assert shown(page) == NAMES[::-1]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Sort by").input_value() == "name"
    page.get_by_text("Skip to the videos").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "videos"


def test_a_screen_reader_finds_its_way(page: Any) -> None:
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("heading", level=2).count() == 4
    assert page.get_by_role("search", name="Filter and sort the videos").count() == 1
    assert page.get_by_role("list", name="Videos").count() == 1
    assert page.get_by_role("searchbox", name="Name contains", exact=True).count() == 1
    for name in ("Label", "Show", "Sort by"):
        assert page.get_by_role("combobox", name=name, exact=True).count() == 1
    assert page.locator("img:not([alt]), svg:not([aria-label])").count() == 0


def test_on_a_phone_nothing_runs_over_the_edge(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_without_scripts_it_is_a_plain_list(browser: Any, page_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_path.as_uri())
    assert page.locator("#videos > li").count() == 4
    assert page.locator("#videos > li").first.is_visible()
    assert not page.locator("#controls").is_visible()
    context.close()
