"""Bundles as a model zoo publishes them: one zip each, weights in, with their checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from doll_monai.networks.weights import load_weights
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.progress import Bar
from doll_tools.arguments import bundles_folder, path_argument

LARGE = 25_000_000
"""Bytes above which the zoo keeps a file out of its repository and names it in ``large_files.yml``."""
TAKEN_OVER = ("network_def", "image_size", "classes")
"""Values of the training that a bundle with its weights must have."""
LEFT_OUT = ("models", "eval", "__pycache__", ".*")
TRAININGS = ("train_*.json", "generate_labels.json", "pretrain.json", "fine_tune_adapter.json")
"""Merged configurations of a pipeline that name a bundle's own checkpoint, and not one that is compared with it."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a zip, so that the same bundle gives the same bytes."""


def package_bundles(
    output: str,
    run: str | None = None,
    bundle: str | None = None,
    weights: str | None = None,
    trained: str | None = None,
    url: str | None = None,
    quiet: bool = False,
) -> None:
    """Package every bundle that there are weights of; nothing is uploaded.

    Args:
        output: folder of the zips, of model_info.json (checksums) and of large_files.yml where a file is large.
        run: output folder of doll run: its checkpoints go into the bundles, which get the network, the image size and
            the classes that these were trained with.
        bundle: name of a bundle whose checkpoint is given, with or without a run.
        weights: its checkpoint.
        trained: the merged configuration of its training (save_execute_config), where the network is not the bundle's.
        url: address where the zips will be published, for model_info.json and large_files.yml.
        quiet: show no progress.
    """
    folder = path_argument(run)
    found: dict[str, tuple[Path, Path | None]] = dict(weights_of_run(folder)) if folder is not None else {}
    if bundle is not None and weights is not None:
        found[str(bundle)] = (Path(str(weights)), path_argument(trained))
    if not found:
        raise InputError("There is nothing to package; give --run, or --bundle and --weights.")
    known = sorted(path.parent.parent.name for path in bundles_folder().glob("*/configs/metadata.json"))
    for name in sorted(set(found) - set(known)):
        raise InputError(f"There is no bundle {name}; there are {', '.join(known)}.")
    for name, (path, config) in Bar(sorted(found.items()), name="bundles", unit="bundle", quiet=quiet):
        print(package_bundle(bundles_folder() / name, path, Path(str(output)), config, url))
    missing = [name for name in known if name not in found]
    if missing:
        print(f"Without weights, and so not packaged: {', '.join(missing)}.")


def package_bundle(
    bundle: Path, weights: Path, output: Path, trained: Path | None = None, url: str | None = None
) -> Path:
    """Write ``NAME_vVERSION.zip`` of a bundle and its weights, and return its path.

    Beside it stand ``model_info.json`` (the zoo's list: SHA-1 and address of each zip) and, where a file is large,
    ``NAME_vVERSION.large_files.yml``; ``url`` is where the zips will be published. An ``adapter.pt`` beside the weights
    goes along. The bundle gets network, image size and classes of ``trained``, a training's merged configuration.

    Raises:
        InputError: when something is missing, or the weights do not load strictly into the network.
    """
    name = f"{bundle.name}_v{read_json_object(bundle / 'configs' / 'metadata.json')['version']}"
    address = f"{url.rstrip('/')}/{name}" if url else name
    if not weights.is_file():
        raise InputError(f"The checkpoint {weights} of {bundle.name} does not exist.")
    output.mkdir(parents=True, exist_ok=True)
    archive = output / f"{name}.zip"
    with tempfile.TemporaryDirectory(dir=output) as temporary:
        folder = Path(temporary) / bundle.name
        shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        if trained is not None:
            _take_over(folder, read_json_object(trained))
        (folder / "models").mkdir()
        shutil.copyfile(weights, folder / "models" / "model.pt")
        adapter = weights.with_name("adapter.pt")
        if adapter.is_file():
            shutil.copyfile(adapter, folder / "models" / "adapter.pt")
        try:
            config = read_json_object(folder / "configs" / "inference.json")
            load_weights(ConfigParser(config).get_parsed_content("network_def"), weights)
        except InputError as error:
            advice = f"To package {bundle.name}, also give the configuration that it was trained with."
            raise InputError(f"{error} {advice}") from error
        large = _large_files(folder, address if url else None)
        _zip(folder, Path(temporary) / archive.name)
        os.replace(Path(temporary) / archive.name, archive)
    if large:
        write_atomic(output / f"{name}.large_files.yml", large.encode())
    listed = output / "model_info.json"
    known = read_json_object(listed) if listed.is_file() else {}
    checksum = hashlib.sha1(archive.read_bytes(), usedforsecurity=False).hexdigest()
    known[name] = {"checksum": checksum, "source": f"{address}.zip"}
    write_atomic(listed, _json(dict(sorted(known.items()))).encode())
    return archive


def weights_of_run(run: Path) -> dict[str, tuple[Path, Path]]:
    """Bundle to checkpoint and merged configuration of a ``doll run``; of the members the first by name.

    ``InputError`` when there is no finished stage with weights.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for config in (path for pattern in TRAININGS for path in sorted((run / "configs" / "executed").glob(pattern))):
        content = read_json_object(config)
        checkpoint = Path(ConfigParser(content).get_parsed_content("checkpoint"))
        if checkpoint.is_file():
            found.setdefault(Path(content["bundle_root"]).name, (checkpoint, config))
    if not found:
        raise InputError(f"{run} holds no checkpoint of a finished stage; give the output folder of doll run.")
    return found


def _take_over(folder: Path, trained: Mapping[str, Any]) -> None:
    """Give every configuration of a bundle the network, the image size and the classes of its training."""
    values = {name: trained[name] for name in TAKEN_OVER if name in trained}
    for path in (folder / "configs" / f"{name}.json" for name in ("train", "inference", "metadata")):
        if path.is_file():
            content = read_json_object(path)
            content |= {name: value for name, value in values.items() if name in content}
            if path.stem == "metadata" and isinstance(values.get("classes"), list):
                output = content["network_data_format"]["outputs"]["pred"]
                output["channel_def"] = {str(number): label for number, label in enumerate(values["classes"])}
                output["num_channels"] = len(values["classes"])
            path.write_text(_json(content), encoding="utf-8")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=4, ensure_ascii=False) + "\n"


def _large_files(folder: Path, url: str | None) -> str:
    """The zoo's ``large_files.yml``; empty when no file is large. Without an address only the hashes stand there."""
    entries = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > LARGE):
        inside = path.relative_to(folder).as_posix()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        address = f'    url: "{url}/{inside}"\n' if url else ""
        entries.append(f'  - path: "{inside}"\n{address}    hash_val: "{digest}"\n    hash_type: "sha256"\n')
    return "large_files:\n" + "".join(entries) if entries else ""


def _zip(folder: Path, archive: Path) -> None:
    """Zip a folder with its own name inside; the same content gives the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            file.writestr(entry, path.read_bytes())
