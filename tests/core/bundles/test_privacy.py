"""Nothing of a DICOM file's header leaves it: not into masks, pictures, tables, logs, MLflow or labels."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from doll_monai.data.datalist import write_datalist
from few_images import on_images, run, write_weights
from image_encodings import ENCODINGS, PATIENT
from narrow import DISTINCT


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two DICOM images with a patient's data, and a datalist with observations."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (70, 50), dtype=np.uint8)
        ENCODINGS["plain.dcm"](pixels, folder / "images" / f"image{number}.dcm")
    records = [{"image": f"image{number}.dcm", "label": [1.0, 0.0] * 7} for number in range(2)]
    write_datalist(folder / "observations.json", {"training": records, "validation": records})
    return folder


@pytest.mark.parametrize("bundle", DISTINCT, ids=lambda path: path.name)
def test_no_identifier_leaves_an_image(bundle: Path, images: Path, tmp_path: Path, monkeypatch, capfd, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    values = on_images(bundle, images, tmp_path / "out", ["inference"]) | {"image_size": [48, 48]}
    write_weights(bundle, values)
    values |= {"tracking": str(bundle / "configs" / "mlflow.json"), "tracking_uri": f"sqlite:///{tmp_path}/mlruns.db"}
    run(bundle, ["inference"], values)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in written if path.is_relative_to(tmp_path / "out")]) >= 3
    contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in written]
    for said in (*(text.encode() for text in (*capfd.readouterr(), caplog.text)), *contents):
        assert [value for _, value in PATIENT.values() if value.encode() in said] == []
