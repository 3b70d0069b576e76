"""Which corpora `opus:auto` takes: a stated order and a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vocab.resources.corpora import GROUPS, group_of
from vocab.resources.description import Resource

_BYTES_PER_PAIR = 100  # of a Moses archive; for corpora whose pairs nobody counted
MB = 1_000_000


@dataclass(frozen=True)
class Taken:
    """A resource that is used, and how much of it.

    Attributes
    ----------
    resource : Resource
    max_pairs : int or None
        Sentence pairs that are drawn from it, evenly over its length; None: all.
    why : str
    """

    resource: Resource
    max_pairs: int | None
    why: str


@dataclass(frozen=True)
class Choice:
    """What was chosen, what was left, and by which rule.

    Attributes
    ----------
    taken : tuple of Taken
    left : tuple of (Resource, str)
        What was not taken, and why.
    rule : str
    """

    taken: tuple[Taken, ...]
    left: tuple[tuple[Resource, str], ...]
    rule: str

    def as_json(self) -> dict[str, Any]:
        """For transfer.json."""
        return {
            "rule": self.rule,
            "taken": [
                {
                    "name": t.resource.label,
                    "languages": t.resource.languages,
                    "max_pairs": t.max_pairs,
                    "why": t.why,
                }
                for t in self.taken
            ],
            "left": [{"name": r.label, "languages": r.languages, "why": why} for r, why in self.left],
        }


def rule(n_pairs: int, max_mb: float) -> str:
    """The order and the budget, in words."""
    order = ", ".join(
        group.name + (f" (at most {group.share:.0%} of the pairs)" if group.share < 1 else "")
        for group in GROUPS
    )
    return f"in this order: {order}; until {n_pairs:,} pairs; archives of {max_mb:,.0f} MB at most"


def expected_pairs(resource: Resource) -> int:
    """Pairs of a corpus, as announced or else by its size."""
    if resource.n_pairs is not None:
        return resource.n_pairs
    return (resource.size_bytes or 0) // _BYTES_PER_PAIR


def choose(
    corpora: Sequence[Resource],
    *,
    n_pairs: int,
    max_mb: float,
    prefer: Sequence[str] = (),
    exclude: Sequence[str] = (),
    n_have: int = 0,
    mb_have: float = 0.0,
) -> Choice:
    """Choose corpora of two languages until there are enough pairs.

    Groups go in the order of :data:`vocab.resources.corpora.GROUPS`: clean, general text first, mined and
    religious text last. These are weighed down: a group with a `share` gives at most that share of `n_pairs`
    (one Bible is 31,000 verses, a tenth of the default). From a corpus that is not needed whole, pairs are
    drawn evenly over its length. Where nothing fits into `max_mb`, the smallest corpus is chosen all the
    same, and whoever asked decides.

    Parameters
    ----------
    corpora : sequence of Resource
    n_pairs : int
        Sentence pairs wanted.
    max_mb : float
        Most that archives may have together, MB, cached or not: so a second run chooses the same.
    prefer, exclude : sequence of str
        Names, or patterns such as ``ELRC*``, in any case. Preferred ones come first and are not weighed down.
    n_have, mb_have : int, float
        What was chosen otherwise already.
    """
    first = [r for r in in_order(corpora) if _named(r, prefer)]
    taken: list[Taken] = []
    left: list[tuple[Resource, str]] = []
    used = dict.fromkeys(range(len(GROUPS)), 0)
    too_large: list[Resource] = []
    n_taken, mb = n_have, mb_have
    for corpus in [*first, *(r for r in in_order(corpora) if r not in first)]:
        rank, _ = group_of(corpus.name)
        group = GROUPS[rank]
        room = n_pairs - n_taken
        if corpus not in first:
            room = min(room, int(group.share * n_pairs) - used[rank])
        size_mb = (corpus.size_bytes or 0) / MB
        if _named(corpus, exclude):
            left.append((corpus, "excluded"))
        elif n_taken >= n_pairs:
            left.append((corpus, "enough pairs"))
        elif room <= 0:
            left.append((corpus, f"{group.name}: {group.share:.0%} of the pairs are there"))
        elif mb + size_mb > max_mb:
            left.append((corpus, f"its {size_mb:,.0f} MB would exceed {max_mb:,.0f} MB"))
            too_large.append(corpus)
        else:
            expected = expected_pairs(corpus)
            n_drawn = min(room, expected)
            why = "preferred" if corpus in first else group.name
            taken.append(Taken(corpus, n_drawn if n_drawn < expected else None, why))
            used[rank] += n_drawn
            n_taken += n_drawn
            mb += size_mb
    if not taken and not n_have and too_large:
        smallest = min(too_large, key=lambda r: r.size_bytes or 0)
        room = min(n_pairs, int(GROUPS[group_of(smallest.name)[0]].share * n_pairs))
        quota = room if room < expected_pairs(smallest) else None
        taken.append(Taken(smallest, quota, "the smallest there is"))
        left = [(r, why) for r, why in left if r != smallest]
    return Choice(tuple(taken), tuple(left), rule(n_pairs, max_mb))


def in_order(corpora: Sequence[Resource]) -> list[Resource]:
    """Corpora in the order in which `auto` takes them."""
    return sorted(corpora, key=lambda r: (group_of(r.name), -expected_pairs(r), r.name, r.tgt))


def _named(corpus: Resource, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(corpus.name.casefold(), pattern.casefold()) for pattern in patterns)
