"""Masks as the lungs' bundle writes them, without its network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import decollate_batch, list_data_collate
from torch.nn.functional import avg_pool2d

CONFIG = Path(__file__).parents[1] / "bundles" / "lung_cxr_segmentation" / "configs" / "inference.json"


def engine_of(images: list[str], batch: list[dict[str, Any]]) -> Engine:
    """An engine whose output is its batch, of a data set of these images."""
    engine: Any = Engine(lambda _engine, batch: batch)
    engine.data_loader = SimpleNamespace(dataset=SimpleNamespace(data=[{"image": image} for image in images]))
    return engine


def segment(path: Path, output: Path, size: tuple[int, int] = (64, 48)) -> nib.Nifti1Image:
    """The mask of an image as the bundle saves it; what is bright after smoothing stands for the lungs."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.update({"dataset_dir": str(path.parent), "output_dir": str(output), "image_size": list(size)})
    batch = list_data_collate([parser.get_parsed_content("preprocessing")({"image": str(path)})])
    batch["pred"] = 40 * (avg_pool2d(batch["image"], 5, stride=1, padding=2) - 0.5)
    result = parser.get_parsed_content("postprocessing")(decollate_batch(batch)[0])
    engine = engine_of([str(path)], [result])
    for handler in parser.get_parsed_content("handlers")[-2:]:
        handler.attach(engine)
    engine.run([[result]])
    (saved,) = output.glob("*.nii.gz")
    return nib.load(saved)
