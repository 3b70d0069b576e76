"""Alignment error rate: word links against a gold standard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class AlignmentError:
    """Agreement of word links with a gold standard, all as fractions.

    Attributes
    ----------
    aer : float
        Alignment error rate; with no possible links beyond the sure ones it is 1 - F1.
    precision, recall : float
        Share of the links that are possible, share of the sure links that were found.
    n_links, n_sure : int
    """

    aer: float
    precision: float
    recall: float
    n_links: int
    n_sure: int


def alignment_error_rate(
    links: Iterable[Iterable[tuple[int, int]]],
    sure: Iterable[Iterable[tuple[int, int]]],
    possible: Iterable[Iterable[tuple[int, int]]],
) -> AlignmentError:
    """Alignment error rate (Och and Ney 2003, equation 26), summed over the sentence pairs.

    AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), where P always contains S.

    Parameters
    ----------
    links, sure, possible : iterables over sentence pairs of iterables of (source, target) positions
        ``possible`` may leave the sure links out.
    """
    n_links = n_sure = in_sure = in_possible = 0
    for found, s, p in zip(links, sure, possible, strict=True):
        a, s_set = set(found), set(s)
        n_links += len(a)
        n_sure += len(s_set)
        in_sure += len(a & s_set)
        in_possible += len(a & (s_set | set(p)))
    total = n_links + n_sure
    return AlignmentError(
        aer=1.0 - (in_sure + in_possible) / total if total else 0.0,
        precision=in_possible / n_links if n_links else 0.0,
        recall=in_sure / n_sure if n_sure else 0.0,
        n_links=n_links,
        n_sure=n_sure,
    )
