from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from align.errors import InputError
from vocab.tokenizer.report import report, unreachable_tokens


def wordpiece(*tokens: str) -> Tokenizer:
    vocab = {token: i for i, token in enumerate(["[UNK]", *tokens])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[UNK]"])
    return tokenizer


def byte_level(*merges: tuple[str, str]) -> Tokenizer:
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_figures_of_a_text_counted_by_hand():
    tokenizer = wordpiece("ha", "##bari", "za", "##a", ",", "!", "mama")
    # ha ##bari | za | , | mama | ! || zaa: za ##a || kesho: [UNK]
    made = report(tokenizer, ["Habari za, mama!", "zaa", "kesho"])
    assert (made.n_lines, made.n_words, made.n_tokens) == (3, 5, 9)
    assert made.n_bytes == 16 + 3 + 5
    assert made.tokens_per_word == pytest.approx((2 + 1 + 1 + 2 + 1) / 5)
    assert made.continued_words == pytest.approx(2 / 5)
    assert made.bytes_per_token == pytest.approx(24 / 9)
    assert made.unknown_rate == pytest.approx(1 / 9)
    assert (made.vocab_size, made.n_used) == (8, 8)


def test_words_hold_marks_apostrophes_and_any_script():
    tokenizer = byte_level()
    made = report(tokenizer, ["ng'ombe नमस्ते ọ̀rọ̀ co-op 2024 — !?"], find_unreachable=False)
    assert made.n_words == 5
    # every byte is a token, and the space before a word counts as the word's
    assert made.n_tokens == made.n_bytes
    words = ["ng'ombe", " नमस्ते", " ọ̀rọ̀", " co-op", " 2024"]
    assert made.tokens_per_word == pytest.approx(sum(len(word.encode()) for word in words) / 5)
    assert made.unknown_rate == 0


def test_state_of_the_tokenizer_is_left_alone_and_plays_no_part():
    tokenizer = wordpiece("mama", "[PAD]")
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=7, pad_id=2, pad_token="[PAD]")
    assert report(tokenizer, ["mama mama mama mama"]).n_tokens == 4
    assert tokenizer.truncation["max_length"] == 2
    assert tokenizer.padding["length"] == 7


def test_a_text_without_words_is_refused():
    for text in ([], ["", "!?"]):
        with pytest.raises(InputError, match="no words"):
            report(wordpiece("a"), text)


def test_rank_dead_tokens_of_byte_level_bpe():
    # "abc" can only come from ab + c, but b + c always comes first; "xy" has no merge that makes it
    tokenizer = byte_level(("b", "c"), ("a", "b"), ("ab", "c"), ("Ġ", "a"), ("a", "bc"))
    assert unreachable_tokens(tokenizer) == ()
    tokenizer = byte_level(("b", "c"), ("a", "b"), ("ab", "c"), ("Ġ", "a"))
    assert unreachable_tokens(tokenizer) == ("abc",)


def test_tokens_that_the_pipeline_breaks():
    # "a1" is cut by the pre-tokenizer, "É" loses its accent; "mama" and "##na" can be met
    tokenizer = wordpiece("mama", "a1", "ba-", "Étude", "m", "b", "##na", "a")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|-"), "isolated")
    assert unreachable_tokens(tokenizer) == ("a1", "ba-", "Étude")


def test_a_continuation_that_longer_tokens_always_swallow():
    # after "a" and "b", the only letters, "##cd" is always part of a longer match
    assert unreachable_tokens(wordpiece("a", "b", "acd", "bcd", "##cd")) == ("##cd",)
    assert unreachable_tokens(wordpiece("a", "b", "acd", "bcd", "##cd", "##b")) == ()


def test_a_piece_that_a_likelier_segmentation_replaces():
    pieces = [("<unk>", 0.0), ("▁", -2.0), ("a", -1.0), ("b", -1.0), ("ab", -3.0), ("▁a", -1.5)]
    tokenizer = Tokenizer(models.Unigram(pieces, 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>"])
    assert unreachable_tokens(tokenizer) == ("ab",)


@pytest.mark.data
def test_a_real_bpe_vocabulary_has_few_unreachable_tokens(shared_data, tmp_path):
    import gzip

    with gzip.open(shared_data / "tokenizers/focus-sw/bpe-50k/tokenizer.json.gz") as file:
        tokenizer = Tokenizer.from_str(file.read().decode())
    lost = unreachable_tokens(tokenizer)
    assert len(lost) < 0.01 * tokenizer.get_vocab_size()
    for token in lost:
        surface = tokenizer.decode([tokenizer.token_to_id(token)])
        assert tokenizer.token_to_id(token) not in tokenizer.encode(surface, add_special_tokens=False).ids
