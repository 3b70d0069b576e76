"""Training fastText vectors with the fasttext library."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from align.errors import InputError, OutputError, UsageError
from align.fasttext_vectors import FastTextVectors, open_fasttext
from align.textfiles import read_lines


class _Spaced(dict[int, str]):
    """Translation table that sets punctuation and symbols apart, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = f" {char} " if unicodedata.category(char)[0] in "PS" else char
        return self[code]


_SPACES = re.compile(r"\s+")
_MIN_COUNT = 5
TOO_LITTLE = "too little text to train word vectors on"  # what the error says


def frequent_words(
    text: Iterable[str], among: Container[str], *, min_count: int = _MIN_COUNT
) -> frozenset[str]:
    """Those among some words that :func:`train_fasttext` would give a row: they occur `min_count` times."""
    table = _Spaced()
    counts = Counter(word for line in text for word in line.translate(table).split() if word in among)
    return frozenset(word for word, count in counts.items() if count >= min_count)


def train_fasttext(
    text: str | os.PathLike[str] | Iterable[str],
    *,
    dim: int = 100,
    epochs: int = 5,
    architecture: Literal["skipgram", "cbow"] = "skipgram",
    min_count: int = _MIN_COUNT,
    min_n: int = 3,
    max_n: int = 6,
    n_buckets: int = 500_000,
    n_negatives: int = 5,
    learning_rate: float = 0.05,
    threads: int = 1,
    split_punctuation: bool = True,
    save_to: str | os.PathLike[str] | None = None,
) -> FastTextVectors:
    """Train fastText vectors on lines of text, by default with punctuation set apart from words.

    Parameters
    ----------
    text : path of a UTF-8 text file, or the lines themselves
    dim, epochs, architecture, min_count, min_n, max_n, n_buckets, n_negatives, learning_rate
        As in the library (there: dim, epoch, model, minCount, minn, maxn, bucket, neg, lr).
    threads : int
        With one thread the same text gives the same model on the same machine (the library's seed is fixed);
        several threads race.
    split_punctuation : bool
        If false, lines are taken as they are: words, or tokens, divided by blanks.
    save_to : path, optional
        Where the ``.bin`` goes; without it the model lives in an unnamed temporary file.

    Returns
    -------
    FastTextVectors

    Raises
    ------
    InputError
        For a missing, empty or undecodable file, and where no word occurs ``min_count`` times.
    OutputError
        If the model cannot be written.

    Notes
    -----
    Memory ``8 * dim * (words + n_buckets)`` bytes at most while training, the same again on disk.
    """
    import fasttext  # its import costs 0.1 s that readers of vectors need not pay

    if architecture not in ("skipgram", "cbow"):
        raise UsageError("unknown fastText architecture", got=architecture, wanted="skipgram or cbow")
    path = text if isinstance(text, (str, os.PathLike)) else None
    lines = read_lines(text) if isinstance(text, (str, os.PathLike)) else text
    table = _Spaced()
    with tempfile.TemporaryDirectory(prefix="vocab-transfer-") as folder:
        corpus = Path(folder) / "text"
        with corpus.open("w", encoding="utf-8", newline="\n") as out:
            for line in lines:
                if split_punctuation:
                    line = _SPACES.sub(" ", line.translate(table)).strip()
                out.write(line + "\n")
        try:
            model = fasttext.train_unsupervised(
                str(corpus),
                model=architecture,
                dim=dim,
                epoch=epochs,
                minCount=min_count,
                minn=min_n,
                maxn=max_n,
                bucket=n_buckets,
                neg=n_negatives,
                lr=learning_rate,
                thread=threads,
                verbose=0,
            )
        except (ValueError, RuntimeError) as error:
            if "Empty vocabulary" not in str(error):
                raise InputError("fastText cannot train on this text", where=path, got=error) from error
            raise InputError(
                TOO_LITTLE,
                where=path,
                got="no word that is frequent enough",
                wanted=f"words that occur {min_count} times",
                hint="give more text, or vectors that are trained already",
            ) from error
        target = Path(save_to) if save_to is not None else Path(folder) / "model.bin"
        try:
            model.save_model(str(target))
        except (ValueError, RuntimeError, OSError) as error:
            raise OutputError("the fastText model cannot be written", where=target, got=error) from error
        del model
        vectors = open_fasttext(target)
        if save_to is None:
            with suppress(OSError):
                target.unlink()  # the mapping keeps the data until the object goes
        return vectors
