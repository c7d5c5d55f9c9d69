"""The package builds, installs where nothing else is, and runs a bundle from the zoo there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from doll_monai import __version__
from doll_monai.transforms.reading import LoadLabeld
from doll_tools.release.bundles import package_bundle

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "bundles" / "lung_cxr_segmentation"
PACKAGE = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "doll_monai").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source distribution and of the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "output", "mlruns", "build", "dist", "*.egg-info", "__pycache__", "*.pt")
    shutil.copytree(ROOT, folder / "project", ignore=left_out)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(folder / "project"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_is_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = [name for name in file.namelist() if not name.startswith(f"doll_monai-{__version__}.dist-info/")]
    assert sorted(names) == PACKAGE


@pytest.mark.slow
def test_the_source_distribution_is_the_whole_project(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as file:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in file.getnames()}
    folders = ("bundles", "docs", "scripts", "tests")
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".json", ".md", ".png", ".py", ".txt") and "eval" not in path.parts
    }
    assert {*PACKAGE, *there, "LICENSE", "README.md", "SECURITY.md", "Makefile", "constraints.txt"} <= names
    assert not [name for name in names if name.endswith(".pt") or name.startswith(("output", "mlruns"))]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_bundle_of_the_zoo_runs_where_only_its_required_packages_are(built: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    if not _index_answers(python, tmp_path):
        pytest.skip("no package index can be reached")
    bundle = _from_the_zoo(tmp_path)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    required = metadata["required_packages_version"]
    names = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    required |= {name: metadata[key] for name, key in names.items()}
    assert required.pop("doll-monai") == __version__
    (wheel,) = built.glob("*.whl")
    pins = [f"{name}=={version}" for name, version in required.items()]
    install = [python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel), *pins]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([python, "-m", "pip", "check"], check=True, capture_output=True)

    (tmp_path / "images").mkdir()
    Image.fromarray(np.arange(50 * 70, dtype=np.uint8).reshape(50, 70)).save(tmp_path / "images" / "image.png")
    command = [python, "-m", "monai.bundle", "run", "--config_file", str(bundle / "configs" / "inference.json")]
    command += ["--bundle_root", str(bundle), "--dataset_dir", "images", "--output_dir", "masks"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert LoadLabeld("label")({"label": tmp_path / "masks" / "image_lungs.nii.gz"})["label"].shape == (1, 70, 50)
    assert (tmp_path / "masks" / "image_overlay.png").is_file()


def _index_answers(python: str, folder: Path) -> bool:
    """Whether pip gets a small package at all."""
    fetch = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "packaging"]
    return subprocess.run(fetch, capture_output=True, check=False).returncode == 0


def _from_the_zoo(folder: Path) -> Path:
    """The bundle with random weights of a narrow network, as it is published, unpacked."""
    config = json.loads((BUNDLE / "configs" / "train.json").read_text()) | {"image_size": [64, 64]}
    members = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members"
    narrow = json.loads((members / "resnet10_narrow.json").read_text())["network_def"]
    config["network_def"]["network"]["backbone"] = narrow
    torch.save(ConfigParser(config).get_parsed_content("network_def").state_dict(), folder / "model.pt")
    (folder / "config.json").write_text(json.dumps(config))
    with zipfile.ZipFile(package_bundle(BUNDLE, folder / "model.pt", folder, folder / "config.json")) as file:
        file.extractall(folder / "zoo")
    return folder / "zoo" / BUNDLE.name
