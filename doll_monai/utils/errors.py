"""Mistakes in a user's data or configuration end in one sentence and a non-zero exit, not in pages of traceback."""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

TRACEBACK_VARIABLE = "DOLL_MONAI_TRACEBACK"
"""Environment variable: set to 1, the full traceback is shown as well."""

_IN_WORKER = re.compile(r"^doll_monai\.errors\.InputError: (.+)$", re.MULTILINE)


class InputError(ValueError):
    """Something in the user's data or configuration is wrong; the message says what, where, and what to do."""


def switch(value: object, name: str = "the switch") -> bool:
    """A value that is on or off, however it was written: a command line gives ``true`` as text.

    Raises:
        InputError: when it is neither.
    """
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in ("true", "false"):
        raise InputError(f"{name} must be true or false, not '{value}'.")
    return word == "true"


def choice(options: Mapping[str, Any], name: str, what: str) -> Any:
    """One of several named things of a configuration.

    Args:
        options: name to thing.
        name: the name that was given.
        what: the id of the value that gives it, for the error.

    Raises:
        InputError: when there is no such name.
    """
    if name not in options:
        raise InputError(f"{what} must be one of {', '.join(options)}, not '{name}'.")
    return options[name]


def sentence_of(error: BaseException) -> str | None:
    """The sentence of the ``InputError`` behind an exception, or None.

    MONAI wraps an exception several times (in transforms, configuration expressions) and a ``DataLoader`` worker
    sends it as text, so the chain of causes and the text of each exception are searched.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        found = _IN_WORKER.findall(str(current))
        if found:
            return str(found[-1])
        if isinstance(current, InputError):
            return str(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return None


def explain_errors() -> None:
    """Let the interpreter end with the sentence of an ``InputError`` instead of its traceback.

    Bundles call it first in ``initialize``, programs at their start. All other exceptions are shown as ever, with the
    one behind them as the last line.
    """
    sys.excepthook = _excepthook
    logging.setLogRecordFactory(_log_record)


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from doll_monai.utils.progress import end_bars  # which imports this module

    end_bars()
    sentence = sentence_of(error)
    if kind is KeyboardInterrupt:
        print("Interrupted; what is finished stays, the same command continues.", file=sys.stderr)
    elif sentence is None or os.environ.get(TRACEBACK_VARIABLE) == "1":
        sys.__excepthook__(kind, error, trace)
    if sentence is None and kind is not KeyboardInterrupt:
        root = _root(error)
        sentence = f"unexpected {type(root).__name__}: {' '.join(str(root).split())}"
    if sentence is not None:
        print(f"Error: {sentence}", file=sys.stderr)


def _log_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """A log record; one that would show the traceback of an ``InputError`` only says that the run stops."""
    record = logging.LogRecord(*args, **kwargs)
    if record.levelno >= logging.ERROR and os.environ.get(TRACEBACK_VARIABLE) != "1":
        error = record.exc_info[1] if record.exc_info else None
        if (error is not None and sentence_of(error)) or "doll_monai.utils.errors.InputError" in record.getMessage():
            record.msg, record.args, record.exc_info = "The run stops; the reason is at the end.", (), None
    return record


def _root(error: BaseException) -> BaseException:
    """The first exception in a chain of causes."""
    seen = {id(error)}
    while error.__cause__ is not None and id(error.__cause__) not in seen:
        error = error.__cause__
        seen.add(id(error))
    return error


def run_program(program: Callable[..., object]) -> None:
    """Run a function as a command-line program with ``fire``; ``InputError`` ends it with its sentence, exit code 1.

    ``fire`` complains about an unknown option only after the function has run; here it is refused before, unless the
    function takes any (``**values``).
    """
    import fire

    explain_errors()
    parameters = inspect.signature(program).parameters
    known = list(parameters)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for argument in sys.argv[1:] if not takes_any else ():
        name = argument.removeprefix("--").partition("=")[0].replace("-", "_")
        if argument == "--":
            break
        if argument.startswith("--") and name not in {*known, "help"} and name.removeprefix("no") not in known:
            raise InputError(f"There is no option --{name}; there are: {', '.join(f'--{option}' for option in known)}.")
    fire.Fire(program)
