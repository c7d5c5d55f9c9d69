"""What MONAI's model zoo checks of a bundle before it takes it, on copies with random weights.

``DOLL_ZOO`` names a folder with the zoo's ``meta_schema_20240725.json``; without it the schema is not checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export, verify_metadata, verify_net_in_out

from narrow import BUNDLES, DISTINCT, outputs, read_config, smaller

SCHEMA = Path(os.environ.get("DOLL_ZOO", "")) / "meta_schema_20240725.json"
SIZE = 48
"""Side of the images: features have 6 x 6 places, which pyramid pooling divides evenly."""


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def submitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle as it would be submitted: its network narrow, of a committee two members, weights in."""
    bundle = tmp_path_factory.mktemp("models") / request.param.name
    shutil.copytree(request.param, bundle, ignore=shutil.ignore_patterns("*.pt", "eval", "models"))
    for name in ("train", "inference"):
        path = bundle / "configs" / f"{name}.json"
        if path.is_file():
            config = json.loads(path.read_text())
            config["network_def"] = smaller(config["network_def"])
            if "members" in config["network_def"]:
                config["network_def"]["members"] = config["network_def"]["members"][:2]
            path.write_text(json.dumps(config))
    network = _network(bundle)
    generator = torch.Generator().manual_seed(0)
    for values in network.state_dict().values():
        if values.is_floating_point():
            values.copy_(torch.rand(values.shape, generator=generator) * 0.1 + 0.01)
    (bundle / "models").mkdir()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


each_kind = pytest.mark.parametrize("submitted", DISTINCT, ids=lambda path: path.name, indirect=True)


def _network(bundle: Path) -> torch.nn.Module:
    parser = ConfigParser(read_config(bundle, "inference"))
    return parser.get_parsed_content("network_def").eval()


def _files(bundle: Path) -> dict[str, Any]:
    configs = bundle / "configs"
    return {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.json")}


def _exported(bundle: Path) -> dict[str, Any]:
    return {"net_id": "network_def", "ckpt_file": str(bundle / "models" / "model.pt"), **_files(bundle)}


def _prediction(bundle: Path) -> tuple[torch.Tensor, torch.Tensor]:
    network = _network(bundle)
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    images = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, network(images)


def test_the_zoos_files_and_facts_are_there(submitted: Path) -> None:
    for name in ("configs/metadata.json", "LICENSE", "models/model.pt", "configs/inference.json", "docs/README.md"):
        assert (submitted / name).stat().st_size > 0
    assert all(path.stat().st_size < 25e6 for path in submitted.rglob("*") if path.suffix != ".pt")
    metadata = read_config(submitted, "metadata")
    assert metadata["supported_apps"] == {}
    for name in ("name", "task", "description", "authors", "copyright", "data_source", "data_type", "intended_use"):
        assert metadata[name]
    assert "Research only" in metadata["intended_use"]
    assert any("2401.08469" in reference for reference in metadata["references"])
    page = (submitted / "docs" / "README.md").read_text().splitlines()
    headings = {line.strip("# *") for line in page if "#" in line}
    assert {"Model Description", "Data", "Performance", "References", "License"} <= headings


@pytest.mark.skipif(not SCHEMA.is_file(), reason="DOLL_ZOO names no folder with the zoo's schema")
def test_metadata_follows_the_zoos_schema(submitted: Path, tmp_path: Path) -> None:
    shutil.copy(SCHEMA, tmp_path / SCHEMA.name)
    assert read_config(submitted, "metadata")["schema"].endswith(SCHEMA.name)
    verify_metadata(
        meta_file=str(submitted / "configs" / "metadata.json"),
        filepath=str(tmp_path / SCHEMA.name),
        hash_val=hashlib.md5(SCHEMA.read_bytes()).hexdigest(),
    )


def test_the_network_takes_and_gives_what_the_metadata_says(submitted: Path) -> None:
    verify_net_in_out(net_id="network_def", device="cpu", n=8, **_files(submitted))


@each_kind
def test_torchscript_predicts_the_same(submitted: Path, tmp_path: Path) -> None:
    images, expected = _prediction(submitted)
    ckpt_export(filepath=str(tmp_path / "model.ts"), **_exported(submitted))
    exported = torch.jit.load(tmp_path / "model.ts")
    with torch.no_grad():
        assert torch.allclose(exported(images), expected, atol=1e-6)
        assert exported(images[..., : SIZE // 2, :]).shape[1] == outputs(submitted)["num_channels"]


@each_kind
def test_onnx_predicts_the_same(submitted: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    images, expected = _prediction(submitted)
    onnx_export(filepath=str(tmp_path / "model.onnx"), input_shape=list(images.shape), **_exported(submitted))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (predicted,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert expected.std() > 0
    assert torch.allclose(torch.from_numpy(predicted), expected, rtol=1e-3, atol=1e-4)
