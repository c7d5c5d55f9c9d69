"""Does a configuration name things that exist, and give them what they take?"""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from monai.bundle import ComponentLocator, ConfigComponent

from doll_monai.utils.errors import InputError
from doll_tools.check.ids import MISSING, SEPARATOR, did_you_mean, is_text_of, look_up, references, walk

TARGET = "_target_"
PROVIDED = ("_meta_",)
"""Ids that MONAI adds to every configuration."""


def check_configuration(config: Mapping[str, Any]) -> None:
    """Check every component and every reference of a merged configuration, without making or evaluating anything.

    Raises:
        InputError: for the first target that cannot be found, the first argument that a target does not take or lacks,
            the first id that is named but not there.
    """
    for name, value in walk(config):
        if isinstance(value, Mapping) and TARGET in value:
            _check_component(name, value)
        for reference in references(value):
            if reference.split(SEPARATOR)[0] not in PROVIDED and look_up(config, reference) is MISSING:
                known = (other for other, _ in walk(config) if other.count(SEPARATOR) == reference.count(SEPARATOR))
                raise InputError(
                    f"The value '{name}' names '@{reference}', and there is no such value."
                    + did_you_mean(reference, known)
                )


def parameters_of(component: Mapping[str, Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a component's target; None where they are not known.

    Raises:
        InputError: when the target cannot be found.
    """
    target = component[TARGET]
    if not isinstance(target, str) or is_text_of(target, "$@%"):
        return None
    found = _locate(target)
    try:
        return inspect.signature(found).parameters
    except (TypeError, ValueError):
        return None


def takes(parameters: Mapping[str, inspect.Parameter], name: str) -> bool:
    """Whether a function with these parameters takes a keyword."""
    any_name = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return any_name or (name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY)


def _check_component(name: str, component: Mapping[str, Any]) -> None:
    parameters = parameters_of(component)
    if parameters is None:
        return
    given = [key for key in component if key not in ConfigComponent.non_arg_keys]
    for key in given:
        if not takes(parameters, key):
            raise InputError(
                f"The value '{name}' gives '{key}' to {component[TARGET]}, which does not take it."
                + did_you_mean(key, parameters)
            )
    if component.get("_mode_", "default") == "default":
        for key, parameter in parameters.items():
            single = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            if single and parameter.default is inspect.Parameter.empty and key not in given:
                raise InputError(f"The value '{name}' does not give {component[TARGET]} its '{key}'.")


@cache
def _locate(target: str) -> Callable[..., Any]:
    name = ConfigComponent(config={TARGET: target}, id="", locator=_locator()).resolve_module_name()
    found = pydoc.locate(str(name))
    if not callable(found):
        raise InputError(f"There is no '{target}' to be found; correct its name, or install the package that has it.")
    return found


@cache
def _locator() -> ComponentLocator:
    return ComponentLocator()
