"""Which files of a folder are images, and what is said of the others."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from doll_monai.data.datalist import find_images
from image_encodings import dicom

GRAY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def _nifti(path: Path, values: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(values, np.diag([-0.2, -0.2, 1, 1])), path)


def _report(path: Path) -> None:
    """A structured report: DICOM without rows."""
    path.write_bytes(dicom(GRAY))
    report = dcmread(path)
    for name in ("Rows", "Columns", "PixelData", "BitsAllocated"):
        delattr(report, name)
    report.save_as(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    return folder


def _found(folder: Path) -> list[str]:
    return [Path(record["image"]).relative_to(folder).as_posix() for record in find_images(folder)]


def test_dicom_of_any_name_and_linked_folders_are_found(folder: Path, tmp_path: Path) -> None:
    names = ("a.dicom", "b.dic", "c.DCM", "IM0001", "sub/1.2.840.4711")
    for name in names:
        (folder / name).write_bytes(dicom(GRAY))
    (tmp_path / "elsewhere").mkdir()
    Image.fromarray(GRAY).save(tmp_path / "elsewhere" / "x.png")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    os.symlink(folder, folder / "sub" / "back")
    os.symlink(folder / "sub", tmp_path / "elsewhere" / "on")
    os.symlink(tmp_path / "elsewhere", folder / "sub" / "round")
    (folder / "notes.txt").write_text("no image")
    (folder / "IM0002").write_bytes(b"no DICOM" * 50)
    assert _found(folder) == sorted(
        [*names, "linked/x.png", "linked/on/1.2.840.4711", "sub/round/x.png"],
        key=lambda name: str(folder / name),
    )


def test_what_is_no_image_is_counted_with_its_reason(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = (GRAY.T > 20).astype(np.uint8)
    for name in ("a.png", "sub/b.jpg"):
        Image.fromarray(GRAY).save(folder / name)
    _nifti(folder / "c.nii.gz", GRAY.T)
    _nifti(folder / "c_lateral.nii.gz", GRAY.T)
    _nifti(folder / "c_binary.nii.gz", mask.astype(np.int16))
    _nifti(folder / "other_lungs.nii.gz", mask)
    expected = ["a.png", "c.nii.gz", "c_binary.nii.gz", "c_lateral.nii.gz", "other_lungs.nii.gz", "sub/b.jpg"]
    for name in ("._a.png", "a_overlay.png", "sub/z_overlay.png"):
        Image.fromarray(GRAY).save(folder / name)
    for name in ("a_lungs.nii.gz", "sub/b_lungs_heart_clavicles.nii.gz", "sub/z_doll.nii.gz"):
        _nifti(folder / name, mask)
    for place in (".ipynb_checkpoints", "labels/final", "sub/labels/x", "sub/masks/x", "x.png"):
        (folder / place).mkdir(parents=True)
        Image.fromarray(GRAY).save(folder / place / "d.png")
    (folder / "sub" / "dataset.json").write_text("{}")
    for place in (folder, folder / "sub"):
        (place / os.fsdecode(b"bad\xff.png")).touch()
    (folder / os.fsdecode(b"bad\xff")).mkdir()
    _report(folder / "report.dcm")
    _report(folder / "IM0003")
    with caplog.at_level(logging.WARNING):
        assert _found(folder) == sorted([*expected, "x.png/d.png"])
    (line,) = caplog.messages
    assert line == (
        f"Passed over in {folder}: DICOM files without an image (2), folders named like images (1), folders of labels "
        "(3), hidden files (1), hidden folders (1), masks of an earlier run (3), "
        "names that are not UTF-8 (3), overlays of an earlier run (2)."
    )


def test_nothing_is_said_of_a_folder_of_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(GRAY).save(folder / "a.png")
    (folder / "labels").mkdir()
    Image.fromarray(GRAY).save(folder / "labels" / "b.png")
    (folder / ".DS_Store").write_bytes(b"")
    assert _found(folder) == ["a.png", "labels/b.png"]
    assert not caplog.messages
