"""From an error to its line on the screen and the command's exit code."""

from __future__ import annotations

import errno
import re
from dataclasses import fields

from align.compass_options import TrainOptions
from align.errors import (
    ConvergenceError,
    InputError,
    OutputError,
    ToolkitError,
    UnavailableError,
    UsageError,
)

INTERRUPTED = 130
UNEXPECTED = 1

EXIT_CODES: dict[type[ToolkitError], int] = {
    UsageError: 2,
    InputError: 3,
    OutputError: 3,
    ConvergenceError: 4,
    UnavailableError: 5,
}


_NUMBERS = {"integer": "a whole number", "number": "a number"}


def usage_error(error: BaseException, said: str) -> UsageError:
    """The parser's own error as one of ours: the flag, what was given, what is wanted.

    Parameters
    ----------
    error : BaseException
        Caused by a validation error that knows what was given, or not.
    said : str
        The parser's message.
    """
    found = re.match(r"Invalid value for '([^']+)': (?:Value error, )?(.*)", said, re.DOTALL)
    hint = "see vocab-transfer --help"
    if found is None:
        return UsageError(said, hint=hint)
    flag, why = found.group(1), found.group(2).strip().rstrip(".")
    details: list[dict[str, object]] = getattr(error.__cause__, "errors", list)()
    quoted = re.match(r"'([^']*)'", why)
    got = repr(details[0]["input"]) if details else quoted and quoted.group(0)
    if " is not one of " in why:
        return UsageError(flag, got=got, wanted=f"one of {why.split(' is not one of ')[1]}", hint=hint)
    kind = next((wanted for name, wanted in _NUMBERS.items() if f"valid {name}" in why), None)
    if kind is None or got is None:
        return UsageError(f"{flag}: {why}", hint=hint)
    return UsageError(flag, got=got, wanted=kind, hint=hint)


_LIBRARY_NAMES = re.compile("`(" + "|".join(item.name for item in fields(TrainOptions)) + ")`")


def with_flags_named(line: str) -> str:
    """A message of the library, where options in backticks are named as the command line does."""
    return _LIBRARY_NAMES.sub(lambda found: "--" + found.group(1).replace("_", "-"), line)


def exit_code(error: BaseException) -> int:
    """The exit code of an error: 2 usage, 3 bad input or output, 4 not converged, 5 missing or offline."""
    for error_class, code in EXIT_CODES.items():
        if isinstance(error, error_class):
            return code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return EXIT_CODES[OutputError] if isinstance(error, OSError) else UNEXPECTED


def one_line(error: BaseException) -> str:
    """What the screen says of an error."""
    if isinstance(error, ToolkitError):
        return with_flags_named(error.message)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was left half-written"
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        return f"{place}{what}."
    if isinstance(error, MemoryError):
        return "out of memory; try less text, or a smaller vocabulary."
    first = (str(error).splitlines() or [""])[0]
    return f"unexpected {type(error).__name__}: {first} Run again with --debug and report it."
