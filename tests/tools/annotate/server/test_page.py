"""The page in a real browser: draw, save, go on, take over a proposal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
DRAWN = "state.mask.reduce((sum, value) => sum + (value & 1), 0)"
GroundTruth = tuple[Path, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    """The open page; errors of its own fail the test that meets them."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.errors = []
        opened.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.on("dialog", lambda dialog: dialog.accept())
        opened.goto(f"{server.address}/annotate")
        opened.wait_for_function("state.image !== null && state.busy === 0")
        yield opened
        browser.close()


def _said(page: Any, words: str) -> None:
    """Wait for a message; the page had no error of its own until then."""
    page.wait_for_function(f"$('message').textContent.includes('{words}') && state.busy === 0")
    assert page.errors == []


def _point(page: Any, across: float, down: float) -> tuple[float, float]:
    """A place on the image by shares of its width and height."""
    box = page.locator("#stage").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def test_brush_eraser_undo_polygon_and_save(page: Any, server: Server, truth: GroundTruth) -> None:
    image = page.evaluate("state.image")
    height, width = truth[1][image].shape
    assert page.evaluate("[state.height, state.width]") == [height, width]
    assert "0 of 12 saved" in page.locator("#count").inner_text()
    page.mouse.move(*_point(page, 0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*_point(page, 0.3, 0.7), steps=5)
    page.mouse.up()
    drawn = page.evaluate(DRAWN)
    assert drawn > 0
    page.click("[data-tool=eraser]")
    page.mouse.click(*_point(page, 0.3, 0.5))
    assert page.evaluate(DRAWN) < drawn
    page.keyboard.press("Control+z")
    assert page.evaluate(DRAWN) == drawn
    page.click("#save")
    _said(page, "Saved.")
    stored = server.stored(image)
    assert stored.shape == (height, width)
    assert stored.dtype == np.uint8
    assert int((stored & 1).sum()) == drawn
    assert stored[height // 2, round(0.3 * width)] == 1
    page.keyboard.press("n")
    page.wait_for_function(f"state.image !== '{image}' && state.busy === 0")
    page.click("#clear")
    page.click("[data-tool=polygon]")
    for across, down in ((0.2, 0.2), (0.8, 0.2), (0.8, 0.6), (0.2, 0.6)):
        page.mouse.click(*_point(page, across, down))
    page.keyboard.press("Enter")
    page.click("#save")
    _said(page, "Saved.")
    assert abs(server.stored(page.evaluate("state.image")).mean() - 0.6 * 0.4) < 0.02
    assert page.locator("#count").inner_text() == "2 of 12 saved"


def test_proposal_is_shown_clicked_and_accepted(page: Any, server: Server, truth: GroundTruth, tmp_path: Path) -> None:
    for image in sorted(truth[1])[:9]:
        assert server.save(image, truth[1][image], classes=["lungs"]).status_code == 200
    assert server.train(iterations=150, members=2)["status"] == "DONE"
    page.evaluate("refresh()")
    image = server.ask("POST", "/activelearning/first", json={}).json()["id"]
    page.click(f"#images button[title='{image}']")
    page.wait_for_function(f"state.image === '{image}'")
    _said(page, "Proposed")
    assert page.evaluate("state.mask.some(Boolean)")
    page.wait_for_function("document.querySelectorAll('#findings li').length === 14")
    page.click("[data-tool=add]")
    page.mouse.click(*_point(page, 0.02, 0.02))
    _said(page, "Corrected.")
    height, width = truth[1][image].shape
    assert page.evaluate(f"state.mask[{int(0.02 * height)} * state.width + {int(0.02 * width)}]") & 1
    page.keyboard.press("Control+z")
    page.fill("#opacity", "60")
    page.screenshot(path=os.environ.get("DOLL_SCREENSHOT", str(tmp_path / "page.png")))
    page.click("#save")
    _said(page, "Saved.")
    assert server.stored(image).any()
    page.click("#findings li:first-child button")
    _said(page, "region")
    page.evaluate("attempt(() => open('no_such_image'))")
    _said(page, "There is no image no_such_image")


def test_pages_of_other_origins_get_nothing(server: Server) -> None:
    answer = server.ask("GET", "/doll/images", headers={"Origin": "http://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert server.ask("GET", "/doll/images", headers={"Host": "elsewhere.example"}).status_code == 400
