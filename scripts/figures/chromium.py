"""A headless Chromium for pictures of pages."""

from __future__ import annotations

import shutil
from typing import Any

from doll_monai.utils.errors import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def open_page(playwright: Any, **options: Any) -> Any:
    """A new page of the installed Chromium.

    Args:
        playwright: what ``playwright.sync_api.sync_playwright`` gives.
        options: of the page, such as ``viewport``.

    Raises:
        InputError: when there is no Chromium.
    """
    browser = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if browser is None:
        raise InputError("There is no Chromium here; install it (Debian: chromium).")
    return playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"]).new_page(
        **options
    )
