"""``doll check``: are a bundle's configurations, and values given for them, right? Said before anything runs."""

from __future__ import annotations

import inspect
import os
import pydoc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser, ReferenceResolver
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from doll_monai.utils.errors import InputError

WORKFLOWS = ("train", "train,evaluate", "train,multi_gpu_train", "inference", "inference,evaluate")
"""Configurations that are run together, where a bundle has them."""
PROGRAMS = ("imports", "initialize", "run", "finalize")
"""Ids that MONAI looks for by itself."""
LOCATOR = ComponentLocator()


class UnknownValueError(InputError):
    """A value is given that the configuration does not have."""


def check(
    bundle: str, config_file: str | Sequence[str] | None = None, tracking: str | None = None, **values: Any
) -> None:
    """Check a bundle as ``python -m monai.bundle run`` would be given the same values; nothing runs.

    Args:
        bundle: the bundle's folder, such as bundles/lung_cxr_segmentation.
        config_file: one file or a list of files; without it all of the bundle's own workflows are checked.
        tracking: tracking settings, a file or the word mlflow.
        values: any value of the configuration, as --image_size [192,192] --network_def::tuning lora.

    Raises:
        InputError: for the first mistake; a value that only some of the workflows have is right.
    """
    configs = Path(bundle) / "configs"
    if not (configs / "metadata.json").is_file():
        raise InputError(f"{bundle} is no bundle: it has no configs/metadata.json.")
    workflows = [[str(configs / f"{name}.json") for name in names.split(",")] for names in WORKFLOWS]
    workflows = [files for files in workflows if all(map(os.path.isfile, files))]
    if config_file is not None:
        workflows = [config_file.split(",") if isinstance(config_file, str) else list(config_file)]
    elif (configs / "train.json").is_file():
        workflows.remove([str(configs / "inference.json"), str(configs / "evaluate.json")])
    unknown: list[UnknownValueError] = []
    for files in workflows:
        try:
            _check_files(files, values, tracking)
            print(f"{' and '.join(Path(file).name for file in files)}: right")
        except UnknownValueError as error:
            unknown.append(error)
    if len(unknown) == len(workflows):
        raise unknown[0]


def _check_files(files: Sequence[str], given: Mapping[str, Any], tracking: str | None) -> None:
    for file in [*files, *([tracking] if tracking and tracking not in DEFAULT_EXP_MGMT_SETTINGS else [])]:
        if not os.path.isfile(file):
            raise InputError(f"The configuration file {file} does not exist.")
    settings: Any = DEFAULT_EXP_MGMT_SETTINGS.get(str(tracking)) or ConfigParser.load_config_files(tracking or {})
    contents = [ConfigParser.load_config_file(file) for file in files]
    naming = [text for content in [*contents, given] for text in _texts(content)]
    for number, added in enumerate([*contents[1:], given], start=1):
        parser = ConfigParser({**settings.get("configs", {}), **ConfigParser.load_config_files(list(files[:number]))})
        check_values(parser, added, naming, " and ".join(Path(file).name for file in files[:number]))
    parser.update(dict(given))
    for name, value in _walk(parser.get()):
        for argument in value if isinstance(value, dict) and "_target_" in value else ():
            _check_argument(name, value, argument)


def check_values(parser: ConfigParser, given: Mapping[str, Any], naming: Iterable[str], where: str) -> None:
    """Check values that replace those of a configuration, called ``where`` in the ``InputError``, or are added to it.

    A new value must be an argument that its component takes, an entry of a table of free names, or named as ``@id`` by
    one of the texts ``naming``.
    """
    named = [f"{reference}::" for text in naming for reference in ReferenceResolver.match_refs_pattern(text)]
    for key in given:
        name = ReferenceResolver.normalize_id(key).removeprefix("+")
        above, _, last = name.rpartition("::")
        parent = parser.get(above) if above else None
        if name in parser:
            continue
        if isinstance(parent, dict) and "_target_" in parent:
            _check_argument(above, parent, last)
        elif not any(reference.startswith(f"{name}::") for reference in named):
            table = isinstance(parent, dict) and not any(isinstance(item, (dict, list)) for item in parent.values())
            if not table and not _is_beyond(parser, name) and name not in PROGRAMS:
                known = [other for other, _ in _walk(parser.get())]
                raise UnknownValueError(f"There is no value '{name}' in {where}.{_near(name, known)}")


def _check_argument(name: str, component: Mapping[str, Any], argument: str) -> None:
    """Refuse an argument that the target of a component does not take."""
    target = component["_target_"]
    if _is_reference(target):
        return
    found: Any = pydoc.locate(str(ConfigComponent(component, locator=LOCATOR).resolve_module_name()))
    if not callable(found):
        raise InputError(f"There is no '{target}' to be found; correct its name, or install the package that has it.")
    if argument in ConfigComponent.non_arg_keys:
        return
    signature = inspect.signature(found)
    try:
        signature.bind_partial(**{argument: None})
    except TypeError as error:
        near = _near(argument, signature.parameters)
        raise InputError(f"{target} ('{name}') takes no '{argument}'.{near}") from error


def _walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every id of a configuration with its value, outer ones first."""
    yield name, value
    items: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _walk(child, f"{name}::{key}" if name else str(key))


def _texts(config: Any) -> list[str]:
    return [value for _, value in _walk(config) if isinstance(value, str)]


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def _is_beyond(parser: ConfigParser, name: str) -> bool:
    """Whether an id lies in what an expression or another file gives, which is not known before it is evaluated."""
    parts = name.split("::")
    return any(_is_reference(parser.get("::".join(parts[:depth]))) for depth in range(1, len(parts)))


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
