"""``python -m doll_tools.phantom --output DIR --count N --seed S [--size 320] [--valid_share 0.2] [--quiet]``."""

from doll_monai.utils.errors import run_program
from doll_tools.phantom.dataset import write_dataset

if __name__ == "__main__":
    run_program(write_dataset)
