"""``python -m doll_tools.report --run DIR [--output report.html] [--comparisons DIR]``."""

from functools import partial

from doll_monai.utils.errors import InputError, run_program
from doll_monai.utils.progress import Bar
from doll_tools.report.browser import FILMS
from doll_tools.report.page import write_report


def report(
    run: str, output: str = "report.html", comparisons: str | None = None, films: int = FILMS, quiet: bool = False
) -> None:
    """Write the page of a pipeline's run, one HTML file that needs nothing beside it.

    Args:
        run: folder that scripts/run_pipeline.py wrote.
        output: the HTML file, or a folder for report.html.
        comparisons: output of scripts/compare_initialisations.py, or a folder of such outputs; by default those in the
            run's own folder comparisons.
        films: films in the label browser, at most; a thousand make a page of about 26 MB.
        quiet: show no progress.
    """
    if not isinstance(films, int) or isinstance(films, bool) or films < 0:
        raise InputError(f"films must be a whole number, not {films}.")
    progress = partial(Bar, name="films of the page", quiet=quiet)
    print(write_report(str(run), str(output), None if comparisons is None else str(comparisons), films, progress))


if __name__ == "__main__":
    run_program(report)
