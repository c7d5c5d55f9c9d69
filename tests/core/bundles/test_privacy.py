"""Nothing of an image's header leaves it: not into masks, pictures, tables, logs, MLflow or labels."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from broken import run
from doll_monai.data.datalist import write_datalist
from narrow import ROOT, read_config, smaller

IDENTIFIERS = {
    "0010|0010": "IDENTIFIED^JANE",
    "0010|0020": "MRN7731941",
    "0010|0030": "19500317",
    "0008|0020": "20210908",
    "0008|0050": "ACC5520087",
    "0008|0080": "Hospital of Nowhere",
    "0008|0090": "REFERRER^PAUL",
}
BUNDLES = {
    "chexpert_cxr_classification": ["inference"],
    "doll_cxr_label_generation": ["inference"],
    "doll_cxr_segmentation": ["inference"],
    "lung_cxr_segmentation": ["inference"],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two DICOM images full of identifiers, and a datalist with observations."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(2):
        image = itk.image_from_array(generator.integers(0, 4096, (70, 50), dtype=np.uint16))
        for tag, value in IDENTIFIERS.items():
            image.GetMetaDataDictionary()[tag] = value
        itk.imwrite(image, str(folder / f"image{number}.dcm"))
        content = (folder / f"image{number}.dcm").read_bytes()
        assert all(value.encode() in content for value in IDENTIFIERS.values())
    records = [{"image": f"image{number}.dcm", "label": [1.0, 0.0] * 7} for number in range(2)]
    write_datalist(folder / "dataset.json", {"training": records, "validation": records})
    return folder


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_no_identifier_leaves_a_image(bundle: str, images: Path, tmp_path: Path) -> None:
    root = ROOT / "bundles" / bundle
    network = smaller(read_config(root, "inference")["network_def"])
    values: dict[str, Any] = {
        "network_def": network,
        "image_size": [48, 48],
        "num_workers": 0,
        "bundle_root": str(root),
    }
    values |= {"config_file": [str(root / "configs" / f"{name}.json") for name in BUNDLES[bundle]]}
    values |= {
        "dataset_dir": str(images),
        "output_dir": str(tmp_path / "out"),
        "checkpoint": str(tmp_path / "model.pt"),
    }
    values |= {"tracking": str(root / "configs" / "mlflow.json"), "tracking_uri": f"sqlite:///{tmp_path}/mlruns.db"}
    config = read_config(root, "inference") | {"network_def": network}
    torch.save(ConfigParser(config).get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    (tmp_path / "arguments.json").write_text(json.dumps(values))
    done = run(["monai.bundle", "run", "--args_file", str(tmp_path / "arguments.json")], tmp_path)
    assert done.code == 0, done.said
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in written if path.is_relative_to(tmp_path / "out")]) >= 2
    for said in (done.said.encode(), *map(_content, written)):
        found = [value for value in IDENTIFIERS.values() if value.encode() in said]
        assert found == []
