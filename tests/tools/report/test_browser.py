"""The page in a real browser: it loads without a network, the controls and the keys of the label browser work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import IMAGES, SIZE, add_comparison, make_run, write_many_images

from doll_tools.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
ORANGE, BLUE = (230, 159, 0), (86, 180, 233)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the small run, with a comparison, and an image without ground truth and maps among the others."""
    folder = tmp_path_factory.mktemp("browser")
    run = make_run(folder)
    add_comparison(run / "comparisons" / "lung", "lung")
    return write_report(run, folder / "report.html")


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Any]:
    """The open page; anything that it complains of, or wants from elsewhere, fails the test."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url))
    opened.goto(report.as_uri())
    opened.locator("#label-browser").scroll_into_view_if_needed()
    opened.wait_for_function("document.getElementById('facts').textContent !== ''")
    yield opened
    opened.close()
    assert complaints == []


def _facts(page: Any) -> str:
    return str(page.locator("#facts").inner_text())


def _pixels(page: Any, canvas: str) -> np.ndarray:
    """A canvas as (H, W, 3)."""
    script = """id => { const c = document.getElementById(id);
        return [c.width, c.height, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]; }"""
    width, height, values = page.evaluate(script, canvas)
    return np.array(values, dtype=np.uint8).reshape(height, width, 4)[..., :3]


def _near(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(pixels.astype(int) - color) < 12).all(axis=-1)


def _at(page: Any, position: str) -> None:
    page.wait_for_function(f"document.getElementById('position').textContent === '{position}'")


def _fade(page: Any, percent: int) -> None:
    """Set the opacity; keys then go to the page again."""
    page.locator("#opacity").fill(str(percent))
    page.locator("#opacity").evaluate("element => element.blur()")
    page.wait_for_timeout(200)


def test_the_worst_pair_comes_first_and_keys_and_buttons_step(page: Any) -> None:
    """The one image with ground truth comes first by IoU; by completeness the last image is the worst."""
    _at(page, "1 of 4")
    assert "label of Lung Opacity, its ground truth outlined" in page.locator("#overlay").get_attribute("aria-label")
    assert IMAGES[0] in _facts(page)
    assert "IoU with the ground truth 1.000" in _facts(page)
    page.select_option("#measure", "completeness")
    page.wait_for_function(f"document.getElementById('facts').textContent.includes('{IMAGES[3]}')")
    assert "completeness error 0.900" in _facts(page)
    page.locator("#measure").evaluate("element => element.blur()")
    for key, number in (("ArrowRight", 2), ("ArrowRight", 1), ("ArrowLeft", 2), ("End", 0), ("Home", 3)):
        page.keyboard.press(key)
        page.wait_for_function(f"document.getElementById('facts').textContent.includes('{IMAGES[number]}')")
    page.keyboard.press("ArrowLeft")  # there is nothing before the first
    _at(page, "1 of 4")
    for button, position in (("#next", "2 of 4"), ("#previous", "1 of 4")):
        page.click(button)
        _at(page, position)


def test_filters_choose_pairs(page: Any) -> None:
    page.check("#known")
    _at(page, "1 of 1")
    page.uncheck("#known")
    page.select_option("#measure", "agreement")
    page.locator("#kept").fill("50")
    _at(page, "1 of 2")
    assert "agreement 0.200 to 0.400" in page.locator("#kept-text").inner_text()
    assert page.locator("#observation option").all_inner_texts() == ["all", "Lung Opacity"]


def test_the_label_is_drawn_where_it_is_and_opacity_fades_it(page: Any) -> None:
    """Foreground of the small run: rows 8 to 19, columns 4 to 13 of 32."""
    page.uncheck("#truth")
    _fade(page, 100)
    drawn, plain = _pixels(page, "overlay"), _pixels(page, "plain")
    row, column = np.nonzero((drawn != plain).any(axis=-1))
    scale = drawn.shape[0] / SIZE
    place = [row.min(), row.max() + 1, column.min(), column.max() + 1]
    assert np.allclose(place, np.array([8, 20, 4, 14]) * scale, atol=2)
    assert _near(drawn, ORANGE).sum() > 100
    _fade(page, 0)
    assert (_pixels(page, "overlay") == plain).all()
    for key, text in (("+", "10 %"), ("-", "0 %")):
        page.keyboard.press(key)
        assert page.locator("#opacity-text").inner_text() == text


def test_the_truth_is_outlined_and_a_key_takes_it_away(page: Any) -> None:
    _fade(page, 0)
    assert _near(_pixels(page, "overlay"), BLUE).sum() > 100
    page.keyboard.press("t")
    page.wait_for_timeout(200)
    assert not _near(_pixels(page, "overlay"), BLUE).any()


def test_members_maps_can_be_chosen_where_they_are_kept(page: Any) -> None:
    """Of the second member's map the square is empty, of the first one all else."""
    names = page.locator("#sources").inner_text().split()
    assert names == ["label", "mean", "map", "resnet10", "densenet"]
    page.uncheck("#truth")
    _fade(page, 100)
    bright = []
    for key in ("3", "4"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        bright.append(_near(_pixels(page, "overlay"), (253, 231, 37)))
    square = np.s_[150:270, 90:180]
    assert bright[0][square].mean() > 0.9
    assert bright[1][square].mean() < 0.1
    assert bright[1].mean() > 0.5 > bright[0].mean()
    page.keyboard.press("End")
    page.wait_for_function(f"!document.getElementById('facts').textContent.includes('{IMAGES[0]}')")
    assert page.locator("input[name=source]").last.is_disabled()


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("wide", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light")]
)
def test_the_page_fits_and_a_picture_of_it_is_kept(
    chromium: Any, report: Path, name: str, width: int, scheme: str
) -> None:
    """The pictures go to the folder that REPORT_SCREENSHOTS names, where CI collects them."""
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(report.as_uri())
    page.wait_for_function("document.getElementById('facts').textContent !== ''")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    folder = Path(os.environ.get("REPORT_SCREENSHOTS") or report.parent)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"report_{name}.png", full_page=True)
    assert (folder / f"report_{name}.png").stat().st_size > 10_000
    page.close()


def test_on_paper_and_without_scripts_the_images_are_still_there(chromium: Any, page: Any, report: Path) -> None:
    page.emulate_media(media="print")
    plain = chromium.new_page(java_script_enabled=False)
    plain.goto(report.as_uri())
    for shown in (page, plain):
        assert not shown.locator("#label-browser").is_visible()
        assert shown.locator("img[alt^=Radiograph]").first.is_visible()
    assert plain.get_by_text("The browser needs JavaScript").count()
    plain.close()


def test_a_page_of_a_thousand_images_is_below_30_megabytes_and_works(chromium: Any, tmp_path: Path) -> None:
    """Images of 320 pixels with noise in them, two observations each, three members' maps, ground truth."""
    run = write_many_images(make_run(tmp_path), 1000)
    report = write_report(run, tmp_path / "report.html", images=1000)
    assert report.stat().st_size < 30e6
    page = chromium.new_page()
    page.goto(report.as_uri())
    _at(page, "1 of 2000")
    page.close()
