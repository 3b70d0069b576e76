from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from align.errors import UsageError
from vocab.methods.constituents import constituents
from vocab.plan import Origin, TransferPlan
from vocab.tokens import BYTE_TO_CHAR, Vocabulary


def bpe(tokens: list[str], merges: list[tuple[str, str]]) -> Vocabulary:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    def spell(token: str) -> str:
        return "".join(BYTE_TO_CHAR[b] for b in token.encode())

    vocab = {spell(t): i for i, t in enumerate(["<s>", *tokens])}
    inner = Tokenizer(models.BPE(vocab, [(spell(a), spell(b)) for a, b in merges]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.add_special_tokens([AddedToken("<s>")])
    return Vocabulary.of(inner)


@pytest.fixture
def pair() -> tuple[Vocabulary, Vocabulary]:
    """The old tokenizer cuts " nyumba" into " n|yu|mb|a"; the new one merged " ny|umba", "um|ba"."""
    src = bpe(
        [*" nyumbaz", " n", "yu", "mb", "ba"],
        [(" ", "n"), ("y", "u"), ("m", "b"), ("b", "a")],
    )
    tgt = bpe(
        [*" nyumba", " n", " ny", "um", "ba", "umba", " nyumba", "q", "aq"],
        [(" ", "n"), (" n", "y"), ("u", "m"), ("b", "a"), ("um", "ba"), (" ny", "umba"), ("a", "q")],
    )
    return src, tgt


def shares(plan: TransferPlan, token: str) -> dict[str, float]:
    row = plan.weights[[plan.tgt_tokens.index(token)]]
    return {plan.src_tokens[i]: float(v) for i, v in zip(row.indices, row.data, strict=True)}


@pytest.mark.parametrize(
    ("weighting", "wanted"),
    [
        ("mean", {"Ġn": 1 / 4, "yu": 1 / 4, "mb": 1 / 4, "a": 1 / 4}),
        ("length", {"Ġn": 2 / 7, "yu": 2 / 7, "mb": 2 / 7, "a": 1 / 7}),
        ("first", {"Ġn": 1}),
        ("last", {"a": 1}),
        ("decay", {"Ġn": 8 / 15, "yu": 4 / 15, "mb": 2 / 15, "a": 1 / 15}),
        ("decay-last", {"Ġn": 1 / 15, "yu": 2 / 15, "mb": 4 / 15, "a": 8 / 15}),
        # " ny" = " n" + "y"; "umba" = "um" + "ba" with "um" = "u" + "m"
        ("merge", {"Ġn": 1 / 4, "y": 1 / 4, "u": 1 / 8, "m": 1 / 8, "ba": 1 / 4}),
    ],
)
def test_weights(pair: tuple[Vocabulary, Vocabulary], weighting: Any, wanted: dict[str, float]) -> None:
    src, tgt = pair
    plan = constituents(src, tgt, weighting=weighting)
    assert shares(plan, "Ġnyumba") == pytest.approx(wanted)
    assert shares(plan, "ba") == {"ba": 1}
    assert shares(plan, "aq") == {"a": 1}  # what cannot be spelled leaves its share to the rest
    by_token = dict(zip(plan.tgt_tokens, plan.origins.tolist(), strict=True))
    assert [by_token[t] for t in ("Ġnyumba", "ba", "q", "<s>")] == [
        Origin.COMPOSED, Origin.COPIED, Origin.EMPTY, Origin.SPECIAL,
    ]  # fmt: skip
    assert plan.options["constituents"] == {"weighting": weighting}


@pytest.mark.parametrize("weighting", ["mean", "length", "first", "last", "decay", "decay-last", "merge"])
@pytest.mark.parametrize("source", ["gpt2", "t5", "bert"])
def test_weights_sum_to_one_and_say_what_can_be_spelled(
    weighting: Any, source: str, tokenizers: Mapping[str, Any]
) -> None:
    src, tgt = Vocabulary.of(tokenizers[source]), Vocabulary.of(tokenizers["llama"])
    plan, mean = constituents(src, tgt, weighting=weighting), constituents(src, tgt)
    filled = plan.origins != Origin.EMPTY
    np.testing.assert_allclose(plan.weights[filled].sum(axis=1), 1, atol=1e-6)
    if weighting != "merge":
        np.testing.assert_array_equal(plan.origins, mean.origins)
    else:  # a part may be spelled where the whole is not
        assert filled[mean.origins != Origin.EMPTY].all()


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_merge_needs_merges(family: str, tokenizers: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError, match="no merges"):
        constituents(tokenizers["gpt2"], tokenizers[family], weighting="merge")


def test_unknown_weighting(pair: tuple[Vocabulary, Vocabulary]) -> None:
    with pytest.raises(UsageError, match="unknown weighting"):
        constituents(*pair, weighting="median")  # type: ignore[arg-type]


def test_merges_in_either_spelling(pair: tuple[Vocabulary, Vocabulary]) -> None:
    """Old tokenizer.json files write a merge as one string."""
    from tokenizers import Tokenizer

    src, tgt = pair
    spec = json.loads(tgt.tokenizer.to_str())
    spec["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]]
    old = constituents(src, Tokenizer.from_str(json.dumps(spec)), weighting="merge")
    assert not old.differing_rows(constituents(src, tgt, weighting="merge")).size


def _pieces(recorded: Mapping[str, NDArray[Any]], row: int) -> list[int]:
    start, stop = recorded["piece_offsets"][row : row + 2]
    return recorded["piece_ids"][start:stop].tolist()


@pytest.mark.data
@pytest.mark.parametrize(("weighting", "rows"), [("mean", "rows"), ("length", "wvt_rows")])
def test_against_recorded_rows(weighting: Any, rows: str, shared_golden: Path) -> None:
    """Rows agree wherever the recorded pieces are those of the bytes: FVT drops the leading space."""
    from tokenizers import Tokenizer

    inputs = shared_golden / "vocab/inputs"
    src, tgt = (
        Vocabulary.of(Tokenizer.from_file(str(inputs / f"{name}/tokenizer.json")))
        for name in ("source_bpe", "target_bpe")
    )
    E = np.load(inputs / "source_matrix.npy")
    recorded = np.load(shared_golden / "vocab/fvt/target_bpe.npz")
    new = constituents(src, tgt, weighting=weighting).weights @ E.astype(np.float64)
    pieces = src.pieces(tgt.surfaces)
    same = [
        (i, row)
        for i, row in enumerate(recorded["row_ids"].tolist())
        if _pieces(recorded, row) == pieces[row] or tgt.special[row]
    ]
    others = set(recorded["row_ids"].tolist()) - {row for _, row in same}
    at, ids = np.array(same).T
    np.testing.assert_allclose(new[ids], recorded[rows][at], atol=1e-5)
    assert len(same) > 500
    # the others begin with a space, or are fragments of characters, spelled by their literal
    for row in others:
        surface = tgt.surfaces[row]
        assert surface.startswith(b" ") or surface != surface.decode(errors="ignore").encode()


@pytest.mark.data
def test_against_recorded_rows_of_whole_strings(shared_golden: Path) -> None:
    """tokenizer-adapter keeps the space: every row but fragments of characters agrees."""
    from tokenizers import Tokenizer

    inputs = shared_golden / "vocab/inputs"
    src, tgt = (
        Vocabulary.of(Tokenizer.from_file(str(inputs / f"{name}/tokenizer.json")))
        for name in ("source_bpe", "target_bpe")
    )
    recorded = np.load(shared_golden / "vocab/tokenizer-adapter/target_bpe.npz")
    new = constituents(src, tgt).weights @ np.load(inputs / "source_matrix.npy").astype(np.float64)
    ids = recorded["row_ids"]
    whole = np.array([tgt.surfaces[i] == tgt.surfaces[i].decode(errors="ignore").encode() for i in ids])
    np.testing.assert_allclose(new[ids[whole]], recorded["rows"][whole], atol=1e-5)
    assert whole.sum() > 950


def _literal(peer: str, token: str) -> str:
    """The text whose pieces the peer takes for a token of a vocabulary that is not byte-level."""
    if peer == "fvt":
        return next((token[len(mark) :] for mark in ("##", "\u2581") if token.startswith(mark)), token)
    return token.replace("\u2581", " ").removeprefix(" ")


@pytest.mark.data
@pytest.mark.parametrize(
    ("peer", "target", "n_same"),
    [
        ("fvt", "target_unigram", 1500),
        ("fvt", "target_wordpiece", 1800),
        ("tokenizer-adapter", "target_unigram", 1500),
        ("tokenizer-adapter", "target_wordpiece", 150),
    ],
)
def test_other_families_differ_by_the_leading_space(
    peer: str, target: str, n_same: int, shared_golden: Path
) -> None:
    """Rows agree where the recorded pieces are those of the token's text; the others lost their space.

    Both peers cut ``\u2581word`` and WordPiece's ``word`` without the space before it, and tokenizer-adapter
    cuts ``##x`` with its marks: each of their pieces is that of such a literal, and the lone ``▁``
    becomes nothing or ``<unk>``. WordPiece's punctuation stands beside words with and without a space; here
    it may be an old token with the space.
    """
    from tokenizers import Tokenizer

    inputs = shared_golden / "vocab/inputs"
    src, tgt = (
        Vocabulary.of(Tokenizer.from_file(str(inputs / f"{name}/tokenizer.json")))
        for name in ("source_bpe", target)
    )
    recorded = np.load(shared_golden / f"vocab/{peer}/{target}.npz")
    new = constituents(src, tgt).weights @ np.load(inputs / "source_matrix.npy").astype(np.float64)
    ours = src.pieces(tgt.surfaces)
    theirs = [_pieces(recorded, row) for row in range(len(tgt))]
    literal = src.pieces([_literal(peer, token).encode() for token in tgt.tokens])
    same = np.array([a == b for a, b in zip(ours, theirs, strict=True)]) & ~tgt.special
    assert same.sum() >= n_same
    for row in np.flatnonzero(~same & ~tgt.special):
        copied = theirs[row] == [src.ids.get(tgt.tokens[row])]  # the same string, whatever it spells
        lone = tgt.tokens[row] == "▁" and theirs[row] in ([], [src.ids["<unk>"]])
        assert copied or lone or theirs[row] == list(literal[row])
    at = np.flatnonzero((same & ~tgt.isolated)[recorded["row_ids"]])
    np.testing.assert_allclose(new[recorded["row_ids"][at]], recorded["rows"][at], atol=1e-5)
