"""Every test file of other libraries that is at hand: read as they read it, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from doll_monai.data.readers import read_image
from library_files import FOLDERS, files, outcome

VOLUMES = [path for path in files() if path.name.endswith((".nii", ".nii.gz")) and path.is_relative_to(FOLDERS[1])]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_a_file_of_another_library_is_read_as_it_reads_it(path: Path) -> None:
    result, reason = outcome(path)
    assert result in ("exact", "agreeing", "refused"), reason
    assert result != "refused" or (reason and "cannot be read" not in reason)


@pytest.mark.parametrize("path", VOLUMES, ids=lambda path: path.name)
def test_a_slice_of_a_volume_is_read_as_nibabel_and_itk_do(path: Path, tmp_path: Path) -> None:
    image = nib.load(path)
    if type(image) is not nib.Nifti1Image or np.isnan(image.get_fdata()).any():
        pytest.skip("it is no image that ITK reads, or not of numbers alone")
    image = image if len(image.shape) == 3 else image.slicer[..., 0]
    middle = image.shape[2] // 2
    image.slicer[:, :, middle : middle + 1].to_filename(tmp_path / "slice.nii")
    values, _ = read_image(tmp_path / "slice.nii")
    assert np.array_equal(values[0], nib.load(tmp_path / "slice.nii").get_fdata()[:, :, 0].astype(values.dtype))
    assert np.array_equal(values[0].T, np.squeeze(itk.array_from_image(itk.imread(str(tmp_path / "slice.nii")))))
