"""A mask is evaluated the same in whatever encoding it comes: Dice and IoU are numpy's of the drawn shapes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.networks import AdaptedNetwork
from few_images import run
from narrow import ROOT

BUNDLE = ROOT / "bundles" / "lung_cxr_segmentation"
Y, X = np.mgrid[:96, :96]
SHOWN = ((X - 44) / 30) ** 2 + ((Y - 50) / 25) ** 2 < 1
DRAWN = ((X - 47) / 30) ** 2 + ((Y - 52) / 26) ** 2 < 1
"""What the network finds, which is what is bright, and the ground truth; rows are downwards."""
DICE, IOU = (2 * (SHOWN & DRAWN).sum() / (SHOWN.sum() + DRAWN.sum()), (SHOWN & DRAWN).sum() / (SHOWN | DRAWN).sum())
AFFINE = np.array([[-0.4, 0, 0, 20], [0, 0, 1, 0], [0, -0.4, 0, 30], [0, 0, 0, 1]])
"""Of a radiograph: columns to the patient's left, rows down, in a coronal plane."""
FLIP = np.array([[-1, 0, 0, 95], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


class Threshold(torch.nn.Module):
    """Foreground is what is brighter than half."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(1, 1, kernel_size=1)
        torch.nn.init.constant_(self.head.weight, 100)
        torch.nn.init.constant_(self.head.bias, -50)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


def _nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(values.T[:, :, None], affine), path)


@pytest.mark.parametrize(
    ("image", "label", "values", "affine"),
    [
        ("nii.gz", "nii.gz", DRAWN.astype(np.uint8), AFFINE),
        ("nii.gz", "nii.gz", DRAWN * np.uint8(255), AFFINE),
        ("nii.gz", "nii.gz", DRAWN * np.int16(2), AFFINE),
        ("nii.gz", "nii.gz", DRAWN * np.float32(0.999), AFFINE),
        ("nii.gz", "nii.gz", DRAWN[:, ::-1].astype(np.uint8), AFFINE @ FLIP),
        ("png", "nii.gz", DRAWN.astype(np.uint8), np.eye(4)),
        ("png", "png", DRAWN * np.uint8(255), None),
        ("png", "jpg", DRAWN * np.uint8(255), None),
    ],
)
def test_dice_and_iou_are_the_same(image: str, label: str, values: np.ndarray, affine, tmp_path: Path) -> None:
    bright = np.where(SHOWN, 200, 20).astype(np.uint8)
    for name, suffix, content, place in (("image", image, bright, AFFINE), ("label", label, values, affine)):
        path = tmp_path / f"{name}.{suffix}"
        _nifti(path, content, place) if suffix == "nii.gz" else Image.fromarray(content).save(path)
    record = {"image": f"image.{image}", "label": f"label.{label}"}
    write_datalist(tmp_path / "dataset.json", {name: [record] for name in SECTIONS})
    network = {"_target_": "doll_monai.networks.AdaptedNetwork", "tuning": "head"}
    network |= {"network": {"_target_": f"{__name__}.Threshold"}}
    torch.save(AdaptedNetwork(Threshold(), "head").state_dict(), tmp_path / "model.pt")
    folders = {name: str(tmp_path) for name in ("dataset_dir", "label_dir", "output_dir")}
    run(
        BUNDLE,
        ["train", "evaluate"],
        {"bundle_root": str(BUNDLE), "datalist": str(tmp_path / "dataset.json"), **folders}
        | {"checkpoint": str(tmp_path / "model.pt"), "network_def": network, "image_size": [96, 96], "num_workers": 0}
        | {"precision": "float32"},
    )
    metrics = pd.read_csv(tmp_path / "metrics.csv", index_col=0, header=None)[1]
    assert float(metrics["dice"]) == pytest.approx(DICE, abs=0.002)
    assert float(metrics["iou"]) == pytest.approx(IOU, abs=0.002)
