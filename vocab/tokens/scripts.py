"""The script that a token is written in."""

from __future__ import annotations

from collections import Counter

from align.scripts import script_of
from vocab.tokens.vocabulary import Vocabulary

FRAGMENT = "FRAGMENT"


def script_classes(vocabulary: Vocabulary, *, positions: bool) -> list[tuple[str, bool] | None]:
    """(script, begins a word) of every token; None for special tokens.

    The script is that of most characters; fragments of characters are a script of their own. Without
    `positions` no token counts as beginning a word.
    """
    classes: list[tuple[str, bool] | None] = []
    for surface in vocabulary.surfaces:
        if not surface:
            classes.append(None)
            continue
        initial = positions and surface.startswith(b" ")
        try:
            text = surface.decode()
        except UnicodeDecodeError:
            classes.append((FRAGMENT, initial))
            continue
        scripts = Counter(script_of(char) for char in text.removeprefix(" ") or " ")
        classes.append((scripts.most_common(1)[0][0], initial))
    return classes
