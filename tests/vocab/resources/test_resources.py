"""What can be had for a language, what is chosen, and what arrives."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from align.errors import InputError, UnavailableError, UsageError
from tests.vocab.fake_hub import FakeHub, serving
from tests.vocab.fake_opus import API, FakeOpus, bundled_pairs, moses_zip
from vocab.languages import language
from vocab.materials.arrival import arrival_sieve, receive, scripts_of
from vocab.resources import addresses, fasttext_vectors, fetch, fetch_fasttext_vectors, find, opus
from vocab.resources.selection import Selection, Terms, select, select_folder

EN, SW = language("en"), language("sw")
_MODEL = (793712314).to_bytes(4, "little") + os.urandom(5_000)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with serving(monkeypatch, tmp_path / "cache") as server:
        yield server


@pytest.fixture
def corpora(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeOpus:
    served = FakeOpus(hub, monkeypatch)
    pairs = bundled_pairs()
    served.add("GlobalVoices", pairs[:100], version="v2018q4")
    served.add("GlobalVoices", pairs[:90], version="v2015", latest="False")
    served.add("Tatoeba", pairs[100:150], codes=("en", "swh"))
    served.add("QED", pairs[150:200], codes=("en", "swa"), n_pairs="")
    return served


def _terms(tmp_path: Path, **other: Any) -> Terms:
    values: dict[str, Any] = {
        "n_pairs": 300_000,
        "max_mb": 500,
        "prefer": (),
        "exclude": (),
        "cache": tmp_path / "cache",
        "hub_cache": tmp_path / "hf",
        "offline": False,
    }
    return Terms(**values | other)


def _names(selection: Selection) -> list[str]:
    return [t.resource.label for t in selection.taken]


def test_corpora_under_every_code_of_a_language(corpora: FakeOpus) -> None:
    found = {r.name: r for r in find("en", "swahili") if r.source == "opus"}
    assert sorted(found) == ["GlobalVoices", "QED", "Tatoeba"]
    voices = found["GlobalVoices"]
    assert (voices.version, voices.n_pairs, voices.languages) == ("v2018q4", 100, "en-sw")
    assert voices.url == corpora.hub.url + "/files/OPUS-GlobalVoices/v2018q4/moses/en-sw.txt.zip"
    assert (
        voices.size_bytes == len(corpora.hub.files[voices.url.removeprefix(corpora.hub.url)]) // 1000 * 1000
    )
    assert found["Tatoeba"].tgt == "swh"
    assert found["QED"].n_pairs is None  # nobody counted
    queries = [r.query for r in corpora.hub.gets(API)]
    assert "source=en&target=swh&preprocessing=moses&version=latest" in queries


def test_the_pair_is_asked_for_in_opus_order_and_read_in_ours(corpora: FakeOpus, tmp_path: Path) -> None:
    pairs = [(b, a) for a, b in bundled_pairs()[:20]]
    corpora.add("Books", pairs, codes=("sw", "en"))
    (books,) = [r for r in opus.find(SW, EN, tmp_path, offline=False) if r.name == "Books"]
    assert (books.src, books.tgt, books.file.name) == ("sw", "en", "Books.v1.en-sw.zip")
    assert list(opus.pairs(fetch(books, tmp_path), books)) == pairs


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        ("sw", ("sw", "swa", "swh")),
        ("swh", ("sw", "swa", "swh")),
        ("de", ("de",)),
        ("pt", ("pt", "pt_br", "pt_BR")),
        ("pt_br", ("pt_br", "pt_BR", "pt")),
        ("en_GB", ("en_gb", "en_GB", "en")),
        ("zh", ("zh", "zh_cn", "zh_CN", "cmn")),
        ("zh_tw", ("zh_tw", "zh_TW", "zh_HK")),
        ("nb", ("nb", "no", "nb_NO")),
        ("tl", ("tl", "fil")),
        ("yo", ("yo", "yor")),
        ("fa", ("fa", "pes")),
        ("arz", ("arz",)),
    ],
)
def test_opus_codes(asked: str, codes: tuple[str, ...]) -> None:
    assert opus.codes(language(asked)) == codes


def test_a_second_question_is_answered_from_the_cache(corpora: FakeOpus) -> None:
    first = [r for r in find("en", "sw") if r.source == "opus"]
    asked = len(corpora.hub.gets(API))
    assert [r for r in find("en", "sw") if r.source == "opus"] == first
    assert len(corpora.hub.gets(API)) == asked
    assert [r for r in find("en", "sw", offline=True) if r.source == "opus"] == first


def test_an_old_answer_is_asked_for_again_and_serves_when_nobody_answers(
    corpora: FakeOpus, tmp_path: Path
) -> None:
    opus.find(EN, SW, tmp_path, offline=False)
    for path in (tmp_path / "opus").iterdir():
        os.utime(path, (0, 0))
    corpora.add("TED2020", bundled_pairs()[:5])
    assert "TED2020" in {r.name for r in opus.find(EN, SW, tmp_path, offline=False)}
    for path in (tmp_path / "opus").iterdir():
        os.utime(path, (0, 0))
    corpora.hub.stop()
    try:
        assert "TED2020" in {r.name for r in opus.find(EN, SW, tmp_path, offline=True)}
    finally:
        corpora.hub.start(corpora.hub.port)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>please log in</html>", "the answer is no JSON"),
        (b'{"corpora": [{"corpus": "A"', "the answer is no JSON"),
        (b'["a"]', "something else than a list of corpora"),
        (b'{"corpora": {}}', "something else than a list of corpora"),
        (b'{"corpora": ["a"]}', "something else than a list of corpora"),
        (b'{"corpora": [{"corpus": "../../x", "version": "v1", "url": "https://a/b"}]}', "'../../x'"),
        (b'{"corpora": [{"corpus": "A", "version": "..", "url": "https://a/b"}]}', r"'\.\.'"),
        (b'{"corpora": [{"corpus": "A", "version": "v1", "url": "file:///etc/passwd"}]}', "no address for A"),
        (b'{"corpora": [{"corpus": "A", "version": "v1"}]}', "no address for A"),
    ],
)
def test_answers_that_are_none(corpora: FakeOpus, tmp_path: Path, answer: bytes, said: str) -> None:
    corpora.answer = answer
    with pytest.raises(UnavailableError, match=said) as caught:
        opus.find(EN, SW, tmp_path, offline=False)
    assert "\n" not in caught.value.message
    corpora.answer = None  # and nothing of it was kept
    assert len(opus.find(EN, SW, tmp_path, offline=False)) == 3


def test_a_server_error_is_one_line(corpora: FakeOpus, tmp_path: Path) -> None:
    corpora.hub.statuses[API] = [500] * 4
    with pytest.raises(UnavailableError, match="OPUS's corpora of en-sw could not be looked up: status 500"):
        opus.find(EN, SW, tmp_path, offline=False)


def test_no_corpora(corpora: FakeOpus, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="OPUS has no corpora of English-Tatar"):
        select(["opus:auto"], EN, language("tt"), _terms(tmp_path))


def test_named_corpora(corpora: FakeOpus, tmp_path: Path) -> None:
    asked = ["opus:tatoeba", "opus:GlobalVoices@v2015", "opus:auto"]
    selection = select(asked, EN, SW, _terms(tmp_path))
    # the other version is another resource, and auto fills up
    assert _names(selection)[:2] == ["Tatoeba v1", "GlobalVoices v2015"]
    assert {t.why for t in selection.taken[:2]} == {"named"}
    assert set(_names(selection)) == {"Tatoeba v1", "GlobalVoices v2015", "GlobalVoices v2018q4", "QED v1"}
    with pytest.raises(UsageError, match=r"no corpus Bible of en-sw .*wanted GlobalVoices, QED, Tatoeba"):
        select(["opus:Bible"], EN, SW, _terms(tmp_path))
    with pytest.raises(UsageError, match="no corpus QED v9 of en-sw"):
        select(["opus:QED@v9"], EN, SW, _terms(tmp_path))


def test_offline_takes_what_is_in_the_cache(corpora: FakeOpus, tmp_path: Path) -> None:
    chosen = select(["opus:auto"], EN, SW, _terms(tmp_path))
    with pytest.raises(UnavailableError, match="none of OPUS's 3 corpora of English-Swahili is in the cache"):
        select(["opus:auto"], EN, SW, _terms(tmp_path, offline=True))
    fetch(chosen.taken[0].resource)
    assert _names(select(["opus:auto"], EN, SW, _terms(tmp_path, offline=True))) == _names(chosen)[:1]


def test_an_archive_is_read_and_its_licence_told(corpora: FakeOpus, tmp_path: Path) -> None:
    voices = next(r for r in opus.find(EN, SW, tmp_path, offline=False) if r.name == "GlobalVoices")
    path = fetch(voices, tmp_path)
    assert list(opus.pairs(path, voices)) == bundled_pairs()[:100]
    assert opus.licence(path) == "CC BY 4.0, as its makers say"


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (moses_zip("A", [("a", "b")], codes=("en", "fr")), "'sw'"),
        (b"PK\x03\x04 not really", "damaged"),
    ],
)
def test_archives_that_are_refused(corpora: FakeOpus, tmp_path: Path, archive: bytes, said: str) -> None:
    corpora.add("Books", [], archive=archive)
    (books,) = [r for r in opus.find(EN, SW, tmp_path, offline=False) if r.name == "Books"]
    with pytest.raises(UnavailableError, match=said) as caught:
        fetch(books, tmp_path)
    assert "\n" not in caught.value.message
    assert not books.path(tmp_path).exists()


def test_text_of_one_language(corpora: FakeOpus, tmp_path: Path) -> None:
    lines = [swahili for _, swahili in bundled_pairs()[:30]]
    path = corpora.add_text("Wikipedia", lines, code="swh")
    (text,) = [r for r in find("en", "sw") if r.kind == "text"]
    assert (text.label, text.languages, text.n_pairs) == ("Wikipedia v1", "swh", 30)
    selection = select(["text:wikipedia"], EN, SW, _terms(tmp_path))
    assert _names(selection) == ["Wikipedia v1"]
    assert gzip.decompress(fetch(text).read_bytes()).decode().splitlines() == lines
    with pytest.raises(UsageError, match=r"no corpus Europarl of sw .wanted Wikipedia"):
        select(["text:Europarl"], EN, SW, _terms(tmp_path))
    corpora.hub.files[path] = b"\x1f\x8b no gzip"
    with pytest.raises(UnavailableError, match="refused"):
        fetch(text, tmp_path / "another")


def test_an_archive_much_larger_than_announced(corpora: FakeOpus, tmp_path: Path) -> None:
    path = corpora.add("Books", [], archive=os.urandom(1_200_000))
    corpora.entries[-1]["size"] = 100
    (books,) = [r for r in opus.find(EN, SW, tmp_path, offline=False) if r.name == "Books"]
    with pytest.raises(UnavailableError, match=r"Books v1 has 1\.2 MB, and 0\.1 were announced"):
        fetch(books, tmp_path)
    assert corpora.hub.gets(path) == []


def test_sides_of_unequal_length(corpora: FakeOpus, tmp_path: Path) -> None:
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("A.en-sw.en", "one\ntwo\n")
        archive.writestr("A.en-sw.sw", "moja\n")
    corpora.add("Books", [], archive=packed.getvalue())
    (books,) = [r for r in opus.find(EN, SW, tmp_path, offline=False) if r.name == "Books"]
    with pytest.raises(InputError, match="one ends after 1 lines"):
        list(opus.pairs(fetch(books, tmp_path), books))


def test_every_source_has_an_address_that_can_be_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    for source, known in addresses.ADDRESSES.items():
        monkeypatch.delenv(known.variable, raising=False)
        assert addresses.address(source) == known.url
        monkeypatch.setenv(known.variable, "http://mirror/x")
        assert addresses.address(source) == "http://mirror/x/"
        monkeypatch.setenv(known.variable, "mirror/x")
        with pytest.raises(UsageError, match=f"{known.variable}: not an address"):
            addresses.address(source)


def test_filters_on_arrival_each_with_its_count() -> None:
    good = ("the house is large", "nyumba ni kubwa")
    pairs = [
        good,
        ("", "nyumba"),
        ("The House is large", "Nyumba ni kubwa"),  # the same but for case
        ("same", "same"),
        ("a bell\x07", "kengele"),
        ("yes", "ndiyo " * 30),
        ("the house is small", "ගෙදර කුඩායි"),
        ("x" * 1001, "y" * 1001),
        ("the house is old", "nyumba ni nzee"),
    ]
    arrived = receive(pairs, arrival_sieve(EN, SW))
    assert list(zip(arrived.src, arrived.tgt, strict=True)) == [good, pairs[-1]]
    assert (arrived.n_read, arrived.n_drawn, sum(arrived.dropped.values())) == (9, 9, 7)
    assert set(arrived.dropped.values()) == {1}


def test_what_another_corpus_had_is_not_taken_again() -> None:
    sieve, pairs = arrival_sieve(EN, SW), bundled_pairs()[:50]
    first = receive(pairs, sieve)
    again = receive(pairs[25:] + bundled_pairs()[50:60], sieve)
    assert (len(first), first.dropped) == (50, {})
    assert (len(again), again.dropped) == (10, {"that came before": 25})


@pytest.mark.parametrize(("max_pairs", "n_announced"), [(100, 1718), (500, 1718), (1718, 1718), (99, None)])
def test_a_part_of_a_corpus_is_drawn_evenly(max_pairs: int, n_announced: int | None) -> None:
    pairs = [(f"the house number {n}", f"nyumba namba {n}") for n in range(1718)]
    arrived = receive(pairs, arrival_sieve(EN, SW), max_pairs=max_pairs, n_announced=n_announced)
    numbers = [int(line.split()[-1]) for line in arrived.src]
    assert len(numbers) == max_pairs
    if n_announced is None:
        assert numbers == list(range(max_pairs))
    else:
        steps = {b - a for a, b in pairwise(numbers)}
        assert max(steps) - min(steps) <= 1
        assert numbers[-1] == 1717


def test_scripts_of_languages() -> None:
    assert scripts_of(SW) == ("LATIN",)
    assert scripts_of(language("si")) == ("SINHALA",)
    assert "HIRAGANA" in scripts_of(language("ja"))
    assert scripts_of(language("sr-Latn")) == ("LATIN",)
    assert scripts_of(language("cjs")) == ()
    chinese = [("the house is large and very old indeed", "房子又大又旧"), ("the house", "nyumba")]
    assert len(receive(chinese, arrival_sieve(EN, language("zh")))) == 1


def test_vectors_of_both_kinds(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    FakeOpus(hub, monkeypatch)
    hub.files["/vectors/cc.sw.300.bin.gz"] = gzip.compress(_MODEL)
    hub.files["/vectors/cc.no.300.bin.gz"] = gzip.compress(_MODEL)
    hub.files["/vectors/cc.sw.300.vec.gz"] = gzip.compress(b"2 3\na 1 2 3\nb 4 5 6\n")
    found = fasttext_vectors("sw")
    assert found.size_bytes == len(hub.files["/vectors/cc.sw.300.bin.gz"])
    assert [r.method for r in hub.requests] == ["HEAD"]
    path = fetch_fasttext_vectors("sw")
    assert path == tmp_path / "cache" / "fasttext" / "cc.sw.300.bin"
    assert path.read_bytes() == _MODEL
    n_requests = len(hub.requests)
    assert fetch_fasttext_vectors("sw", offline=True) == path
    assert len(hub.requests) == n_requests
    assert fasttext_vectors("nb").name == "cc.no.300.bin"
    from vocab.resources import fasttext

    packed = fetch(fasttext.find(SW, tmp_path, suffix=".vec.gz", offline=False), tmp_path)
    assert packed.name == "cc.sw.300.vec.gz"  # never unpacked
    with pytest.raises(UnavailableError, match="no fastText vectors are published for 'tt'"):
        fasttext_vectors("tt")
    with pytest.raises(UnavailableError, match=r"offline mode is on.*unpack it to"):
        fasttext_vectors("tt", offline=True)


@pytest.mark.parametrize("name", ["cc.sw.300.bin.gz", "cc.sw.300.vec.gz"])
def test_a_page_instead_of_vectors(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    FakeOpus(hub, monkeypatch)
    from vocab.resources import fasttext

    hub.files[f"/vectors/{name}"] = gzip.compress(b"<html>please log in</html>")
    suffix = ".vec.gz" if ".vec" in name else ".bin"
    found = fasttext.find(SW, tmp_path, suffix=suffix, offline=False)
    with pytest.raises(UnavailableError, match=r"not a (fastText model|table of vectors)"):
        fetch(found, tmp_path)
    assert not found.path(tmp_path).exists()


def test_what_cannot_be_asked_is_left_out_with_a_warning(corpora: FakeOpus) -> None:
    corpora.hub.statuses[API] = [404]
    with pytest.warns(UserWarning, match="OPUS's corpora of en-sw could not be looked up: status 404"):
        found = find("en", "sw", offline=None)
    assert {r.source for r in found} == {"bundled"}
    assert json.dumps([r.label for r in found])


def _kit(folder: Path, **other: Any) -> Path:
    """A described directory with one file."""
    folder.mkdir()
    (folder / "a.tsv").write_text("good morning\thabari za asubuhi\n", encoding="utf-8")
    entry = {
        "kind": "parallel",
        "source": "hub",
        "name": "org/data/a.tsv",
        "version": "main",
        "src": "en",
        "tgt": "sw",
        "n_pairs": None,
        "size_bytes": 10,
        "url": "https://example.org/a.tsv",
        "licence": "",
        "file": "a.tsv",
        "sha256": None,
        "max_pairs": None,
    }
    told = {"schema": 1, "languages": ["en", "sw"], "resources": [entry | other]}
    (folder / "resources.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def test_a_described_directory(tmp_path: Path) -> None:
    kit = _kit(tmp_path / "kit", max_pairs=5)
    (taken,) = select_folder(kit, EN, SW, _terms(tmp_path)).taken
    assert taken.max_pairs == 5
    assert fetch(taken.resource, tmp_path / "elsewhere") == kit / "a.tsv"
    with pytest.raises(InputError, match=r"resources of other languages .*got en-sw, wanted en-fr"):
        select_folder(kit, EN, language("fr"), _terms(tmp_path))
    (kit / "a.tsv").unlink()
    with pytest.raises(InputError, match=r"org/data/a\.tsv main is not there"):
        select_folder(kit, EN, SW, _terms(tmp_path))
    for text in ("{", "[]", '{"languages": ["en", "sw"], "resources": [{"name": "x"}]}'):
        (kit / "resources.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="not a description of resources"):
            select_folder(kit, EN, SW, _terms(tmp_path))


@pytest.mark.parametrize("file", ["../secret.tsv", "/etc/hostname", "link.tsv"])
def test_a_description_names_nothing_outside(tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.tsv").write_text("a\tb\n")
    kit = _kit(tmp_path / "kit", file=file)
    (kit / "link.tsv").symlink_to(tmp_path / "secret.tsv")
    with pytest.raises(InputError, match="outside of the directory"):
        select_folder(kit, EN, SW, _terms(tmp_path))
