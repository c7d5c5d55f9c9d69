"""``python -m doll_tools.pretraining_gain --films DIR --output DIR --quality 0.5 [--seed 0] [--quiet]``."""

from doll_monai.utils.errors import run_program
from doll_tools.pretraining_gain.labels import write_label_folder

if __name__ == "__main__":
    run_program(write_label_folder)
