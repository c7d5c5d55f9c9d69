"""Draw docs/report.png: the label browser of a run's page, in Chromium, at the pair with the median IoU.

Example, after make demo:
    python scripts/figures/report_page.py --report output/demo/report.html --output docs/report.png
"""

from __future__ import annotations

from pathlib import Path

from chromium import open_page

from doll_monai.utils.errors import InputError, run_program


def draw(output: str, report: str = "output/demo/report.html", width: int = 1100) -> None:
    """Take a picture of the label browser.

    Args:
        output: PNG to write.
        report: the page of a run with known places.
        width: of the window, in pixels.
    """
    from playwright.sync_api import sync_playwright

    page_file = Path(report).resolve()
    if not page_file.is_file():
        raise InputError(f"{report} does not exist; run make demo, or give --report the page of a run.")
    with sync_playwright() as playwright:
        page = open_page(playwright, viewport={"width": width, "height": 800})
        page.goto(page_file.as_uri())
        if not page.locator("#known").count():
            raise InputError(f"{report} has no label with a known place.")
        page.check("#known")
        page.locator("#known").evaluate("element => element.blur()")
        page.locator("#label-browser").scroll_into_view_if_needed()
        for _ in range(int(page.locator("#position").inner_text().split()[-1]) // 2):
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(1000)
        page.locator("#label-browser").screenshot(path=output)


if __name__ == "__main__":
    run_program(draw)
