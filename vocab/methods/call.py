"""A method with options, as written on the command line: ``constituents(last)``, ``wechsel(neighbors=5)``.

Options are the scalar keywords of the method's function, so that there is one list of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from align.errors import UsageError
from align.mapping import LinearMap
from align.mapping.methods import METHODS as MAPPINGS
from align.normalize import unit
from vocab import methods
from vocab.methods import Method, Need

Value = bool | int | float | str
_SCALARS = (bool, int, float, str)
# Those with one matrix for the source side; the others map both sides.
_MAPPINGS = ("procrustes", "least-squares", "ridge", "rcsls", "rcsls-free")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Call:
    """A method and the options given to it, in the order of its keywords."""

    method: Method
    options: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        if not self.options:
            return self.method.name
        return f"{self.method.name}({', '.join(_printed(*option) for option in self.options)})"

    @property
    def needs(self) -> tuple[Need, ...]:
        """Material that the method needs; some mappings find their pairs without a lexicon."""
        given = dict(self.options)
        entry = MAPPINGS.get(str(given.get("mapping")))
        finds_pairs = entry is not None and (entry.seeds is not None or not entry.pairs)
        if "seeds" in options_of(self.method) and ("seeds" in given or finds_pairs):
            return tuple(need for need in self.method.needs if need != "lexicon")
        return self.method.needs

    def keywords(self) -> dict[str, Any]:
        """Keyword arguments of the method's function."""
        found: dict[str, Any] = dict(self.options)
        # seeds are made, and both sides mapped, where the method itself fits a mapping by its name
        if found.get("mapping") in _MAPPINGS and "seeds" not in found:
            found["mapping"] = _mapping(found["mapping"])
        return found


@cache
def options_of(method: Method) -> Mapping[str, tuple[Any, ...]]:
    """Names of a method's options, each with the types or the words that it may be."""
    function = getattr(methods, method.name.replace("-", "_"), None)
    if not inspect.isfunction(function):
        return {}
    hints = get_type_hints(function)
    found: dict[str, tuple[Any, ...]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name == "seed":
            continue
        hint = hints[name]
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if name == "mapping":
            found[name] = tuple(MAPPINGS) if str in parts else _MAPPINGS
            continue
        parts = tuple(part for part in parts if part is not type(None))
        words = [word for part in parts if get_origin(part) is Literal for word in get_args(part)]
        kinds = [part for part in parts if part in _SCALARS]
        if len(words) + len(kinds) and all(part in _SCALARS or get_origin(part) is Literal for part in parts):
            found[name] = (*words, *kinds)
    return found


def parse_call(method: Method, text: str) -> Call:
    """Read the options of a method: ``name=value``, a word that one option may be, or the name of a switch.

    Raises
    ------
    UsageError
        For an option that the method lacks, that is given twice, or a value that it may not have.
    """
    known = options_of(method)
    given: dict[str, Value] = {}
    for part in (part.strip() for part in text.split(",")):
        name, is_pair, value = (piece.strip() for piece in part.partition("="))
        if not is_pair:
            name, value = _named(method, part)
        name = name.replace("-", "_")
        if name not in known:
            raise UsageError(
                f"{method.name} has no option {name!r}", got=part, wanted=_listed(known) or "no options"
            )
        if name in given:
            raise UsageError(f"{method.name} was given {name} twice", got=text.strip())
        given[name] = _value(method, name, value)
    return Call(method, tuple((name, given[name]) for name in known if name in given))


def _named(method: Method, word: str) -> tuple[str, str]:
    """Option and value that a single word stands for."""
    known = options_of(method)
    if bool in known.get(word.replace("-", "_"), ()):
        return word, "true"
    owners = [name for name, kinds in known.items() if word in kinds]
    if len(owners) == 1:
        return owners[0], word
    raise UsageError(
        f"{method.name} does not know what {word!r} is",
        wanted=_listed(known) or "no options",
        hint=None if not owners else f"say {' or '.join(f'{owner}={word}' for owner in owners)}",
    )


def _value(method: Method, name: str, text: str) -> Value:
    kinds = options_of(method)[name]
    if text in kinds:
        return text
    for kind in kinds:
        try:
            if kind is bool:
                return _BOOLEANS[text.lower()]
            if kind in (int, float):
                number: int | float = kind(text)
                if np.isfinite(number):
                    return number
            if kind is str and text:
                return text
        except (KeyError, ValueError, OverflowError):
            continue
    raise UsageError(f"{method.name} cannot take this {name}", got=text or "nothing", wanted=_kinds(kinds))


def _printed(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return name if value else f"{name}=false"
    return (
        f"{name}={value:g}"
        if isinstance(value, float) and float(f"{value:g}") == value
        else f"{name}={value}"
    )


def _listed(known: Mapping[str, tuple[Any, ...]]) -> str:
    return ", ".join(f"{name}={_kinds(kinds)}" for name, kinds in known.items())


def _kinds(kinds: tuple[Any, ...]) -> str:
    names = {bool: "true|false", int: "INTEGER", float: "NUMBER", str: "TEXT"}
    return "|".join(kind if isinstance(kind, str) else names[kind] for kind in kinds)


def _mapping(name: str) -> Callable[..., LinearMap]:
    """A mapping method of :mod:`align.mapping` as methods call it: with pairs and weights, on raw rows.

    Where the method is meant for unit rows, it is fitted on these; what follows are cosines, so the length of
    the rows that are mapped does not matter.
    """
    entry = MAPPINGS[name]
    function, settings = entry.load(), dict(entry.settings)
    takes_weights = "weights" in inspect.signature(function).parameters

    def fit(
        X: NDArray[np.floating],
        Y: NDArray[np.floating],
        *,
        pairs: NDArray[np.integer],
        weights: NDArray[np.floating],
    ) -> LinearMap:
        if "unit" in entry.normalize and name.startswith("rcsls"):
            X, Y = np.asarray(unit(X)), np.asarray(unit(Y))
        if takes_weights:
            settings["weights"] = weights
        fitted: LinearMap = function(X, Y, pairs=pairs, **settings)
        return fitted

    return fit
