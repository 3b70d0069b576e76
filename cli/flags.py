"""Flags from an options dataclass, so that defaults and help texts stand in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from vocab.options import Lines

# What a command line can carry of a library type: a file where the library also takes lines.
_ON_SCREEN: dict[Any, Any] = {Lines: Path}

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; fetch and write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Fetch more than --max-mb without a question.")]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, help="Say more; repeatable.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def with_flags(
    options_class: type,
    command: Callable[..., Any],
    *,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
) -> Callable[..., Any]:
    """Give `command` one flag for every field of `options_class`, before its own parameters.

    Fields in `without`, or not in `only`, have no flag and keep their default. The command is called with its
    own parameters and ``options``, an instance built from the flags.
    """
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "options"
    ]
    hints = get_type_hints(options_class)
    flags = []
    flagged = [
        item
        for item in fields(options_class)
        if item.name not in without and (only is None or item.name in only)
    ]
    for item in flagged:
        # named only where typer would add a --no-... of its own
        names = [f"--{item.name.replace('_', '-')}"] if hints[item.name] is bool else []
        option = typer.Option(
            *names,
            help=item.metadata["help"],
            rich_help_panel=item.metadata["group"],
            readable=False,  # whoever reads the file says what is wrong with it
        )
        annotation: Any = Annotated
        annotation = annotation[_flag_type(hints[item.name]), option]
        default: Any = [] if item.default == () else item.default
        if item.default is MISSING:
            default = inspect.Parameter.empty
        flags.append(
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )

    def run(*args: Any, **values: Any) -> Any:
        given = {item.name: values.pop(item.name) for item in flagged}
        for name, value in given.items():
            if isinstance(value, list):
                given[name] = tuple(value)
        return command(*args, **values, options=options_class(**given))

    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *flags]}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _flag_type(hint: Any) -> Any:
    if hint in _ON_SCREEN:
        return _ON_SCREEN[hint]
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return list[_flag_type(arguments[0])]  # type: ignore[misc]
        return tuple[tuple(_flag_type(part) for part in arguments)]  # type: ignore[misc]
    if type(None) in arguments:
        (inner,) = [part for part in arguments if part is not type(None)] or [None]
        return _flag_type(inner) | None
    return hint
