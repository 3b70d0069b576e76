"""A prior from a file of any kind: what it holds is seen from its content."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from align.errors import InputError
from align.lexicon import read_lexicon
from align.textfiles import DamagedFile, iter_lines, open_binary
from align.wordalign.aligner import Aligner
from align.wordalign.links import MAX_WORDS, read_links
from align.wordalign.prior import Prior
from align.wordalign.reading import NumberedText

_LINKS = re.compile(r"# Sentence pair|\s*[0-9]+[-p][0-9]+(?::[0-9.e-]+)?(?=\s|$)")


def read_prior(
    path: str | os.PathLike[str], text: NumberedText, *, weight: float = 1.0, lower: bool = True
) -> Prior | Aligner:
    """Read a prior for a text.

    Parameters
    ----------
    path : path
        A saved aligner (safetensors); links of this very text (Pharaoh, A3); a table as
        :func:`align.wordalign.run.run_words` writes it, whose counts are taken; word TAB translation TAB
        probability (or its logarithm); a lexicon.
    text : NumberedText
    weight : float
        Multiplies the pseudo-counts: counted links, expected counts, probabilities, 1 for each pair of a
        lexicon.
    lower : bool
        Whether the text is in lower case, so that a lexicon must be too.

    Raises
    ------
    InputError
        With file and line, for a file that is none of these, and for links of another text.
    """
    path = Path(path)
    if _is_safetensors(path):
        aligner = Aligner.load(path)
        return aligner if weight == 1 else Prior.of_aligner(aligner, weight=weight)
    first = next((line for line in iter_lines(path, wanted="a prior") if line.strip()), None)
    if first is None:
        raise InputError("every line is blank", where=path, wanted="links, a table or a lexicon")
    if _LINKS.match(first):
        return _of_links(path, text, weight)
    n_columns = first.count("\t") + 1
    if n_columns == 5:
        return _of_counts(path, weight)
    if n_columns == 3:
        return Prior.of_table(path, weight=weight)
    lexicon = read_lexicon(path)
    return Prior.of_lexicon(lexicon.lower() if lower else lexicon, weight=weight)


def _of_links(path: Path, text: NumberedText, weight: float) -> Prior:
    links = read_links(path)
    lengths = np.full((2, text.n_lines), MAX_WORDS)  # of pairs left out nothing is known any more
    lengths[0, text.lines] = np.diff(text.bitext.src_offsets)
    lengths[1, text.lines] = np.diff(text.bitext.tgt_offsets)
    links.check(*lengths, where=path)
    return Prior.of_links(links.rows(text.lines), text.bitext, text.src_words, text.tgt_words, weight=weight)


def _of_counts(path: Path, weight: float) -> Prior:
    rows = []
    for number, line in enumerate(iter_lines(path), start=1):
        if not line.strip():
            continue
        cells = line.split("\t")
        try:
            count = float(cells[4]) if len(cells) == 5 else -1.0
        except ValueError:
            count = -1.0
        if not 0 <= count < float("inf"):
            raise InputError(
                "not a row of a lexical table",
                got=repr(line[:60]),
                wanted="source, target, p(t|s), p(s|t) and count, with tabs",
                where=f"{path}:{number}",
            )
        rows.append((cells[0], cells[1], weight * count))
    return Prior.of_pairs(rows)


def _is_safetensors(path: Path) -> bool:
    if path.suffix.lower() == ".safetensors":
        return True
    try:
        with open_binary(path) as stream:
            return stream.read(9)[8:] == b"{"
    except DamagedFile as error:
        raise InputError(f"the compressed file is damaged or cut off ({error})", where=path) from None
