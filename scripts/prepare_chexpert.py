"""Write the ``dataset.json`` of CheXpert, or of any data set in its layout.

Example:
    python scripts/prepare_chexpert.py --dataset_dir CheXpert-v1.0-small --output output/chexpert
"""

from __future__ import annotations

import logging
from pathlib import Path

from doll_monai.data import chexpert_datalist, count_labels, write_datalist
from doll_monai.errors import run_program
from doll_monai.findings import CHANNEL_DEF


def prepare_chexpert(
    dataset_dir: str,
    output: str,
    validation_share: float = 0.1,
    seed: int = 0,
    check: bool = False,
    patient_overlap: str = "error",
) -> None:
    """Split train.csv by patient into training and validation, take valid.csv as test, and write dataset.json.

    Args:
        dataset_dir: folder with train.csv and valid.csv.
        output: the .json file to write, or a folder for dataset.json.
        validation_share: share of the patients of train.csv for validation.
        seed: another seed, another split.
        check: look for every image; otherwise, of more than 5,000 films, for every 100th.
        patient_overlap: error, or drop: drop the rows of train.csv whose patient is in valid.csv too.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sections = chexpert_datalist(
        str(dataset_dir),
        validation_share,
        seed,
        patient_overlap=patient_overlap,
        check_images="all" if check else "some",
    )
    path = Path(str(output))
    path = path if path.suffix == ".json" else path / "dataset.json"
    write_datalist(path, sections, name=Path(str(dataset_dir)).resolve().name, labels=CHANNEL_DEF)
    for section, records in sections.items():
        print(f"\n{section}: {len(records)} films")
        if records:
            print(f"{'':28}{'positive':>10}{'negative':>10}{'uncertain':>10}{'blank':>10}")
        for finding, counts in count_labels(records).items() if records else ():
            print(f"{finding:28}" + "".join(f"{count:>10}" for count in counts))
    print(f"\n{path}")


if __name__ == "__main__":
    run_program(prepare_chexpert)
