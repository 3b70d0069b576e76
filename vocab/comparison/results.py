"""What a comparison of methods found, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vocab.comparison.leave_out import Recreated
from vocab.evaluation import BitsPerByte, Retrieval
from vocab.plan.rows import OriginShare
from vocab.progress import Decision

SOURCE, SHUFFLED = "the source model", "constituents, shuffled"
_TELLING, _OF_CHANCE = 0.05, 5  # P@1, and how many times what guessing finds
_BY_RETRIEVAL, _BY_RECREATED, _BY_BITS = (
    "retrieval (MRR)",
    "recreated tokens (centred cosine)",
    "bits per byte",
)
# by what a comparison may be ordered, and why by that
ORDERS = {
    _BY_RETRIEVAL: "the figure nearest to what the model is for",
    _BY_RECREATED: "as too few sentences find their translation for retrieval to tell methods apart",
    _BY_BITS: "as neither retrieval nor recreated tokens tell methods apart here",
}


@dataclass(frozen=True)
class MethodResult:
    """What one method did; figures that could not be had are None.

    Attributes
    ----------
    method : str
        As an expression; :data:`SOURCE` for the untouched model with its own tokenizer, :data:`SHUFFLED` for
        the control.
    origins : tuple of OriginShare
        Rows by origin, and how much of the target text they are.
    recreated : Recreated or None
        Leave-tokens-out.
    retrieval : Retrieval or None
    bits_per_byte : BitsPerByte or None
        Before any training.
    plan_s, apply_s : float or None
        Wall seconds for the plan and for its product with the old rows.
    peak_mib : float or None
        Memory for both beyond what the process held before; see
        :class:`vocab.comparison.peak_memory.PeakMemory`.
    note : str
        The error that ended it, or why a figure is missing.
    failed : bool
    """

    method: str
    origins: tuple[OriginShare, ...] = ()
    recreated: Recreated | None = None
    retrieval: Retrieval | None = None
    bits_per_byte: BitsPerByte | None = None
    plan_s: float | None = None
    apply_s: float | None = None
    peak_mib: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def time_s(self) -> float | None:
        """Seconds for the plan and for applying it."""
        return None if self.plan_s is None or self.apply_s is None else self.plan_s + self.apply_s


@dataclass(frozen=True)
class Comparison:
    """Methods on one setting, best first.

    Attributes
    ----------
    results : tuple of MethodResult
    ordered_by : str
    left_out : tuple of (str, str)
        Methods that were not run, and what they lack.
    facts : dict
        The setting: source, target, vocabulary sizes, evaluation text, deleted tokens, shared costs.
    decisions : tuple of Decision
    """

    results: tuple[MethodResult, ...]
    ordered_by: str
    left_out: tuple[tuple[str, str], ...]
    facts: dict[str, Any]
    decisions: tuple[Decision, ...] = field(default=(), repr=False)


def in_order(results: Sequence[MethodResult]) -> tuple[list[MethodResult], str]:
    """Best first by the most telling figure that there is; those that lack it last.

    Retrieval, where any method finds one sentence in twenty and five times what guessing finds: below that
    its order is chance. Else the recreated tokens, else bits per byte.
    """

    def by(name: str, figure: Callable[[MethodResult], float | None]) -> tuple[list[MethodResult], str]:
        found = [(figure(result), i, result) for i, result in enumerate(results)]
        lowest = float("-inf")
        found.sort(key=lambda entry: (-(lowest if entry[0] is None else entry[0]), entry[1]))
        return [result for _, _, result in found], name

    found = [result.retrieval for result in results if result.retrieval is not None]
    hits = ((one.tgt_to_src + one.src_to_tgt) / 2 - max(_TELLING, _OF_CHANCE / one.n_pairs) for one in found)
    if any(surplus >= 0 for surplus in hits):
        return by(_BY_RETRIEVAL, lambda r: None if r.retrieval is None else r.retrieval.mrr)
    if any(result.recreated for result in results):
        return by(
            _BY_RECREATED,
            lambda r: None if r.recreated is None else r.recreated.input.centred,
        )
    return by(_BY_BITS, lambda r: None if r.bits_per_byte is None else -r.bits_per_byte.bits_per_byte)
