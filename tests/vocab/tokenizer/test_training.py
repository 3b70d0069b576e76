from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    T5Config,
    T5Tokenizer,
    XLMRobertaConfig,
)

from align.errors import InputError, UsageError
from vocab.tokenizer.pipeline import ALGORITHMS, source_spec
from vocab.tokenizer.training import train_tokenizer
from vocab.tokenizer.training_words import count_chunks, count_words, cut, training_pipeline
from vocab.tokens import Vocabulary

ROOT = Path(__file__).parents[3]
LINES = [
    line.split("\t")[1]
    for line in (ROOT / "data/lexicons/en-sw.sentences.tsv").read_text("utf-8").splitlines()
]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
LLAMA3_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MASK = AddedToken("<mask>", lstrip=True, special=True, normalized=False)


def special(*tokens: str) -> list[AddedToken]:
    return [AddedToken(token, special=True, normalized=False) for token in tokens]


def roberta() -> PreTrainedTokenizerFast:
    vocab = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *BYTES])}
    vocab |= {f"filler{i}": i for i in range(len(vocab), 50264)} | {"<mask>": 50264}
    return RobertaTokenizer(vocab=vocab, merges=[], mask_token=MASK, model_max_length=512)


def bert(*, lower: bool) -> PreTrainedTokenizerFast:
    vocab = {"[PAD]": 0} | {f"[unused{i}]": i for i in range(1, 100)}
    vocab |= {"[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "a": 104, "##a": 105}
    return BertTokenizer(vocab=vocab, do_lower_case=lower, model_max_length=512)


def gpt2() -> PreTrainedTokenizerFast:
    vocab = {token: i for i, token in enumerate(BYTES)} | {"<|endoftext|>": 256}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special("<|endoftext|>"))
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=end, eos_token=end, unk_token=end)


def llama3() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE(vocab={b: i for i, b in enumerate(BYTES)}, merges=[], ignore_merges=True))
    split = pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    inner.decoder = decoders.ByteLevel()
    begin, reserved = "<|begin_of_text|>", [f"<|reserved_special_token_{i}|>" for i in range(200)]
    chat = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    # reserved token 7 is put to use by the chat template
    inner.add_special_tokens(special(*reserved[:4], begin, "<|end_of_text|>", *chat, *reserved[4:]))
    template = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin}:1 $B:1",
        special_tokens=[(begin, inner.token_to_id(begin))],
    )
    inner.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=begin,
        eos_token="<|end_of_text|>",
        padding_side="left",
        chat_template=(
            "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}"
            "<|eot_id|><|reserved_special_token_7|>{% endfor %}"
        ),
    )


def llama2() -> PreTrainedTokenizerFast:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *"▁0123456789abcdefgh"]
    inner = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    inner.add_special_tokens(special("<unk>", "<s>", "</s>"))
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def gemma() -> PreTrainedTokenizerFast:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<unused0>", "<unused1>", "▁▁"]
    tokens += [f"<0x{b:02X}>" for b in range(256)] + list("▁abcdefgh") + ["12", "1", "2"]
    inner = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=[],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(steps)
    inner.add_special_tokens(special("<pad>", "<eos>", "<bos>", "<unk>"))
    inner.add_tokens([AddedToken(token, normalized=False) for token in ("<unused0>", "<unused1>", "▁▁")])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
    )


def xlmr() -> PreTrainedTokenizerFast:
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefgh", *(f"f{i}" for i in range(9000)), "<mask>"]
    inner = Tokenizer(models.Unigram([(token, -float(i)) for i, token in enumerate(tokens)], 3))
    inner.normalizer = normalizers.NFKC()
    steps = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    inner.pre_tokenizer = pre_tokenizers.Sequence(steps)
    inner.decoder = decoders.Metaspace()
    inner.add_special_tokens([*special("<s>", "<pad>", "</s>", "<unk>"), MASK])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=MASK,
        model_max_length=512,
    )


FAMILIES: dict[str, tuple[Callable[[], PreTrainedTokenizerFast], str, type]] = {
    "roberta": (roberta, "byte-bpe", RobertaConfig),
    "bert-uncased": (lambda: bert(lower=True), "wordpiece", BertConfig),
    "bert-cased": (lambda: bert(lower=False), "wordpiece", BertConfig),
    "gpt2": (gpt2, "byte-bpe", GPT2Config),
    "llama3": (llama3, "byte-bpe", LlamaConfig),
    "llama2": (llama2, "bpe", LlamaConfig),
    "gemma": (gemma, "bpe", GemmaConfig),
    "xlmr": (xlmr, "unigram", XLMRobertaConfig),
    "t5": (T5Tokenizer, "unigram", T5Config),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    build, algorithm, config = FAMILIES[request.param]
    source = build()
    return request.param, source, train_tokenizer(source, LINES), algorithm, config


def test_algorithm_size_and_ids(family):
    name, _, trained, algorithm, _ = family
    tokenizer = trained.tokenizer
    assert trained.algorithm == algorithm
    assert sorted(tokenizer.get_vocab().values()) == list(range(trained.vocab_size)), name
    assert trained.vocab_size % 64 == 0
    assert 1500 < trained.vocab_size < 4000
    assert "seen at least twice" in trained.why
    assert trained.report.n_lines == len(LINES)
    assert trained.report.unknown_rate == 0
    assert trained.report.tokens_per_word < 1.6


def test_special_tokens_keep_role_flags_and_low_ids(family):
    _, source, trained, _, _ = family
    tokenizer = trained.tokenizer
    assert tokenizer.special_tokens_map == source.special_tokens_map
    old = {entry["content"]: entry for entry in source_spec(source)["added_tokens"]}
    new = {entry["content"]: entry for entry in source_spec(tokenizer)["added_tokens"]}
    assert set(new) == set(old) - set(trained.dropped)
    for token, entry in new.items():
        assert {**entry, "id": 0} == {**old[token], "id": 0}
        if old[token]["id"] < trained.vocab_size:
            assert entry["id"] == old[token]["id"]
        assert tokenizer.convert_tokens_to_ids(token) == entry["id"]


def test_text_and_template_survive(family):
    name, source, trained, _, _ = family
    tokenizer = trained.tokenizer
    for line in LINES[:50]:
        expected = line.lower() if name == "bert-uncased" else line
        encoded = tokenizer(line)["input_ids"]
        assert tokenizer.decode(encoded, skip_special_tokens=True).strip() == expected
    one, two = "Habari za asubuhi", "Nzuri sana"

    def shape(made_by: PreTrainedTokenizerFast) -> list[str]:
        # which special tokens stand where around the two sentences
        encoding = made_by.backend_tokenizer.encode(one, two)
        kept = [t for t, s in zip(encoding.tokens, encoding.special_tokens_mask, strict=True) if s]
        return kept if kept else [str(encoding.type_ids[0]), str(encoding.type_ids[-1])]

    assert shape(tokenizer) == shape(source)
    encoding = tokenizer.backend_tokenizer.encode(one)
    assert [tokenizer.convert_ids_to_tokens(i) for i in encoding.ids] == encoding.tokens


def test_opens_again_next_to_the_models_config(family, tmp_path):
    _, source, trained, _, config = family
    trained.tokenizer.save_pretrained(tmp_path)
    config().save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.backend_tokenizer.to_str() == trained.tokenizer.backend_tokenizer.to_str()
    for tokenizer in (again, trained.tokenizer):
        assert tokenizer.model_max_length == source.model_max_length
        assert tokenizer.padding_side == source.padding_side
        assert tokenizer.model_input_names == source.model_input_names
        assert tokenizer.chat_template == source.chat_template
        assert tokenizer.special_tokens_map == source.special_tokens_map
        if source.mask_token:
            masks = [t for t in tokenizer.added_tokens_decoder.values() if t.content == source.mask_token]
            assert [mask.lstrip for mask in masks] == [source.mask_token == "<mask>"]


def test_no_word_is_unknown_for_a_letter_in_a_new_place(family):
    name, _, trained, _, _ = family
    tokenizer = trained.tokenizer
    unk = tokenizer.unk_token_id if name not in ("gpt2", "llama3") else -1
    letters = sorted({c for line in LINES for c in line if c.isalpha()})
    for letter in letters:
        for word in (letter, f"{letter}x", f"q{letter}", f"Q{letter}9"):
            assert unk not in tokenizer(word, add_special_tokens=False)["input_ids"], word


def test_counting_chunks_is_counting_lines(family):
    name, source, _, _, _ = family
    lines = [*LINES[:300], 'Alisema: "Ndiyo!" (kwa 2024, 3.5%)', "don't we're ng'ombe", "x", ""]
    pipeline = training_pipeline(source_spec(source), source.get_vocab())
    whole = Counter(word for line in lines for word in cut(pipeline, line))
    assert count_words(pipeline, count_chunks(lines)) == whole, name


def test_reserved_tokens_go_unless_they_are_used():
    trained = train_tokenizer(llama3(), LINES)
    assert len(trained.dropped) == 199
    vocab = trained.tokenizer.get_vocab()
    assert "<|reserved_special_token_7|>" in vocab
    assert {"<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>"} <= set(vocab)
    chat = trained.tokenizer.apply_chat_template([{"role": "user", "content": "Habari"}], tokenize=True)
    assert vocab["<|eot_id|>"] in chat["input_ids"]
    assert train_tokenizer(gemma(), LINES).dropped == ("<unused0>", "<unused1>")


def test_t5_sentinels_survive_in_order():
    source = T5Tokenizer()
    tokenizer = train_tokenizer(source, LINES).tokenizer
    sentinels = [f"<extra_id_{i}>" for i in range(100)]
    assert tokenizer.convert_tokens_to_ids(sentinels) == source.convert_tokens_to_ids(sentinels)
    assert [str(token) for token in tokenizer.extra_special_tokens] == sentinels
    encoded = tokenizer("Habari <extra_id_3> sana")["input_ids"]
    assert tokenizer.convert_tokens_to_ids("<extra_id_3>") in encoded


def test_high_ids_move_to_the_end():
    trained = train_tokenizer(roberta(), LINES, vocab_size=1000)
    assert trained.tokenizer.mask_token_id == 999
    assert [trained.tokenizer.convert_tokens_to_ids(t) for t in ("<s>", "<pad>", "</s>", "<unk>")] == [
        0,
        1,
        2,
        3,
    ]


def test_numbers_are_cut_as_the_source_cuts_them():
    lines = [*LINES, *["mwaka 2024"] * 50]
    assert "▁2024" not in train_tokenizer(llama2(), lines).tokenizer.get_vocab()
    assert "▁2024" in train_tokenizer(gemma(), lines).tokenizer.get_vocab()


def test_a_special_token_in_the_text_is_not_learnt():
    source = xlmr()
    source.add_tokens(["▁habari"])
    trained = train_tokenizer(source, [*LINES, *["habari habarini"] * 20], algorithm="bpe")
    vocabulary = source_spec(trained.tokenizer)["model"]
    assert ["▁habar", "i"] not in vocabulary["merges"]
    parts = set(vocabulary["vocab"])
    assert all({left, right, left + right} <= parts for left, right in vocabulary["merges"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["roberta", "bert-cased", "xlmr", "llama2"])
def test_another_algorithm_on_request(name, algorithm):
    source = FAMILIES[name][0]()
    trained = train_tokenizer(source, LINES, vocab_size=900, algorithm=algorithm)
    assert trained.algorithm == algorithm
    assert len(trained.tokenizer) == trained.vocab_size == 900
    for line in LINES[:20]:
        decoded = trained.tokenizer.decode(trained.tokenizer(line)["input_ids"], skip_special_tokens=True)
        assert decoded.strip() == line
    assert trained.tokenizer.special_tokens_map == source.special_tokens_map
    assert Vocabulary.of(trained.tokenizer).kind == {
        "byte-bpe": "byte-level",
        "wordpiece": "wordpiece",
    }.get(algorithm, "sentencepiece")


_CHILD = """
import hashlib, sys
from pathlib import Path
from transformers import PreTrainedTokenizerFast
from vocab.tokenizer.training import train_tokenizer
lines = Path(sys.argv[1]).read_text("utf-8").splitlines()
for folder in sys.argv[2:]:
    trained = train_tokenizer(PreTrainedTokenizerFast.from_pretrained(folder), lines)
    whole = trained.tokenizer.backend_tokenizer.to_str().encode()
    print(trained.algorithm, hashlib.sha256(whole).hexdigest())
"""


def test_two_processes_write_the_same_bytes(tmp_path):
    (tmp_path / "text").write_text("\n".join(LINES), "utf-8")
    folders = []
    for name in ("roberta", "bert-cased", "llama2", "xlmr"):
        FAMILIES[name][0]().save_pretrained(tmp_path / name)
        folders.append(str(tmp_path / name))
    printed = []
    for seed, threads in (("1", "1"), ("77", "2")):
        changed = {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
        process = subprocess.run(
            [sys.executable, "-c", _CHILD, str(tmp_path / "text"), *folders],
            env=os.environ | changed | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(process.stdout)
    assert printed[0].split()[::2] == ["byte-bpe", "wordpiece", "bpe", "unigram"]
    assert printed[0] == printed[1]


def test_larger_than_the_text_supports():
    for source in (roberta(), bert(lower=False), xlmr()):
        with pytest.raises(InputError, match=r"does not support .*got 60000, wanted at most \d+") as error:
            train_tokenizer(source, LINES, vocab_size=60_000)
        supported = int(str(error.value).split("at most ")[1].split(")")[0])
        assert train_tokenizer(source, LINES, vocab_size=supported).vocab_size == supported


def test_auto_stops_at_its_limit():
    trained = train_tokenizer(roberta(), LINES, max_auto_size=1000)
    assert trained.vocab_size == 960
    assert "the limit" in trained.why


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        (["", "  "], "is empty"),
        (["habari"], "too little text"),
        (["a b c d"], "too little"),
    ],
)
def test_too_little_text(lines, message):
    for source in (roberta(), bert(lower=False), llama2(), xlmr()):
        with pytest.raises(InputError, match=message):
            train_tokenizer(source, lines)


@pytest.mark.parametrize("size", [0, -5, "many", 3.5])
def test_a_size_that_is_none(size):
    with pytest.raises(UsageError, match="vocabulary size"):
        train_tokenizer(gpt2(), LINES, vocab_size=size)


def test_other_bad_input():
    with pytest.raises(UsageError, match="iterable of lines"):
        train_tokenizer(gpt2(), "one string")
    with pytest.raises(UsageError, match=r"unknown tokenizer algorithm.*byte-bpe or bpe"):
        train_tokenizer(gpt2(), LINES, algorithm="words")
    with pytest.raises(InputError, match=r"no room .*got 100, wanted more than 257"):
        train_tokenizer(gpt2(), LINES, vocab_size=100)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    source = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    with pytest.raises(InputError, match=r"no trainer .*got WordLevel"):
        train_tokenizer(source, LINES)
    assert train_tokenizer(source, LINES, algorithm="wordpiece").tokenizer.unk_token_id == 0


def test_a_source_without_the_tokens_its_model_needs():
    source = bert(lower=True)
    source.pad_token = None
    with pytest.raises(InputError, match="no padding token"):
        train_tokenizer(source, LINES)
    with pytest.raises(InputError, match="no unknown token"):
        train_tokenizer(llama3(), LINES, algorithm="wordpiece")


def test_warns_where_stripping_accents_makes_words_equal():
    yoruba = ["ọjọ́ ọ̀jọ́ òjò ojo", "ọkọ ọkọ̀ oko ọkọ́", "ìlú ilu ìlù"] * 3
    with pytest.warns(UserWarning, match=r"strips accents, which makes 11 of 11 different words"):
        trained = train_tokenizer(bert(lower=True), yoruba)
    assert trained.n_merged_words == 11
    assert train_tokenizer(bert(lower=False), yoruba).n_merged_words == 0


@pytest.mark.slow
@pytest.mark.data
def test_size_and_fit_on_thirty_thousand_sentences(shared_data):
    import gzip

    def read(part: str) -> list[str]:
        with gzip.open(
            shared_data / f"parallel/lafand-en-swa/{part}.tsv.gz", "rt", encoding="utf-8"
        ) as lines:
            return [line.rstrip("\n").split("\t")[1] for line in lines]

    source, train, held_out = bert(lower=True), read("train"), read("dev")
    trained = train_tokenizer(source, train)
    # quality of a transfer peaks between 30,000 and 45,000 tokens on this text
    assert 30_000 <= trained.vocab_size <= 45_000
    ours = train_tokenizer(source, train, vocab_size=16_000).tokenizer.backend_tokenizer
    theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer, theirs.pre_tokenizer = ours.normalizer, ours.pre_tokenizer
    from tokenizers import trainers

    trainer = trainers.WordPieceTrainer(vocab_size=16_000, special_tokens=["[UNK]"], show_progress=False)
    theirs.train_from_iterator(train, trainer)
    n_ours, n_theirs = (
        sum(len(e) for e in t.encode_batch(held_out, add_special_tokens=False)) for t in (ours, theirs)
    )
    assert n_ours == pytest.approx(n_theirs, rel=0.002)
    assert json.loads(ours.to_str())["model"]["unk_token"] == "[UNK]"
