"""``doll``: one command for all programs around the bundles."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import fire
from fire.decorators import SetParseFns

from doll_monai.utils.errors import INTERRUPTED, TRACEBACK_VARIABLE, InputError, sentence_of, switch
from doll_monai.utils.progress import Bar

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("doll_tools.run:demo", "all stages on drawn images"),
    "segment": ("doll_tools.run:segment", "masks of a folder of radiographs"),
    "prepare chexpert": ("doll_tools.prepare.chexpert:prepare_chexpert", "CheXpert, or a set in its layout"),
    "prepare nih": ("doll_tools.prepare.nih:prepare_nih", "NIH ChestX-ray14 with its boxes"),
    "prepare jsrt": ("doll_tools.prepare.jsrt:prepare_jsrt", "JSRT with SCR's masks"),
    "prepare lungs": ("doll_tools.prepare.lungs:prepare_lungs", "Montgomery and Shenzhen"),
    "prepare covid": ("doll_tools.prepare.covid:prepare_covid", "COVID-QU-Ex or QaTa-COV19"),
    "prepare folder": ("doll_tools.prepare.folder:prepare_folder", "your own folders of images"),
    "prepare masks": ("doll_tools.prepare.tables:prepare_masks", "a table of images and masks"),
    "prepare phantom": ("doll_tools.phantom.dataset:write_dataset", "drawn images in CheXpert's layout"),
    "run": ("doll_tools.run:run", "all stages, from radiographs to a segmentation network"),
    "check": ("doll_tools.check.command:check", "a bundle and values for it, before it runs"),
    "evaluate": ("doll_tools.evaluate.command:evaluate_labels", "label quality check against ground truth"),
    "evaluate table": ("doll_tools.evaluate.label_table:write_label_table", "one row for each way to make labels"),
    "compare": ("doll_tools.compare.command:compare", "few-shot benchmark of initializations"),
    "compare controls": ("doll_tools.compare.controls:write_control_labels", "labels that do not know the image"),
    "compare summarize": ("doll_tools.compare.few_shot:summarize_comparisons", "tables of several benchmarks"),
    "benchmark attribution": ("doll_tools.evaluate.attribution_benchmark:benchmark", "speed beside captum"),
    "report": ("doll_tools.report.page:report", "report.html of a run"),
    "report figure": ("doll_tools.report.figures:figure", "figures of the kinds that the paper has"),
    "annotate": ("doll_tools.annotate.command:annotate", "MONAI Label on your own radiographs"),
    "annotate export": ("doll_tools.annotate.export:export", "saved masks as a datalist"),
    "annotate pseudonymize": ("doll_tools.annotate.pseudonymize:pseudonymize", "links to images under other names"),
    "package bundles": ("doll_tools.release.bundles:package_bundles", "bundles with their weights, for a model zoo"),
    "package labels": ("doll_tools.release.labels:package_labels", "finished labels as a data set"),
    "package committee": ("doll_tools.release.committee:write_committee", "one network of several classifiers"),
}
"""Command to the function behind it and what it is for. A function's docstring is its help."""
KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (switch, "true or false"),
}
"""Annotation of an option to what reads its text, and what that must be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command and options; the program's own by default.

    Returns:
        exit status: 0, 1 after an error, 2 for an unknown command, 130 after Ctrl-C.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in COMMANDS), None)
    if name is None:
        return _help(words)
    try:
        module, _, function = COMMANDS[name][0].partition(":")
        _run(getattr(importlib.import_module(module), function), name, words[len(name.split()) :])
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
    except Exception as error:
        sentence = sentence_of(error)
        package = error.name if isinstance(error, ModuleNotFoundError) and error.name else "doll_tools"
        if package.split(".")[0] not in ("doll_monai", "doll_tools"):
            sentence = f'{package} is not installed; pip install "doll-monai[tools]" has what doll needs.'
        if sentence is None:
            raise
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            traceback.print_exception(error)
        Bar.close_all()
        print(f"Error: {sentence}", file=sys.stderr)
        return 1
    return 0


def _run(function: Callable[..., Any], name: str, arguments: list[str]) -> None:
    """Call the function with options as ``fire`` reads them; one that it does not have is refused before it runs."""
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {*parameters, *(f"no{parameter}" for parameter in parameters), "help"}
    for option in (word[2:].partition("=")[0].replace("-", "_") for word in arguments if word.startswith("--")):
        if option not in known and not takes_any:
            options = ", ".join(f"--{parameter}" for parameter in parameters)
            raise InputError(f"doll {name} has no option --{option}; there are: {options}.")
    kinds = {option.name: str(option.annotation).removesuffix(" | None") for option in parameters.values()}
    SetParseFns(**{option: partial(_value, option, kind) for option, kind in kinds.items() if kind in KINDS})(function)
    asked = "--help" in arguments  # which a function that takes any option would take as its own
    fire.Fire(function, command=["--", "--help"] if asked else arguments, name=f"doll {name}")


def _value(option: str, kind: str, text: str) -> Any:
    """The value of an option, of the type that the function's annotation names: a folder may be called 2023."""
    read, description = KINDS[kind]
    try:
        return read(text)
    except ValueError as error:
        raise InputError(f"--{option} must be {description}, not '{text}'.") from error


def _help(words: Sequence[str]) -> int:
    group = next(iter(words), "")
    of_group = {name: about for name, (_, about) in COMMANDS.items() if name.split()[0] == group}
    shown = of_group or {name: about for name, (_, about) in COMMANDS.items()}
    print("usage: doll COMMAND [OPTIONS]; doll COMMAND --help explains the options\n")
    print("\n".join(f"  doll {name:22} {about}" for name, about in shown.items()))
    asked = not words or words[-1] in ("help", "--help", "-h")
    if asked and (of_group or len(words) < 2):
        return 0
    print(f"\nError: there is no command 'doll {' '.join(words[:2])}'.", file=sys.stderr)
    return 2
