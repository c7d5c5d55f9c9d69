"""Nothing of an image's header leaves it: not into masks, pictures, tables, logs, MLflow or labels."""

from __future__ import annotations

import gzip
from pathlib import Path

import itk
import numpy as np
import pytest

from doll_monai.data.datalist import write_datalist
from few_images import command, on_images, run_command, write_weights
from narrow import BUNDLES

IDENTIFIERS = {
    **{"0010|0010": "IDENTIFIED^JANE", "0010|0020": "MRN7731941", "0010|0030": "19500317", "0008|0020": "20210908"},
    **{"0008|0050": "ACC5520087", "0008|0080": "Hospital of Nowhere", "0008|0090": "REFERRER^PAUL"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two DICOM images full of identifiers, and a datalist with observations."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    for number in range(2):
        image = itk.image_from_array(generator.integers(0, 4096, (70, 50), dtype=np.uint16))
        for tag, value in IDENTIFIERS.items():
            image.GetMetaDataDictionary()[tag] = value
        itk.imwrite(image, str(folder / "images" / f"image{number}.dcm"))
        content = (folder / "images" / f"image{number}.dcm").read_bytes()
        assert all(value.encode() in content for value in IDENTIFIERS.values())
    records = [{"image": f"image{number}.dcm", "label": [1.0, 0.0] * 7} for number in range(2)]
    write_datalist(folder / "observations.json", {"training": records, "validation": records})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_no_identifier_leaves_an_image(bundle: Path, images: Path, tmp_path: Path) -> None:
    values = on_images(bundle, images, tmp_path / "out", ["inference"]) | {"image_size": [48, 48]}
    write_weights(bundle, values)
    tracked = {"tracking": str(bundle / "configs" / "mlflow.json"), "tracking_uri": f"sqlite:///{tmp_path}/mlruns.db"}
    done = run_command(command(bundle, ["inference"], values | tracked, tmp_path / "arguments.json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in written if path.is_relative_to(tmp_path / "out")]) >= 3
    contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in written]
    for said in (done.stdout.encode(), done.stderr.encode(), *contents):
        assert [value for value in IDENTIFIERS.values() if value.encode() in said] == []
