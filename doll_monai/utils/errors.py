"""Mistakes in a user's data or configuration, and how a program ends with one: in a sentence."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

TRACEBACK_VARIABLE = "DOLL_TRACEBACK"
"""Environment variable: set to 1, an error shows its traceback as well."""
INTERRUPTED = "Interrupted; what is finished stays, the same command continues."

P = ParamSpec("P")
T = TypeVar("T")
_IN_WORKER = re.compile(r"^doll_monai\.utils\.errors\.InputError: (.+)$", re.MULTILINE)


class InputError(ValueError):
    """Something in the user's data or configuration is wrong; the message says what, where, and what to do."""


def switch(value: object, name: str = "the switch") -> bool:
    """A value that is on or off, also as the text ``true`` of a command line; an ``InputError`` for any other."""
    word = str(value).lower()
    if word not in ("true", "false"):
        raise InputError(f"{name} must be true or false, not '{value}'.")
    return word == "true"


def sentence_of(error: BaseException) -> str | None:
    """The sentence of the ``InputError`` behind an exception, or None.

    MONAI wraps an exception several times (in transforms, configuration expressions) and a ``DataLoader`` worker
    sends it as text, so the chain of causes and the text of each exception are searched.
    """
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        if found := _IN_WORKER.findall(str(current)):
            return str(found[-1])
        if isinstance(current, InputError):
            return str(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return None


def _is_bundle_run() -> bool:
    """Whether this process is ``python -m monai.bundle``, and not a notebook, a server or a test."""
    return getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", None) == "monai.bundle.__main__"


def explained(function: Callable[P, T]) -> Callable[P, T]:
    """Let ``python -m monai.bundle`` end with a sentence where a function meets an ``InputError``.

    MONAI wraps an exception that is raised while a configuration is evaluated, and Python shows the outermost one last.
    So what configurations call (functions, constructors that check values, an engine's ``run``) turns the error into
    ``SystemExit``, which MONAI lets pass. Any other program sees the error as it is.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            if not _is_bundle_run():
                raise
            print(INTERRUPTED, file=sys.stderr)
            raise SystemExit(130) from None
        except Exception as error:
            sentence = sentence_of(error) if _is_bundle_run() else None
            if sentence is None or os.environ.get(TRACEBACK_VARIABLE) == "1":
                raise
            raise SystemExit(f"Error: {sentence}") from error

    return call
