"""Methods combined on the command line: ``a > b`` falls back row by row, ``0.7*a + 0.3*b`` mixes.

``>`` binds loosest: ``0.7*trans-tokenization + 0.3*wechsel > constituents`` mixes first. A method may be
given options (:mod:`vocab.methods.call`): ``0.5*constituents(first) + 0.5*focus(temperature=0.1)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from align.errors import UsageError
from vocab.methods import METHODS, Method, Need, find_method
from vocab.methods.call import Call, parse_call
from vocab.plan import TransferPlan

_TERM = re.compile(
    r"(?:(?P<weight>[0-9]*\.?[0-9]+)\s*\*\s*)?(?P<name>[A-Za-z][A-Za-z0-9-]*)\s*(?:\((?P<options>[^()]*)\))?\Z"
)
_EXAMPLE = '"0.7*trans-tokenization + 0.3*wechsel(neighbors=5) > constituents"'


@dataclass(frozen=True)
class Mixture:
    """Methods with weights above 0 that sum to 1; usually one method with weight 1."""

    terms: tuple[tuple[float, Call], ...]

    def __str__(self) -> str:
        if len(self.terms) == 1:
            return str(self.terms[0][1])
        return " + ".join(f"{weight:g}*{call}" for weight, call in self.terms)


@dataclass(frozen=True)
class Expression:
    """Mixtures in the order in which they fill rows."""

    chain: tuple[Mixture, ...]

    def __str__(self) -> str:
        return " > ".join(str(mixture) for mixture in self.chain)

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods named, in order, each once."""
        named = [call.method for mixture in self.chain for _, call in mixture.terms]
        return tuple(dict.fromkeys(named))

    @property
    def needs(self) -> tuple[Need, ...]:
        """The material that the methods need, each kind once."""
        calls = [call for mixture in self.chain for _, call in mixture.terms]
        return tuple(dict.fromkeys(need for call in calls for need in call.needs))

    @property
    def fallbacks(self) -> tuple[Method, ...]:
        """What fills the rows that are still empty: the fallbacks of the last method named."""
        last = self.chain[-1].terms[-1][1].method
        return tuple(METHODS[name] for name in last.fallbacks if METHODS[name] not in self.methods)


def parse_expression(text: str) -> Expression:
    """Read a method, a fallback chain or a weighted mixture.

    Raises
    ------
    UsageError
        For an unknown method or option, text that is none of these, a weight of 0, or weights that do not
        sum to 1.
    """
    return Expression(tuple(_parse_mixture(part) for part in text.split(">")))


def _parse_mixture(text: str) -> Mixture:
    found = [_TERM.match(part.strip()) for part in text.split("+")]
    terms = []
    for match in found:
        if match is None:
            raise UsageError("not a method", got=repr(text.strip()), wanted=f"a name, or {_EXAMPLE}")
        weight = match["weight"]
        if weight is None and len(found) > 1:
            raise UsageError("a mixture needs a weight for every method", got=text.strip(), wanted=_EXAMPLE)
        if weight is not None and float(weight) == 0:
            raise UsageError(
                "a method of weight 0 adds nothing",
                got=match.group().strip(),
                wanted=_EXAMPLE,
                hint="leave it out; `a > b` fills from b what a leaves empty",
            )
        if match["name"] == "auto":
            raise UsageError("auto is a choice of --method alone", got=text.strip(), hint="name a method")
        method = find_method(match["name"])
        call = parse_call(method, match["options"]) if (match["options"] or "").strip() else Call(method)
        terms.append((1.0 if weight is None else float(weight), call))
    total = sum(weight for weight, _ in terms)
    if abs(total - 1.0) > 1e-6:
        raise UsageError("the weights of a mixture do not sum to 1", got=f"{total:g}", where=text.strip())
    return Mixture(tuple(terms))


def evaluate(
    expression: Expression, run: Callable[[Call], TransferPlan], first: TransferPlan
) -> TransferPlan:
    """Fill the empty rows of `first` from each mixture in turn."""
    plan = first
    for mixture in expression.chain:
        (total, call), *others = mixture.terms
        mixed = run(call)
        for weight, other in others:
            total += weight
            mixed = mixed.mix(run(other), 1 - weight / total)
        plan = plan.then(mixed)
    return plan
