from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from align.errors import InputError, OutputError, UsageError
from align.fasttext_training import frequent_words, train_fasttext
from align.fasttext_vectors import FastTextVectors, open_fasttext
from align.text_vectors import _parse_line
from align.vectors import WordVectors, read_vectors, write_vectors

WORDS = ("habari", "nyumba", "mtu")
MATRIX = np.array([[0.5, -1.25, 3.0], [1e-7, 2.0, -0.001], [7.0, 8.0, 9.0]], np.float32)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(words=WORDS, matrix=MATRIX) -> str:
    return "".join(f"{w} {' '.join(map(str, row.tolist()))}\n" for w, row in zip(words, matrix, strict=True))


@pytest.mark.parametrize("header", ["3 3\n", ""])
@pytest.mark.parametrize("name", ["v.vec", "v.txt", "v.vec.gz"])
def test_text_with_and_without_header(tmp_path, header, name):
    text = (header + rows_of()).encode()
    path = write(tmp_path / name, gzip.compress(text) if name.endswith(".gz") else text)
    vectors = read_vectors(path)
    assert vectors.words == WORDS
    np.testing.assert_array_equal(vectors.matrix, MATRIX)


def test_text_layouts_that_occur_in_the_wild(tmp_path):
    text = "\ufeff3 2\r\nat the 1 2\t\r\n. . .\t3  4 \r\nça\xa0va 5e-1 -6E0"
    vectors = read_vectors(write(tmp_path / "v.txt", text))
    assert vectors.words == ("at the", ". . .", "ça\xa0va")
    np.testing.assert_array_equal(vectors.matrix, np.array([[1, 2], [3, 4], [0.5, -6]], np.float32))


@settings(deadline=None)
@example([float(np.finfo(np.float32).max), -1e-45])
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_are_parsed_as_python_parses_them(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("v")
    forms = [f for x in [*numbers, 1.0] for f in (f"{x:.9g}", f"{x:.6f}", repr(x))]
    line = "word " + " ".join(forms)
    header = f"1 {len(forms)}\n"
    matrix = read_vectors(write(folder / "v.txt", header + line + "\n")).matrix
    expected = _parse_line(line.encode(), len(forms), "line")[1]
    np.testing.assert_array_max_ulp(matrix[0], expected, maxulp=1)
    np.testing.assert_array_equal(matrix[0, :-3:3], np.array(numbers, np.float32))


def test_vec_round_trip_is_exact(tmp_path):
    matrix = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32) * np.float32(1e-3)
    vectors = WordVectors(tuple(f"w{i}" for i in range(50)), matrix)
    write_vectors(vectors, tmp_path / "v.vec")
    again = read_vectors(tmp_path / "v.vec")
    assert again.words == vectors.words
    np.testing.assert_array_equal(again.matrix, matrix)


def test_many_blocks_give_the_same_as_one(tmp_path, monkeypatch):
    matrix = np.random.default_rng(1).standard_normal((300, 5)).astype(np.float32)
    words = tuple(f"w{i}" for i in range(300))
    path = tmp_path / "v.vec"
    write_vectors(WordVectors(words, matrix), path)
    monkeypatch.setattr("align.text_vectors._BLOCK_BYTES", 70)
    np.testing.assert_array_equal(read_vectors(path).matrix, matrix)
    path.write_text(path.read_text().split("\n", 1)[1])
    compressed = write(tmp_path / "v.txt.gz", gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_vectors(compressed).matrix, matrix)
    assert read_vectors(path, limit=7).words == words[:7]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("3 3\na 1 2 3\nb 1 2\nc 1 2 3\n", ":3", "wrong number of columns"),
        ("a 1 2 3\nb 1 2 3 4\n", ":2", "wrong number of columns"),
        ("a 1 2 3\n\nb 1 2\n", ":3", "wrong number of columns"),
        ("2 3\na 1 2 3\nb 1 nan 3\n", ":3", "NaN or infinity"),
        ("2 3\na 1 2 3\nb 1 -inf 3\n", ":3", "NaN or infinity"),
        ("2 3\na 1 2 3\nb 1 1e39 3\n", ":3", "NaN or infinity"),
        ("2 3\na 1 2 3\nb 1 x 3\n", ":3", "not a number"),
        (b"2 2\na 1 2\n\xff\xfe 1 2\n", ":3", "not UTF-8"),
        ("5 2\na 1 2\nb 1 2\n", ":1", "header contradicts"),
        ("1 2\na 1 2\nb 1 2\n", ":1", "header contradicts"),
        ("2 3\na 1 2\nb 1 2\n", ":2", "wrong number of columns"),
        ("9999999999 2\na 1 2\n", ":1", "header contradicts"),
        ("2 2\n", "v.vec", "no vectors"),
        ("word\n", ":1", "not a file of word vectors"),
        ("", "v.vec", "empty"),
    ],
)
def test_bad_text_names_file_and_line(tmp_path, text, where, what):
    path = write(tmp_path / "v.vec", text)
    with pytest.raises(InputError) as caught:
        read_vectors(path, strict=True)
    assert what in caught.value.message
    assert str(caught.value.where).endswith(where)


def test_bad_rows_are_left_out_with_one_warning(tmp_path):
    text = b"9 2\na 1 2\nb 1\nc x 2\n\nd 1 nan\n\xff 1 2\na 3 4\ne 0 0\nf 5 6 7\n5 1 2\n\t\n"
    path = write(tmp_path / "v.vec", text)
    with pytest.warns(UserWarning, match="malformed") as caught:
        vectors = read_vectors(path)
    assert vectors.words == ("a", "e", "5")
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [0, 0], [1, 2]])
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "4 of 9 rows are malformed" in message
    assert "v.vec:3: wrong number of columns" in message
    assert "1 of 9 words are not UTF-8" in message
    assert "v.vec:7" in message
    assert "1 of 9 rows repeat a word" in message
    assert "1 of 3 vectors are zero" in message


def test_the_limit_counts_words_that_are_kept(tmp_path):
    path = write(tmp_path / "v.txt", "a 1 2\nb x\na 3 4\nc 5 6\nd 7 8\n" + "e 1 2\n" * 5)
    with pytest.warns(UserWarning, match="1 of 4 rows are malformed.*1 of 4 rows repeat"):
        vectors = read_vectors(path, limit=2)
    assert vectors.words == ("a", "c")
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [5, 6]])


def test_a_file_of_bad_rows_alone_is_refused(tmp_path):
    path = write(tmp_path / "v.vec", "2 3\na 1 2\nb 1 2\n")
    with pytest.raises(InputError, match=r"no vectors \(got .*v\.vec:2: wrong number of columns"):
        read_vectors(path)


def test_the_width_is_that_of_most_first_lines(tmp_path):
    path = write(tmp_path / "v.txt", "a 1\nb 1 2\nc 1 2\n")
    with pytest.warns(UserWarning, match="1 of 3 rows are malformed"):
        assert read_vectors(path).words == ("b", "c")


def test_cut_off_gzip(tmp_path):
    path = write(tmp_path / "v.vec.gz", gzip.compress(rows_of().encode())[:-12])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_vectors(path)


def test_missing_file_directory_and_unknown_kind(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_vectors(tmp_path / "none.vec")
    with pytest.raises(InputError, match="directory"):
        read_vectors(tmp_path)
    with pytest.raises(InputError, match="unknown kind"):
        read_vectors(write(tmp_path / "v.pdf", "x"))


def test_repeated_words_keep_the_first_with_one_warning(tmp_path):
    path = write(tmp_path / "v.vec", "a 1 2\nb 3 4\na 5 6\na 7 8\n")
    with pytest.warns(UserWarning, match="2 of 4 rows repeat a word") as caught:
        vectors = read_vectors(path)
    assert len(caught) == 1
    assert vectors.words == ("a", "b")
    np.testing.assert_array_equal(vectors.vectors_of(["a"]), [[1, 2]])


def test_npz_and_npy(tmp_path):
    np.savez(tmp_path / "v.npz", words=np.array(WORDS), matrix=MATRIX.astype(np.float16), counts=[9, 5, 1])
    vectors = read_vectors(tmp_path / "v.npz", limit=2)
    assert vectors.words == WORDS[:2]
    assert vectors.matrix.dtype == np.float32
    np.testing.assert_array_equal(vectors.counts, [9, 5])
    np.save(tmp_path / "m.npy", MATRIX)
    write(tmp_path / "m.words", "\n".join(WORDS) + "\n")
    np.testing.assert_array_equal(read_vectors(tmp_path / "m.npy").vectors_of([b"mtu"]), MATRIX[2:])


def test_bad_npz_and_npy(tmp_path):
    np.savez(tmp_path / "a.npz", words=np.array(WORDS), matrices=MATRIX)
    np.savez(tmp_path / "b.npz", words=np.array(WORDS, object), matrix=MATRIX)
    np.savez(tmp_path / "c.npz", words=np.array(WORDS[:2]), matrix=MATRIX)
    np.savez(tmp_path / "d.npz", words=np.array(WORDS), matrix=np.full((3, 2), np.nan))
    write(tmp_path / "e.npz", "no archive")
    np.save(tmp_path / "f.npy", MATRIX)
    write(tmp_path / "f.words", "a\nb\n")
    messages = {
        "a.npz": "arrays are missing",
        "b.npz": "not a readable",
        "c.npz": "do not fit",
        "d.npz": "NaN or infinity",
        "e.npz": "not a readable",
        "f.npy": "differ in number",
    }
    for name, message in messages.items():
        with pytest.raises(InputError, match=message) as caught:
            read_vectors(tmp_path / name)
        assert name in str(caught.value.where)


def test_write_refuses_what_the_format_cannot_hold(tmp_path):
    write(tmp_path / "v.vec", "a 1 2\n")
    with pytest.raises(InputError, match="cannot hold this word"):
        write_vectors(WordVectors(("a b",), np.ones((1, 2))), tmp_path / "v.vec")
    with pytest.raises(OutputError):
        write_vectors(WordVectors(("a",), np.ones((1, 2))), tmp_path / "v.vec" / "v.vec")


def test_unknown_strings_go_to_the_subwords():
    inner = WordVectors(("x", "a"), np.array([[9.0, 9.0], [8.0, 8.0]]))
    vectors = WordVectors(("a",), np.array([[1.0, 2.0]]), subword=inner)
    np.testing.assert_array_equal(vectors.vectors_of(["x", "a", "?"]), [[9, 9], [1, 2], [0, 0]])
    np.testing.assert_array_equal(vectors.indices_of(["x", "a", b"\xff"]), [-1, 0, -1])


def test_table_checks_its_arrays():
    with pytest.raises(InputError, match="differ in number"):
        WordVectors(("a", "b"), np.ones((3, 2)))
    with pytest.raises(InputError, match="occurs twice"):
        WordVectors(("a", "a"), np.ones((2, 2)))
    with pytest.raises(InputError, match="NaN"):
        WordVectors(("a",), np.array([[np.inf]]))


# fastText models

TEXT = [
    "habari ya asubuhi, rafiki yangu!",
    "nyumba yangu ni kubwa na nzuri",
    "日本語 ni lugha; ça va? <s>",
] * 20


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.bin"
    train_fasttext(TEXT, dim=20, epochs=1, min_count=1, min_n=2, max_n=4, n_buckets=300, save_to=path)
    return path


QUERIES = ["habari", "rafiki", "日本", "?", "<", ">", "�", "😀", "x", "nyumbani"]
QUERIES += ["", " ", "</s>", "a b", "日本語", "Ünï"]


def library_vectors(path: Path, queries: list[str]) -> np.ndarray:
    from fasttext.FastText import _FastText

    model = _FastText(str(path))
    return np.array([model.get_word_vector(q) for q in queries])


def test_vectors_equal_the_library(model_path):
    vectors = open_fasttext(model_path)
    queries = [*vectors.words, *QUERIES]
    np.testing.assert_allclose(vectors.vectors_of(queries), library_vectors(model_path, queries), atol=1e-6)
    assert "," not in "".join(w for w in vectors.words if len(w) > 1)


def test_words_counts_and_indices_equal_the_library(model_path):
    from fasttext.FastText import _FastText

    model, vectors = _FastText(str(model_path)), open_fasttext(model_path)
    words, counts = model.get_words(include_freq=True)
    assert list(vectors.words) == words
    np.testing.assert_array_equal(vectors.counts, counts)
    queries = [*words, *QUERIES]
    np.testing.assert_array_equal(vectors.indices_of(queries), [model.get_word_id(q) for q in queries])


def test_models_without_ngrams_know_words_only(tmp_path):
    train_fasttext(TEXT, dim=4, epochs=1, min_count=1, min_n=0, max_n=0, save_to=tmp_path / "m.bin")
    vectors = open_fasttext(tmp_path / "m.bin")
    assert not vectors.has_subwords
    np.testing.assert_array_equal(vectors.vectors_of(["habarini"]), np.zeros((1, 4)))
    np.testing.assert_allclose(
        vectors.vectors_of(["habari"]), library_vectors(tmp_path / "m.bin", ["habari"]), atol=1e-6
    )


def test_table_of_a_model_keeps_its_subwords(model_path):
    table = read_vectors(model_path, limit=3)
    whole = read_vectors(model_path)
    assert isinstance(whole, FastTextVectors)
    assert table.words == whole.words[:3]
    np.testing.assert_array_equal(table.vectors_of(QUERIES), whole.vectors_of(QUERIES))


def test_truncated_models(model_path, tmp_path):
    data = model_path.read_bytes()
    cuts = [4, 50, 120, 400, len(data) // 2, len(data) - 1]
    for cut in cuts:
        with pytest.raises(InputError, match="truncated"):
            open_fasttext(write(tmp_path / "cut.bin", data[:cut]))


def test_files_of_other_kinds(model_path, tmp_path):
    data = model_path.read_bytes()
    with pytest.raises(InputError, match="not a fastText model"):
        open_fasttext(write(tmp_path / "a.bin", "3 3\n" + rows_of()))
    with pytest.raises(InputError, match="version"):
        open_fasttext(write(tmp_path / "b.bin", data[:4] + struct.pack("<i", 99) + data[8:]))


def test_quantised_models_are_refused(tmp_path):
    import fasttext

    lines = "".join(f"__label__{i % 2} neno{i} habari ya leo\n" for i in range(400))
    write(tmp_path / "train.txt", lines)
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), dim=8, epoch=1, thread=1, verbose=0)
    model.save_model(str(tmp_path / "labels.bin"))
    words = open_fasttext(tmp_path / "labels.bin")
    np.testing.assert_allclose(
        words.vectors_of(["habari", "zzz"]),
        library_vectors(tmp_path / "labels.bin", ["habari", "zzz"]),
        atol=1e-6,
    )
    model.quantize(retrain=False)
    model.save_model(str(tmp_path / "small.ftz"))
    with pytest.raises(InputError, match="quantised"):
        read_vectors(tmp_path / "small.ftz")


def test_nan_in_a_model_is_found_when_touched(model_path, tmp_path):
    data = bytearray(model_path.read_bytes())
    vectors = open_fasttext(model_path)
    at = vectors._matrix.__array_interface__["data"][0] - vectors._data.__array_interface__["data"][0]
    data[at : at + 4] = struct.pack("<f", float("nan"))
    broken = open_fasttext(write(tmp_path / "nan.bin", bytes(data)))
    assert np.isfinite(broken.vectors_of(list(broken.words[1:]))).all()
    with pytest.raises(InputError, match="NaN or infinity"):
        broken.vectors_of([broken.words[0]])


def test_training_is_reproducible_on_one_thread(tmp_path):
    for name in ("a.bin", "b.bin"):
        train_fasttext(TEXT, dim=8, epochs=2, min_count=1, n_buckets=100, save_to=tmp_path / name)
    write(tmp_path / "text.txt", "\n".join(TEXT) + "\n")
    train_fasttext(
        tmp_path / "text.txt", dim=8, epochs=2, min_count=1, n_buckets=100, save_to=tmp_path / "c.bin"
    )
    first = (tmp_path / "a.bin").read_bytes()
    assert first == (tmp_path / "b.bin").read_bytes()
    assert first == (tmp_path / "c.bin").read_bytes()


def test_words_that_training_gives_a_row() -> None:
    text = ["one, two; two (three) three", "Three three-two"] * 2
    model = train_fasttext(text, dim=2, epochs=1, min_count=3, n_buckets=10)
    words = set(model.words) - {"</s>"}
    every = {"one", "Three", "three-two", "("} | words
    assert frequent_words(text, every, min_count=3) == words
    assert frequent_words(text, {min(words)}, min_count=3) == {min(words)}


def test_training_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(InputError, match=r"too little text .*wanted words that occur 5 times"):
        train_fasttext(["one two three"], min_count=5, n_buckets=10, dim=2)
    with pytest.raises(InputError, match=r"text\.txt:2: the file is not UTF-8"):
        train_fasttext(write(tmp_path / "text.txt", b"a\n\xff\n"))
    with pytest.raises(UsageError, match="architecture"):
        train_fasttext(TEXT, architecture="glove")  # type: ignore[arg-type]
    with pytest.raises(OutputError):
        train_fasttext(TEXT, dim=2, epochs=1, min_count=1, n_buckets=10, save_to=tmp_path / "none" / "m.bin")


def test_importing_the_readers_imports_no_model_library():
    code = "import sys, align.vectors; print([m for m in ('torch', 'fasttext', 'numba') if m in sys.modules])"
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.data
@pytest.mark.parametrize("name", ["source_words.bin", "target_words.bin", "target_bpe_tokens.bin"])
def test_recorded_models_equal_the_library(shared_golden, name):
    path = shared_golden / "vocab" / "inputs" / name
    vectors = open_fasttext(path)
    queries = [*vectors.words, *QUERIES]
    np.testing.assert_allclose(vectors.vectors_of(queries), library_vectors(path, queries), atol=1e-6)


@pytest.mark.data
def test_recorded_tables_open(shared_data):
    gensim = shared_data / "vectors" / "gensim"
    english = read_vectors(gensim / "EN.1-10.cbow1_wind5_hs0_neg10_size300_smpl1e-05.txt.gz")
    assert english.matrix.shape == (20, 300)
    with pytest.raises(InputError, match=r"fasttext\.vec\.gz:150: the word is not UTF-8"):
        read_vectors(gensim / "pang_lee_polarity_fasttext.vec.gz", strict=True)
    with pytest.warns(UserWarning, match="words are not UTF-8"):
        read_vectors(gensim / "pang_lee_polarity_fasttext.vec.gz")
    novels = read_vectors(shared_data / "vectors" / "novels" / "en.npz", limit=1000)
    assert novels.matrix.shape == (1000, 200)
    assert (np.diff(novels.counts) <= 0).all()
