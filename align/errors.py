"""The one exception family of the toolkit.

Every message answers, in one line, what went wrong, what was found, what was wanted, where, and what to do
next. The command line prints that line and maps the class to an exit code; a library user catches
:class:`ToolkitError` and reads the parts.
"""

from __future__ import annotations


class ToolkitError(Exception):
    """Base of every error that a user can cause.

    Parameters
    ----------
    what : str
        What went wrong, without a full stop.
    got, wanted, where, hint : str, optional
        What was found, what was expected, the place (``file:line``, a tensor's name, a flag) and the next
        step. Absent parts are left out of the message.
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        wanted: object = None,
        where: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.got = got
        self.wanted = wanted
        self.where = where
        self.hint = hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message on one line."""
        parts = [self.what]
        if self.where is not None:
            parts[0] = f"{self.where}: {self.what}"
        details = []
        if self.got is not None:
            details.append(f"got {self.got}")
        if self.wanted is not None:
            details.append(f"wanted {self.wanted}")
        if details:
            parts[0] += f" ({', '.join(details)})"
        if self.hint:
            parts.append(self.hint[0].upper() + self.hint[1:])
        return " ".join(part if part.endswith((".", "?")) else f"{part}." for part in parts)

    def __reduce__(self) -> tuple[object, ...]:
        # keyword-only arguments do not survive the default pickling, and worker processes pickle errors
        return (_rebuild, (type(self), self.what, self.got, self.wanted, self.where, self.hint))


def _rebuild(
    cls: type[ToolkitError], what: str, got: object, wanted: object, where: object, hint: str | None
) -> ToolkitError:
    return cls(what, got=got, wanted=wanted, where=where, hint=hint)


class UsageError(ToolkitError):
    """Flags or arguments that contradict each other, or name something that does not exist."""


class InputError(ToolkitError):
    """A file, an array or a model that cannot be used as it is."""


class OutputError(ToolkitError):
    """The result cannot be written: the directory exists, is not writable, or the disk is full."""


class ConvergenceError(ToolkitError):
    """An iterative method stopped without an answer that can be used."""


class UnavailableError(ToolkitError):
    """Something that is not on this machine: an optional package, or a file that needs the network."""
