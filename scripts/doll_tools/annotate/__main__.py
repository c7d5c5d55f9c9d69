"""``python -m doll_tools.annotate STUDIES``: start the app."""

from doll_monai.utils.errors import run_program
from doll_tools.annotate.start import start

if __name__ == "__main__":
    run_program(start)
