"""A packaged bundle is whole: it loads, and it runs from wherever it was unpacked."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.bundle import load as load_bundle
from PIL import Image

from doll_monai.networks.weights import load_weights
from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError
from doll_tools.release import bundles
from doll_tools.release.bundles import package_bundle, package_bundles, weights_of_run

BUNDLES = Path(__file__).resolve().parents[3] / "bundles"
TASK = BUNDLES / "jsrt_cxr_segmentation"
BACKBONE = {"_target_": "doll_monai.networks.LiteBackbone", "fine": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights of a narrow network of two classes, and the configuration that it was trained with."""
    folder = tmp_path_factory.mktemp("trained")
    config = json.loads((TASK / "configs" / "train.json").read_text())
    config["network_def"]["network"]["backbone"] = BACKBONE
    config |= {"image_size": [64, 64], "classes": ["lungs", "heart"], "dataset_dir": "/somewhere/of/mine"}
    torch.manual_seed(0)
    torch.save(ConfigParser(config).get_parsed_content("network_def").state_dict(), folder / "model.pt")
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.pt", folder / "config.json"


@pytest.fixture(scope="module")
def unpacked(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    archive = package_bundle(TASK, trained[0], folder, trained[1], "https://example.org/zoo/")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder / "unpacked")
    return folder / "unpacked" / TASK.name


def test_a_package_has_everything_but_left_overs(unpacked: Path) -> None:
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    wanted = {path.relative_to(TASK).as_posix() for name in ("configs", "docs") for path in (TASK / name).rglob("*.*")}
    assert files == wanted | {"LICENSE", "models/model.pt"}
    assert "/somewhere/of/mine" not in "".join(path.read_text() for path in (unpacked / "configs").glob("*.json"))


def test_a_package_says_what_its_weights_are(unpacked: Path, trained: tuple[Path, Path]) -> None:
    for name in ("train", "inference"):
        config = json.loads((unpacked / "configs" / f"{name}.json").read_text())
        assert config["image_size"] == [64, 64]
        assert config["classes"] == ["lungs", "heart"]
        load_weights(ConfigParser(config).get_parsed_content("network_def"), unpacked / "models" / "model.pt")
    metadata = json.loads((unpacked / "configs" / "metadata.json").read_text())
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert (output["num_channels"], output["channel_def"]) == (2, {"0": "lungs", "1": "heart"})


def test_checksums_are_those_of_the_zip(unpacked: Path) -> None:
    folder = unpacked.parents[1]
    listed = json.loads((folder / "model_info.json").read_text())
    name = f"{TASK.name}_v0.1.0"
    digest = hashlib.sha1((folder / f"{name}.zip").read_bytes()).hexdigest()
    assert listed == {name: {"checksum": digest, "source": f"https://example.org/zoo/{name}.zip"}}


def test_the_same_bundle_gives_the_same_bytes(trained: tuple[Path, Path], unpacked: Path, tmp_path: Path) -> None:
    again = package_bundle(TASK, trained[0], tmp_path, trained[1])
    assert again.read_bytes() == (unpacked.parents[1] / again.name).read_bytes()


def test_monai_loads_it_from_the_folder(unpacked: Path) -> None:
    network = load_bundle(TASK.name, bundle_dir=unpacked.parent, device="cpu", workflow_type="inference")
    weights = torch.load(unpacked / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_it_runs_where_it_was_unpacked(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.arange(50 * 70, dtype=np.uint8).reshape(50, 70)).save(tmp_path / "images" / "image.png")
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(unpacked), "--dataset_dir", "images"]
    command += ["--config_file", str(unpacked / "configs" / "inference.json"), "--output_dir", "masks"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    mask = LoadLabeld("label")({"label": str(tmp_path / "masks" / "image_lungs_heart.nii.gz")})["label"]
    assert mask.shape == (2, 70, 50)


def test_a_large_file_is_named_with_its_hash(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "LARGE", 1_000_000)
    package_bundle(TASK, trained[0], tmp_path, trained[1], "https://example.org")
    text = (tmp_path / f"{TASK.name}_v0.1.0.large_files.yml").read_text()
    digest = hashlib.sha256(trained[0].read_bytes()).hexdigest()
    assert f'path: "models/model.pt"\n    url: "https://example.org/{TASK.name}_v0.1.0/models/model.pt"' in text
    assert f'hash_val: "{digest}"\n    hash_type: "sha256"' in text


def test_what_cannot_be_packaged_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="also give the configuration that it was trained with"):
        package_bundle(TASK, trained[0], tmp_path)
    mistakes = {
        r"nowhere\.pt of jsrt_cxr_segmentation does not exist": {"bundle": TASK.name, "weights": "nowhere.pt"},
        "There is no bundle liver": {"bundle": "liver", "weights": str(trained[0])},
        "There is nothing to package": {},
    }
    for sentence, options in mistakes.items():
        with pytest.raises(InputError, match=sentence):
            package_bundles(str(tmp_path), **options)
    assert not list(tmp_path.glob("*.zip"))


def test_a_pipelines_checkpoints_are_found(trained: tuple[Path, Path], tmp_path: Path) -> None:
    executed = tmp_path / "configs" / "executed"
    executed.mkdir(parents=True)
    config = json.loads(trained[1].read_text()) | {"bundle_root": str(TASK), "ckpt_dir": str(trained[0].parent)}
    for name in ("fine_tune_adapter", "fine_tune_scratch"):
        (executed / f"{name}.json").write_text(json.dumps(config))
    assert weights_of_run(tmp_path) == {TASK.name: (trained[0], executed / "fine_tune_adapter.json")}
    with pytest.raises(InputError, match="holds no checkpoint of a finished stage"):
        weights_of_run(tmp_path / "configs")
