"""What ``--mode`` decides: where the new tokenizer comes from, and which of its rows are old ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from vocab.pipeline import Prepared, TransferResult
    from vocab.tokenizer.report import TokenizerReport


@dataclass(frozen=True, eq=False)
class NewTokenizer:
    """A target tokenizer and what is known of it.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerFast
    report : TokenizerReport or None
        Its quality on `sample`, where it was learnt from a text.
    sample : list of str
    kept : (n_tgt,) int64 or None
        The old id of each new one, -1 for new tokens; None where tokens are matched by their bytes.
    path : Path or None
        Where a named tokenizer was found.
    """

    tokenizer: PreTrainedTokenizerFast
    report: TokenizerReport | None = None
    sample: list[str] | None = None
    kept: NDArray[np.int64] | None = None
    path: Path | None = None


def new_tokenizer(prepared: Prepared) -> NewTokenizer:
    """Load, train, extend or trim the target tokenizer, as the options say."""
    options = prepared.options
    if options.named_tokenizer is not None:
        return _named(prepared)
    return {"extend": _extended, "trim": _trimmed}.get(options.mode, _trained)(prepared)


def _named(prepared: Prepared) -> NewTokenizer:
    from vocab.hub import resolve_tokenizer
    from vocab.tokenizer.loading import load_tokenizer

    options, decisions = prepared.options, prepared.decisions
    found = resolve_tokenizer(
        str(options.named_tokenizer), cache_dir=options.cache_dir, offline=options.offline or None
    )
    tokenizer = load_tokenizer(found.path, trust_remote_code=options.trust_remote_code)
    if found.revision_sha is not None:
        decisions.add("tokenizer", found.name, f"commit {found.revision_sha}")
    if options.mode == "swap":
        from vocab.modes.swapping import compared_roles

        target = Vocabulary.of(tokenizer)
        decisions.add("special tokens", compared_roles(prepared.source.vocabulary, target), "by role")
    return NewTokenizer(tokenizer, path=found.path)


def _trained(prepared: Prepared) -> NewTokenizer:
    from vocab.tokenizer.training import train_tokenizer

    trained = train_tokenizer(
        prepared.source.tokenizer,
        prepared.materials.text,
        vocab_size=prepared.options.vocab_size or "auto",
    )
    prepared.decisions.add("tokenizer", trained.algorithm, trained.why)
    return NewTokenizer(trained.tokenizer, trained.report, trained.sample)


def _extended(prepared: Prepared) -> NewTokenizer:
    from vocab.modes.extending import extend_tokenizer

    options, materials = prepared.options, prepared.materials
    n_old = len(prepared.source.vocabulary)
    n_new = options.add_tokens
    if options.vocab_size is not None:
        n_new = options.vocab_size - n_old
        if n_new < 1:
            raise UsageError(
                "--vocab-size leaves no room for new tokens",
                got=options.vocab_size,
                wanted=f"more than {n_old}",
            )
    extended = extend_tokenizer(
        prepared.source.tokenizer, materials.text, n_new=n_new or "auto", src_texts=materials.src_text
    )
    prepared.decisions.add("tokenizer", extended.algorithm, extended.why)
    if extended.changed is not None:
        prepared.decisions.add(
            "source text",
            f"{1 - extended.changed:.1%} of its tokens as before",
            "old tokens keep ids and order",
        )
    kept = np.full(n_old + len(extended.new_tokens), -1)
    kept[:n_old] = np.arange(n_old)
    return NewTokenizer(extended.tokenizer, extended.report, extended.sample, kept)


def _trimmed(prepared: Prepared) -> NewTokenizer:
    from vocab.modes.trimming import trim_tokenizer

    options, text = prepared.options, prepared.materials.text
    scripts = options.scripts
    if not text and not scripts:
        if prepared.tgt_lang.script is None:
            raise InputError(
                f"nothing says what to keep: the script of {prepared.tgt_lang.name} is not known",
                hint="pass --corpus FILE or --scripts NAME",
            )
        scripts = (prepared.tgt_lang.script,)
        why = f"the script of {prepared.tgt_lang.name}, as neither --corpus nor --scripts was given"
        prepared.decisions.add("keep", scripts[0], why)
    trimmed = trim_tokenizer(
        prepared.source.tokenizer,
        text,
        scripts=scripts,
        min_count=options.min_count,
        vocab_size=options.vocab_size,
    )
    n_old = len(prepared.source.tokenizer)
    if len(trimmed.kept) == n_old and not (text or options.scripts):
        raise UsageError(
            "nothing says which tokens to leave out",
            got=f"{n_old:,} tokens, all of them of the script of {prepared.tgt_lang.name}",
            hint="give --corpus with text that the model is to read, --scripts with another script, or "
            "--vocab-size",
        )
    prepared.decisions.add("tokenizer", trimmed.algorithm, trimmed.why)
    if trimmed.n_words:
        prepared.decisions.add(
            "words",
            f"{1 - trimmed.n_recut / trimmed.n_words:.1%} of the text's as before",
            "the tokens are there",
        )
    return NewTokenizer(trimmed.tokenizer, kept=trimmed.kept)


def kept_rows(source: Vocabulary, target: Vocabulary, kept: NDArray[np.int64]) -> TransferPlan:
    """Rows taken over by id; those of new tokens (-1) are empty.

    By id and not by bytes: two tokens of the same bytes have rows of their own, and so have ids that the
    tokenizer leaves out.
    """
    rows = np.flatnonzero(kept >= 0)
    origins = np.full(len(target), Origin.COPIED, np.uint8)
    origins[rows[source.special[kept[rows]]]] = Origin.SPECIAL
    return TransferPlan.from_entries(
        rows,
        kept[rows],
        np.ones(len(rows)),
        origins,
        src_tokens=source.tokens,
        tgt_tokens=target.tokens,
        method="kept",
    )


def described(result: TransferResult) -> str:
    """One sentence on what became of the vocabulary, for the model card."""
    prepared, n_tokens = result.prepared, len(result.tokenizer)
    language = prepared.tgt_lang.name
    name = f"`{prepared.source.name}`"
    only = "Only the tokenizer and what has the vocabulary's size (embeddings, head, bias) are new; "
    needs = "**it needs continued pretraining before use.**"
    mode = prepared.options.mode
    if mode == "extend":
        n_new = n_tokens - len(prepared.source.tokenizer)
        return (
            f"{name} with {n_new:,} {language} tokens added to its vocabulary, {n_tokens:,} in all. Old "
            f"tokens have their old ids and rows; {needs}"
        )
    if mode == "trim":
        return (
            f"{name} with {n_tokens:,} of its {len(prepared.source.tokenizer):,} tokens. The other rows of "
            "embeddings, head and bias are gone, the rest of the model is as it was; text whose tokens are "
            "all there gives what it gave before."
        )
    if mode == "swap":
        other = Path(str(prepared.options.named_tokenizer)).name
        return f"{name} with the tokenizer of `{other}`, {n_tokens:,} tokens. {only}{needs}"
    return f"{name} with a new {language} vocabulary of {n_tokens:,} tokens. {only}{needs}"
