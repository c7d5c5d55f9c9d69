"""``python -m doll_monai.pretraining_gain --films DIR --output DIR --quality 0.5 [--seed 0] [--quiet]``."""

from doll_monai.errors import run_program
from doll_monai.pretraining_gain.labels import write_label_folder

if __name__ == "__main__":
    run_program(write_label_folder)
