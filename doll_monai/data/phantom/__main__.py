"""``python -m doll_monai.data.phantom --output DIR --count N --seed S [--size 320] [--valid_share 0.2] [--quiet]``."""

from doll_monai.data.phantom.dataset import write_dataset
from doll_monai.errors import run_program

if __name__ == "__main__":
    run_program(write_dataset)
