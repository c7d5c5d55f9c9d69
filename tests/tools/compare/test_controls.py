"""Control labels: of the same finding and size, and not of the image."""

from pathlib import Path

import numpy as np
import pytest

from doll_monai.data.datalist import write_datalist
from doll_monai.data.label_files import write_label
from doll_monai.data.label_reader import read_label
from doll_monai.findings import FOREGROUND, IGNORE, finding_index
from doll_monai.utils.errors import InputError
from doll_tools.compare.controls import write_control_labels

EDEMA = finding_index("Edema")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Six patients; Edema of the first four is a column of its own and a common one, the others have none."""
    records = []
    for patient in range(6):
        label = np.zeros((14, 16, 16), np.uint8)
        if patient < 4:
            label[EDEMA, patient] = label[EDEMA, 10] = FOREGROUND
            label[EDEMA, 12] = IGNORE
        records.append({"image": f"patient{patient:05d}/a.png", "label": f"labels/{patient}.nii.gz"})
        write_label(tmp_path / "labels" / f"labels/{patient}.nii.gz", label)
    write_datalist(tmp_path / "labels" / "dataset.json", {"training": records[:4], "validation": records[4:]})
    return tmp_path / "labels"


def _read(folder: Path, patient: int) -> np.ndarray:
    return read_label(folder / f"labels/{patient}.nii.gz", ignore=True)[0]


def test_the_mean_map_is_the_same_for_all_images(labels: Path, tmp_path: Path) -> None:
    write_control_labels(str(labels), str(tmp_path / "mean"), "mean_map", quiet=True)
    first = _read(tmp_path / "mean", 0)
    assert (first[EDEMA, 10] == FOREGROUND).all(), "where it is most often"
    assert [(first[EDEMA] == value).sum() for value in (FOREGROUND, IGNORE)] == [32, 16]
    assert all(np.array_equal(_read(tmp_path / "mean", patient), first) for patient in range(4))
    assert not _read(tmp_path / "mean", 5).any()
    assert (tmp_path / "mean" / "dataset.json").is_file()


def test_another_image_is_of_another_patient_with_the_finding(labels: Path, tmp_path: Path) -> None:
    write_control_labels(str(labels), str(tmp_path / "other"), "other_image", quiet=True)
    for patient in range(4):
        control = _read(tmp_path / "other", patient)[EDEMA]
        assert any(np.array_equal(control, _read(labels, other)[EDEMA]) for other in range(4) if other != patient)


def test_an_unknown_kind_is_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mean_map, other_image"):
        write_control_labels(str(labels), str(tmp_path / "none"), "noise")
