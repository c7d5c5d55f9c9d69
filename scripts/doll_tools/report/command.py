"""``doll report``: the page of a run."""

from functools import partial
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.report.browser import IMAGES
from doll_tools.report.page import write_report


def report(
    run: str, output: str = "report.html", comparisons: str | None = None, images: int = IMAGES, quiet: bool = False
) -> None:
    """Write the page of a pipeline's run, one HTML file that needs nothing beside it.

    Args:
        run: folder that doll run wrote.
        output: the HTML file, or a folder for report.html.
        comparisons: output of doll compare, or a folder of such outputs; by default those in the run's own folder
            comparisons.
        images: images in the label browser, at most; a thousand make a page of about 26 MB.
        quiet: show no progress.
    """
    if not isinstance(images, int) or isinstance(images, bool) or images < 0:
        raise InputError(f"images must be a whole number, not {images}.")
    progress = partial(Bar, name="images of the page", quiet=quiet)
    print(write_report(str(run), str(output), None if comparisons is None else Path(comparisons), images, progress))
