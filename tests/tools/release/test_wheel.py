"""The package builds, and runs where nothing else is: no checkout, a fresh environment, an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from doll_monai import __version__
from tiny_preset import PRESET

ROOT = Path(__file__).resolve().parents[3]


def _tracked(folder: str) -> set[str]:
    """Files of the checkout that are neither made by a run nor by an editor."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and not {"__pycache__", "eval"} & set(path.parts)
        and path.suffix not in (".pt", ".gitkeep")
        and path.name != ".gitkeep"
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source distribution and of the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "output", "mlruns", "build", "dist", "*.egg-info", "__pycache__", "*.pt")
    shutil.copytree(ROOT, folder / "project", ignore=left_out)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    subprocess.run([*command, str(folder / "project")], check=True, capture_output=True)
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_is_core_tools_and_bundles(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.startswith(f"doll_monai-{__version__}.dist-info/")}
    wanted = {f"doll_monai/{name}" for name in _tracked("doll_monai")}
    wanted |= {f"doll_tools/{name}" for name in _tracked("scripts/doll_tools")}
    wanted |= {f"doll_tools/bundles/{name}" for name in _tracked("bundles")}
    assert names == wanted


@pytest.mark.slow
def test_the_source_distribution_is_the_whole_project(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as file:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in file.getnames()}
    there = {f"{folder}/{name}" for folder in ("bundles", "docs", "scripts", "tests") for name in _tracked(folder)}
    assert {*there, "LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "constraints.txt"} <= names
    assert not [name for name in names if name.endswith(".pt") or name.startswith(("output", "mlruns"))]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_stages_run_from_an_installed_wheel_in_an_empty_folder(built: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    programs = tmp_path / "venv" / "bin"
    install = [str(programs / "python"), "-m", "pip", "--quiet", "install", "-c", str(ROOT / "constraints.txt")]
    if subprocess.run([*install, "packaging"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no package index can be reached")
    (wheel,) = built.glob("*.whl")
    subprocess.run([*install, f"doll-monai[tools] @ {wheel.as_uri()}"], check=True, capture_output=True)
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "tiny.json").write_text(json.dumps(PRESET))
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ""}

    def doll(command: str, status: int = 0) -> str:
        done = subprocess.run(
            ["doll", *command.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    doll("prepare phantom --output images --count 40 --size 64")
    doll("run --chexpert images --task_data images --output run --preset tiny.json")
    assert (folder / "run" / "report.html").is_file()
    assert (folder / "mlruns" / "mlruns.db").is_file()
    doll("segment images/valid --run run --output masks")
    masks = list((folder / "masks").rglob("*_lungs.nii.gz"))
    assert masks
    doll("package bundles --run run --output zoo")
    assert {file.name.split("_v")[0] for file in (folder / "zoo").glob("*.zip")} >= {"lung_cxr_segmentation"}
    doll("evaluate --help")
    said = doll("annotate images", status=1)
    assert "monailabel" in said.lower()

    with zipfile.ZipFile(next((folder / "zoo").glob("lung_cxr_segmentation*.zip"))) as file:
        file.extractall(folder / "zoo")
    bundle = folder / "zoo" / "lung_cxr_segmentation"
    command = [str(programs / "python"), "-m", "monai.bundle", "run", "--bundle_root", str(bundle)]
    command += ["--config_file", str(bundle / "configs" / "inference.json")]
    command += ["--dataset_dir", "images/valid", "--output_dir", "again"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((folder / "again").rglob("*_lungs.nii.gz"))) == len(masks)
