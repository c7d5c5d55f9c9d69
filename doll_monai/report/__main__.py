"""``python -m doll_monai.report --run DIR [--output report.html]``."""

from doll_monai.errors import run_program
from doll_monai.report.page import write_report


def report(run: str, output: str = "report.html") -> None:
    """Write the page of a pipeline's run, one HTML file that needs nothing beside it.

    Args:
        run: folder that scripts/run_pipeline.py wrote.
        output: the HTML file, or a folder for report.html.
    """
    print(write_report(str(run), str(output)))


if __name__ == "__main__":
    run_program(report)
