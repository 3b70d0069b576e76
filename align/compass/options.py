"""Settings of word2vec and of the compass."""

from __future__ import annotations

from dataclasses import dataclass

from align.errors import UsageError

ARCHITECTURES = ("cbow", "skipgram")
INITS = ("hidden", "both", "copy")


@dataclass(frozen=True)
class Word2VecOptions:
    """Settings of :func:`align.compass.word2vec.train_word2vec`.

    Attributes
    ----------
    architecture : {"cbow", "skipgram"}
        Whether the mean of a window predicts the word in the middle, or each word of the window by itself.
    dim : int
        Width of the vectors.
    window : int
        Words looked at on either side; each time it is shrunk to a number drawn from 1 to this.
    n_negatives : int
        Words drawn for each prediction as false answers.
    epochs : int, optional
        Passes over the text; by default what `updates` comes to.
    updates : int
        Words to be shown in all, where `epochs` is not given: see :func:`epochs_for`. What small texts need
        more of is this, not another number of passes.
    learning_rate, min_learning_rate : float
        At the first and the last word; linear between them. By default 0.1 for ``cbow`` and 0.025 for
        ``skipgram`` fall to 0.0001.
    subsample : float
        Occurrences of words more frequent than this share of the text are left out at random; 0: never.
    ns_exponent : float
        Negatives are drawn in proportion to this power of the counts.
    min_n, max_n : int
        Shortest and longest character n-grams, with ``<`` and ``>`` around the word, that add to a word's
        vector; 0: none.
    n_buckets : int
        Rows that n-grams share by their hash.
    seed : int
        Of everything that is drawn.
    threads : int
        One gives the same bytes every time; several write to the same rows without locks.
    device : str, optional
        A device of torch, ``cuda`` or ``cpu``, for training in batches; by default the compiled kernels.
    """

    architecture: str = "cbow"
    dim: int = 100
    window: int = 5
    n_negatives: int = 10
    epochs: int | None = None
    updates: int = 20_000_000
    learning_rate: float | None = None
    min_learning_rate: float = 1e-4
    subsample: float = 1e-3
    ns_exponent: float = 0.75
    min_n: int = 0
    max_n: int = 0
    n_buckets: int = 500_000
    seed: int = 0
    threads: int = 1
    device: str | None = None


@dataclass(frozen=True)
class CompassOptions(Word2VecOptions):
    """Settings of :func:`align.compass.train`: those of word2vec, and

    Attributes
    ----------
    slice_epochs : int, optional
        Passes over each slice; by default as many as over all of them.
    slice_learning_rate : float, optional
        By default `learning_rate`.
    init : {"hidden", "both", "copy"}
        Where the slices' vectors begin: anew, at the compass's for words of the slice, or at the compass's
        for all its words, which then all are words of every slice.
    slice_min_count : int
        Words of fewer occurrences in a slice are none of its words.
    """

    slice_epochs: int | None = None
    slice_learning_rate: float | None = None
    init: str = "hidden"
    slice_min_count: int = 1


def first_rate(options: Word2VecOptions) -> float:
    """The learning rate at the first word."""
    if options.learning_rate is not None:
        return options.learning_rate
    return 0.1 if options.architecture == "cbow" else 0.025


def epochs_for(n_tokens: int, updates: int) -> int:
    """Passes over a text of `n_tokens` words that show `updates` words in all, but 5 to 200."""
    return max(5, min(200, -(-updates // max(n_tokens, 1))))


def check_options(options: Word2VecOptions) -> None:
    """Raise UsageError for an option out of range."""
    checks = {
        "architecture": (options.architecture in ARCHITECTURES, " or ".join(ARCHITECTURES)),
        "dim": (options.dim >= 1, "1 or more"),
        "window": (1 <= options.window <= 1000, "1 to 1000"),
        "n_negatives": (options.n_negatives >= 1, "1 or more"),
        "epochs": (options.epochs is None or options.epochs >= 1, "1 or more"),
        "updates": (options.updates >= 1, "1 or more"),
        "learning_rate": (0 < first_rate(options) <= 1, "above 0, 1 at most"),
        "min_learning_rate": (0 <= options.min_learning_rate <= first_rate(options), "0 to learning_rate"),
        "subsample": (0 <= options.subsample < 1, "0 or more, below 1"),
        "min_n": (options.min_n >= 0 and (options.min_n > 0) == (options.max_n > 0), "0, or 1 to max_n"),
        "max_n": (options.max_n >= options.min_n, "min_n or more"),
        "n_buckets": (options.n_buckets >= 1, "1 or more"),
        "threads": (options.threads >= 1, "1 or more"),
    }
    if isinstance(options, CompassOptions):
        checks["slice_epochs"] = (options.slice_epochs is None or options.slice_epochs >= 1, "1 or more")
        checks["init"] = (options.init in INITS, ", ".join(INITS))
        checks["slice_min_count"] = (options.slice_min_count >= 1, "1 or more")
    for name, (good, wanted) in checks.items():
        if not good:
            raise UsageError("option out of range", got=getattr(options, name), wanted=wanted, where=name)
