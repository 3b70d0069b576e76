"""Models of the word aligner and their settings."""

from __future__ import annotations

from dataclasses import dataclass

from align.errors import UsageError

MODELS = ("hmm", "hmm-independent", "diagonal", "ibm1")


@dataclass(frozen=True)
class AlignOptions:
    """Settings of :func:`align.wordalign.train` and :func:`align.wordalign.align`.

    Attributes
    ----------
    n_iter : int
        Iterations of the model; the HMMs have one of Model 1 before them.
    tol : float
        Training stops early once an iteration raises the log-likelihood of both directions by less than this
        part; ``converged`` of the result says whether it did.
    null_prob : float
        Prior probability that a word comes from NULL.
    alpha : float
        Dirichlet parameter of a pair of types. 0 means plain maximum likelihood, for ``ibm1`` and
        ``diagonal`` only.
    class_weight, form_weight : float
        Weights of the class prior and of equal strings; used where class maps or words are given.
    stem_weight : float
        For ``hmm``, where words are given: weight of each of the two stem models of
        :mod:`align.wordalign.stems` beside that of words; 0 means none.
    threshold : float
        A link is a cell whose mean posterior exceeds this.
    max_len : int
        Pairs with a longer side, in tokens, are left out.
    min_count : float
        Expected counts below this are left out of the result.
    fast_align_compatible : bool
        For ``diagonal``: move the tension as fast_align does, see :mod:`align.wordalign.diagonal`.
    """

    n_iter: int = 5
    tol: float = 1e-4
    null_prob: float = 0.02
    alpha: float = 0.1
    class_weight: float = 20.0
    form_weight: float = 1.0
    stem_weight: float = 0.2
    threshold: float = 0.5
    max_len: int = 256
    min_count: float = 1e-3
    fast_align_compatible: bool = False


# `fast_align -d -o -v`, whose fifth and last pass only aligns
FAST_ALIGN = AlignOptions(
    n_iter=4,
    tol=0.0,
    null_prob=0.08,
    alpha=0.01,
    class_weight=0.0,
    form_weight=0.0,
    fast_align_compatible=True,
)


def check_options(model: str, options: AlignOptions) -> None:
    """Raise UsageError for an unknown model or an option out of range."""
    if model not in MODELS:
        raise UsageError("unknown alignment model", got=model, wanted=", ".join(MODELS))
    may_be_zero = model in ("ibm1", "diagonal")
    checks = {
        "n_iter": (options.n_iter >= 1, "1 or more"),
        "null_prob": (0 < options.null_prob < 1, "between 0 and 1"),
        "alpha": (options.alpha > 0 or (may_be_zero and options.alpha == 0), "above 0"),
        "class_weight": (options.class_weight >= 0, "0 or more"),
        "stem_weight": (0 <= options.stem_weight < 0.5, "0 or more, below 0.5"),
        "form_weight": (options.form_weight >= 0, "0 or more"),
        "max_len": (options.max_len >= 1, "1 or more"),
        "fast_align_compatible": (model == "diagonal" or not options.fast_align_compatible, "False"),
    }
    for name, (good, wanted) in checks.items():
        if not good:
            raise UsageError("option out of range", got=getattr(options, name), wanted=wanted, where=name)
