"""Bundles as a model zoo publishes them: one zip each, weights in, with their checksums.

Example:
    doll package bundles --run output/demo --output output/zoo
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from doll_monai.networks.weights import load_weights
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.progress import Bar
from doll_tools.arguments import list_argument, path_argument
from doll_tools.folders import bundles_folder

LARGE = 25_000_000
"""Bytes above which the zoo keeps a file out of its repository and names it in ``large_files.yml``."""
TAKEN_OVER = ("network_def", "image_size", "classes")
"""Values of the training that a bundle with its weights must have."""
LEFT_OUT = ("models", "eval", "__pycache__")
TRAININGS = ("train_*.json", "generate_labels.json", "pretrain.json", "fine_tune_adapter.json")
"""Merged configurations of a pipeline that name a bundle's own checkpoint, and not one that is compared with it."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a zip, so that the same bundle gives the same bytes."""


def package_bundles(
    output: str,
    run: str | None = None,
    weights: str | Sequence[str] = (),
    trained: str | Sequence[str] = (),
    url: str | None = None,
    quiet: bool = False,
) -> None:
    """Package every bundle that there are weights of; nothing is uploaded.

    Args:
        output: folder of the zips, of model_info.json (checksums) and of large_files.yml where a file is large.
        run: output folder of doll run: its checkpoints go into the bundles, which get the network, the image size and
            the classes that these were trained with.
        weights: NAME=FILE,NAME=FILE: checkpoints of single bundles, instead of those of --run.
        trained: NAME=FILE,NAME=FILE: merged configurations of their trainings (save_execute_config), where the
            networks are not the bundles' own.
        url: address where the zips will be published, for model_info.json and large_files.yml.
        quiet: show no progress.
    """
    folder = path_argument(run)
    found: dict[str, tuple[Path, Path | None]] = dict(weights_of_run(folder)) if folder is not None else {}
    configurations = _named(trained, "trained")
    for name, path in _named(weights, "weights").items():
        found[name] = (path, configurations.get(name))
    if not found:
        raise InputError("There is nothing to package; give --run, or --weights NAME=FILE.")
    known = sorted(path.parent.parent.name for path in bundles_folder().glob("*/configs/metadata.json"))
    for name in sorted(found):
        if name not in known:
            raise InputError(f"There is no bundle {name}; there are {', '.join(known)}.")
    for name, (path, config) in Bar(sorted(found.items()), name="bundles", unit="bundle", quiet=quiet):
        print(package_bundle(bundles_folder() / name, path, Path(str(output)), config, url))
    missing = [name for name in known if name not in found]
    if missing:
        print(f"Without weights, and so not packaged: {', '.join(missing)}.")


def package_bundle(
    bundle: Path, weights: Path, output: Path, trained: Path | None = None, url: str | None = None
) -> Path:
    """Write ``NAME_vVERSION.zip`` of a bundle and its weights.

    Args:
        bundle: the bundle's folder.
        weights: checkpoint that loads strictly into its network; an ``adapter.pt`` beside it goes along.
        output: folder of the zips, ``model_info.json`` (the zoo's list: SHA-1 and address of each zip) and
            ``NAME_vVERSION.large_files.yml`` where a file is large.
        trained: the merged configuration of the training (``--save_execute_config``), whose network, image size and
            classes the bundle then has; its own when None.
        url: address of the folder where the zips will be published.

    Returns:
        the zip.

    Raises:
        InputError: when something is missing, or the weights are another network's.
    """
    metadata = read_json_object(bundle / "configs" / "metadata.json")
    name = f"{bundle.name}_v{metadata['version']}"
    if not weights.is_file():
        raise InputError(f"The checkpoint {weights} of {bundle.name} does not exist.")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as temporary:
        folder = Path(temporary) / bundle.name
        shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns(*LEFT_OUT, ".*"))
        if trained is not None:
            _take_over(folder, read_json_object(trained))
        models = folder / "models"
        models.mkdir()
        shutil.copyfile(weights, models / "model.pt")
        adapter = weights.with_name("adapter.pt")
        if adapter.is_file():
            shutil.copyfile(adapter, models / "adapter.pt")
        _check_weights(folder, weights)
        large = _large_files(folder, f"{url.rstrip('/')}/{name}" if url else None)
        archive = output / f"{name}.zip"
        partial = Path(temporary) / archive.name
        _zip(folder, partial)
        os.replace(partial, archive)
    if large:
        write_atomic(output / f"{name}.large_files.yml", large.encode())
    _add_to_list(output / "model_info.json", name, archive, url)
    return archive


def weights_of_run(run: Path) -> dict[str, tuple[Path, Path]]:
    """The checkpoints that ``doll run`` left, and the configuration of each.

    Args:
        run: its output folder.

    Returns:
        name of the bundle to (checkpoint, merged configuration); the classifier is the member first by name.

    Raises:
        InputError: when the folder holds no finished stage with weights.
    """
    executed = run / "configs" / "executed"
    found: dict[str, tuple[Path, Path]] = {}
    for config in (path for pattern in TRAININGS for path in sorted(executed.glob(pattern))):
        content = read_json_object(config)
        checkpoint = ConfigParser(content).get_parsed_content("checkpoint") if "checkpoint" in content else None
        root = Path(str(content.get("bundle_root", "")))
        if checkpoint is not None and Path(checkpoint).is_file():
            found.setdefault(root.name, (Path(checkpoint), config))
    if not found:
        raise InputError(f"{run} holds no checkpoint of a finished stage; give the output folder of doll run.")
    return found


def _named(entries: str | Sequence[str], option: str) -> dict[str, Path]:
    named = {}
    for entry in list_argument(entries):
        name, equals, path = str(entry).partition("=")
        if not equals:
            raise InputError(f"--{option} is NAME=FILE, not '{entry}'.")
        named[name] = Path(path)
    return named


def _take_over(folder: Path, trained: Mapping[str, Any]) -> None:
    """Give every configuration of a bundle the network, the image size and the classes of its training."""
    values = {name: trained[name] for name in TAKEN_OVER if name in trained}
    for path in (folder / "configs" / f"{name}.json" for name in ("train", "inference")):
        if path.is_file():
            content = read_json_object(path)
            content |= {name: value for name, value in values.items() if name in content}
            path.write_text(readable_json(content))
    classes = values.get("classes")
    if isinstance(classes, list):
        path = folder / "configs" / "metadata.json"
        metadata = read_json_object(path)
        output = metadata["network_data_format"]["outputs"]["pred"]
        output["channel_def"] = {str(number): label for number, label in enumerate(classes)}
        output["num_channels"] = len(classes)
        path.write_text(readable_json(metadata))


def readable_json(content: Mapping[str, Any]) -> str:
    """JSON of four spaces, lists of plain values on one line where they fit."""
    text = json.dumps(content, indent=4, ensure_ascii=False)

    def join(match: re.Match[str]) -> str:
        line = "[" + re.sub(r",\n\s+", ", ", match.group(1)) + "]"
        return line if len(line) <= 80 else match.group(0)

    return re.sub(r"\[\n\s+([^\[\]{}]*?)\n\s+\]", join, text) + "\n"


def _check_weights(folder: Path, weights: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    try:
        load_weights(parser.get_parsed_content("network_def"), weights)
    except InputError as error:
        raise InputError(
            f"{error} To package {folder.name}, also give the configuration that it was trained with."
        ) from error


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


def _add_to_list(path: Path, name: str, archive: Path, url: str | None) -> None:
    known = read_json_object(path) if path.is_file() else {}
    digest = hashlib.sha1(archive.read_bytes(), usedforsecurity=False).hexdigest()
    address = f"{url.rstrip('/')}/{archive.name}" if url else archive.name
    known[name] = {"checksum": digest, "source": address}
    write_atomic(path, (json.dumps(dict(sorted(known.items())), indent=4) + "\n").encode())
