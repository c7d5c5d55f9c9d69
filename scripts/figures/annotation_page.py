"""Draw docs/annotate.png: the label app's page, on synthetic images, in Chromium.

Example, beside a running app that serves synthetic images (in the app's own environment):
    python scripts/figures/annotation_page.py --address http://127.0.0.1:8000 --output docs/annotate.png
"""

from __future__ import annotations

from chromium import open_page

from doll_monai.utils.errors import run_program


def draw(output: str, address: str = "http://127.0.0.1:8000") -> None:
    """Take a picture of the page with the first image's proposal.

    Args:
        output: PNG to write.
        address: of the app.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        page = open_page(playwright, viewport={"width": 1280, "height": 760})
        page.goto(f"{address}/annotate")
        page.wait_for_function("state.image !== null && state.busy === 0 && $('findings').children.length > 0")
        page.screenshot(path=output)


if __name__ == "__main__":
    run_program(draw)
