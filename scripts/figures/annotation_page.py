"""Draw docs/annotate.png: the label app's page, on synthetic films, in Chromium.

Example, beside a running app that serves synthetic films (in the app's own environment):
    python scripts/figures/annotation_page.py --address http://127.0.0.1:8000 --output docs/annotate.png
"""

from __future__ import annotations

import shutil

from doll_monai.errors import InputError, run_program

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def draw(output: str, address: str = "http://127.0.0.1:8000") -> None:
    """Take a picture of the page with the first film's proposal.

    Args:
        output: PNG to write.
        address: of the app.
    """
    from playwright.sync_api import sync_playwright

    browser = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if browser is None:
        raise InputError("There is no Chromium here; install it (Debian: chromium).")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"]).new_page(
            viewport={"width": 1280, "height": 760}
        )
        page.goto(f"{address}/annotate")
        page.wait_for_function("state.image !== null && state.busy === 0 && $('findings').children.length > 0")
        page.screenshot(path=output)


if __name__ == "__main__":
    run_program(draw)
