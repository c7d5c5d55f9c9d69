"""``python -m doll_monai.label_app STUDIES``: start the app."""

from doll_monai.errors import run_program

from .start import start

if __name__ == "__main__":
    run_program(start)
