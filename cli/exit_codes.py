"""From an error to its line on the screen and the command's exit code."""

from __future__ import annotations

import errno

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
        return error.message
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
