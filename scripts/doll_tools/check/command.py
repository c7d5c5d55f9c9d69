"""What a command line gives to ``python -m monai.bundle run``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.scripts import run

from doll_monai.utils.errors import InputError
from doll_tools.check.configuration import check_configuration
from doll_tools.check.values import check_values

OWN = tuple(name for name in inspect.signature(run).parameters if name != "override")
"""Arguments of ``run`` itself."""
PROGRAM = ("monai", "bundle", "__main__.py")


def check_command(arguments: Sequence[str] | None = None) -> None:
    """Check what ``monai.bundle run`` was given; bundles call it in ``initialize``, before anything is made.

    Checked are the values of second and further configuration files, of the command line and of ``--args_file``, then
    the configuration that comes of them, and that the checkpoint to be loaded is there. Nothing is checked where
    another program runs the workflow.

    Args:
        arguments: the command line; this process's when None.

    Raises:
        InputError: for the first mistake.
    """
    if arguments is None:
        if Path(sys.argv[0]).parts[-3:] != PROGRAM:
            return
        arguments = sys.argv
    if len(arguments) < 2 or arguments[1] not in ("run", "run_workflow"):
        return
    own, given = split_arguments(arguments[2:])
    if "config_file" in own:
        config = check_files(files_of(own["config_file"]), given, own.get("tracking"))
        _check_checkpoints(config)


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Args: arguments, as ``--name value`` or ``--name=value``. Returns: those of ``run`` itself, and the others."""
    values: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name.startswith("-"):
            alone = not equals and (not rest or rest[0].startswith("--"))
            text = "True" if alone else value if equals else rest.pop(0)
            values[name.lstrip("-").replace("-", "_")] = DefaultParseValue(text)
    if "args_file" in values:
        values = {**ConfigParser.load_config_file(values["args_file"]), **values}
    own = {name: values.pop(name) for name in OWN if name in values}
    return own, values


def files_of(config_file: Any) -> list[str]:
    """Args: config_file, one file, several with commas between, or a list. Returns: their names."""
    return config_file.split(",") if isinstance(config_file, str) else [str(file) for file in config_file]


def check_files(files: Sequence[str], given: Mapping[str, Any], tracking: Any = None) -> dict[str, Any]:
    """Check values against some configuration files, and what the later files change of the first.

    Args:
        files: configuration files.
        given: id to value, such as those of a command line.
        tracking: tracking settings, a file or the word mlflow; their ids may be given too.

    Returns:
        the merged configuration with the values.

    Raises:
        InputError: when a file is missing or a value is wrong.
    """
    for file in files:
        if not Path(file).is_file():
            raise InputError(f"The configuration file {file} does not exist.")
    changes = [ConfigParser.load_config_file(file) for file in files]
    also = _tracking_ids(tracking)
    for number in range(1, len(files)):
        before = ConfigParser.load_config_files(list(files[:number]))
        check_values(before, changes[number], also, where=_names(files[:number]), named=[*changes[number:], given])
    merged = ConfigParser.load_config_files(list(files))
    check_values(merged, given, also, where=_names(files))
    parser = ConfigParser(merged)
    parser.update(dict(given))
    config: dict[str, Any] = parser.get()
    check_configuration(config)
    return config


def _names(files: Sequence[str]) -> str:
    return " and ".join(Path(file).name for file in files)


def _tracking_ids(tracking: Any) -> list[str]:
    if tracking is None:
        return []
    if isinstance(tracking, str) and not Path(tracking).is_file():
        if tracking != "mlflow":
            raise InputError(f"The tracking settings {tracking} do not exist; give a file, or mlflow.")
        return ["tracking_uri", "experiment_name", "run_name", "save_execute_config", "output_dir"]
    return list(ConfigParser.load_config_files(tracking)["configs"])


def _check_checkpoints(config: dict[str, Any]) -> None:
    """A checkpoint that the network is made with must be there before hours are spent on caching images."""
    if "load_weights(" in str(config.get("network")):
        path = ConfigParser(config).get_parsed_content("checkpoint")
        if not Path(path).is_file():
            raise InputError(f"The checkpoint {path} does not exist; give --checkpoint, or train one first.")
