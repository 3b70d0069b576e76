"""Methods side by side on one setting."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons
from align.errors import InputError, UsageError
from tests.vocab.conftest import SENTENCES
from vocab.comparison import comparing
from vocab.comparison.comparing import _once, compare, shuffled_constituents
from vocab.comparison.held_out import Evaluation
from vocab.comparison.leave_out import Closeness, Recreated
from vocab.comparison.peak_memory import PeakMemory
from vocab.comparison.results import SHUFFLED, SOURCE, Comparison, MethodResult, in_order
from vocab.comparison.table import as_json, explained, formatted
from vocab.evaluation import BitsPerByte, Retrieval
from vocab.methods import constituents
from vocab.options import TransferOptions
from vocab.plan import Origin
from vocab.tokens import Vocabulary


def pairs(n: int = 120) -> tuple[list[str], list[str]]:
    lines = lexicons.sentences_path("en", "sw").read_text(encoding="utf-8").splitlines()[:n]
    english, swahili = zip(*(line.split("\t")[:2] for line in lines), strict=True)
    return list(english), list(swahili)


def setting(folder: Path, **others: Any) -> TransferOptions:
    english, swahili = pairs()
    return TransferOptions(
        src=str(folder), tgt="sw", parallel=(english, swahili), **{"vocab_size": 400, **others}
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.cli.conftest import save_source

    return save_source(tmp_path_factory.mktemp("comparison") / "tiny", "roberta")


def test_figures_of_a_comparison(source: Path) -> None:
    heard: list[MethodResult] = []
    english, swahili = pairs(150)
    found = compare(
        setting(source),
        methods=("constituents", "copy", "0.5*constituents + 0.5*copy > mean", "omp"),
        evaluation=Evaluation(swahili[120:], english[120:], "thirty pairs"),
        control=True,
        tell=heard.append,
    )
    names = {"constituents", "copy", "0.5*constituents + 0.5*copy > mean", SHUFFLED, SOURCE}
    assert {result.method for result in found.results} == names == {result.method for result in heard}
    assert [method for method, why in found.left_out] == ["omp"]
    assert "--donor" in found.left_out[0][1]
    for result in found.results:
        assert not result.failed
        assert result.retrieval is not None
        assert result.retrieval.n_pairs == 30
        assert result.bits_per_byte is not None
        assert result.bits_per_byte.kind == "masked"
        if result.method != SOURCE:
            assert sum(share.row_share for share in result.origins) == pytest.approx(1)
            assert sum(share.text_share or 0 for share in result.origins) == pytest.approx(1)
            assert result.time_s is not None
            assert result.time_s > 0
            assert result.recreated is not None
            assert result.recreated.n_deleted == found.facts["deleted_tokens"]
    text, tsv, md = (formatted(found.results, layout) for layout in ("text", "tsv", "md"))
    assert len(tsv.splitlines()) == len(text.splitlines()) == len(md.splitlines()) - 1 == 6
    assert {len(line.split("\t")) for line in tsv.splitlines()} == {len(tsv.splitlines()[0].split("\t"))}
    assert "rows_taken_over" in tsv
    assert any(line.startswith("left out: omp: without a donor model: ") for line in explained(found))
    assert as_json(found)["facts"]["deleted_mean_row"]["input"]["cosine"] is not None


def test_what_auto_takes_is_compared_too(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vocab.comparison import comparing
    from vocab.methods import METHODS

    some = {name: METHODS[name] for name in ("copy", "trans-tokenization")}
    monkeypatch.setattr(comparing, "METHODS", some)
    everything = {"trans-tokenization(smooth)", *some}
    for methods, wanted in (
        (("auto", "copy"), everything - {"trans-tokenization"}),
        (("all",), everything),
        (("all", "trans-tokenization(smooth)", "auto"), everything),
        (("copy",), {"copy"}),
    ):
        found = compare(setting(source), methods=methods, deleted_share=0)
        assert len(found.results) == len(wanted) + 1
        assert {result.method for result in found.results} == {*wanted, SOURCE}
        decided = {decision.what: decision.value for decision in found.decisions}
        assert decided.get("method") == (None if methods == ("copy",) else "trans-tokenization(smooth)")


def test_the_same_tokenizer_keeps_every_figure_of_the_source(source: Path) -> None:
    english, swahili = (side[120:] for side in pairs(150))
    found = compare(
        setting(source, tokenizer=str(source), vocab_size=None),
        methods=("copy",),
        evaluation=Evaluation(swahili, english),
        deleted_share=0,
    )
    by_name = {result.method: result for result in found.results}
    copied, untouched = by_name["copy"], by_name[SOURCE]
    assert copied.retrieval == untouched.retrieval
    assert copied.bits_per_byte == untouched.bits_per_byte
    assert copied.recreated is None
    assert "deleted_tokens" not in found.facts
    assert {share.origin for share in copied.origins} == {"copied", "special"}


def test_an_error_of_one_method_is_a_line(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = comparing.make_plans

    def failing(prepared: Any, *others: Any) -> Any:
        if str(prepared.method) == "copy":
            raise InputError("a planted error", hint="none")
        return whole(prepared, *others)

    monkeypatch.setattr(comparing, "make_plans", failing)
    found = compare(setting(source), methods=("copy", "constituents"), deleted_share=0)
    by_name = {result.method: result for result in found.results}
    assert by_name["copy"].failed
    assert "a planted error" in by_name["copy"].note
    assert by_name["constituents"].bits_per_byte is not None
    assert "a planted error" in formatted(found.results)
    assert found.facts["evaluation"].startswith("12 pairs held out")


def test_what_is_left_out_for_one_reason_is_one_line_and_the_order_is_explained() -> None:
    facts: dict[str, Any] = dict.fromkeys(("source", "target", "evaluation"), "x")
    facts |= {"src_vocabulary": 1, "tgt_vocabulary": 1, "scored_bytes": 1, "seconds": {}}
    why = (("omp", "no donor: --donor"), ("wechsel", "no vectors"), ("clp", "no donor: --donor"))
    lines = explained(Comparison((), "retrieval (MRR)", why, facts))
    assert [line for line in lines if line.startswith("left out")] == [
        "left out: omp, clp: no donor: --donor",
        "left out: wechsel: no vectors",
    ]
    assert "ordered by retrieval (MRR), the figure nearest to what the model is for" in lines


def test_a_warning_is_said_once_and_names_the_method() -> None:
    warned: set[str] = set()

    def measure() -> MethodResult:
        warnings.warn("3 pairs are lost", stacklevel=1)
        warnings.warn("3 pairs are lost", stacklevel=1)
        return MethodResult("ofa")

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        _once(warned, "ofa", measure)
        _once(warned, "ramen", measure)
    assert [str(one.message) for one in heard] == ["ofa: 3 pairs are lost"]


def test_text_alone_and_a_base_model(saved_model: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = saved_model("bert-base")
    found = compare(
        setting(folder), methods=("mean",), evaluation=Evaluation(SENTENCES[:4]), deleted_share=0.1
    )
    assert found.ordered_by.startswith("recreated")
    assert set(found.facts["not_measured"]) == {"retrieval", "bits per byte"}
    for result in found.results:
        assert result.retrieval is None
        assert result.bits_per_byte is None


def test_an_untied_head_has_its_own_figures(saved_model: Callable[..., tuple[Path, Any]]) -> None:
    folder, _ = saved_model("llama-untied")
    found = compare(setting(folder), methods=("constituents",), evaluation=Evaluation(SENTENCES[:4]))
    recreated = next(result.recreated for result in found.results if result.method == "constituents")
    assert recreated is not None
    assert recreated.head is not None
    assert recreated.head.cosine != recreated.input.cosine


def test_wrong_settings(source: Path) -> None:
    with pytest.raises(UsageError, match="copy"):
        compare(TransferOptions(src=str(source), mode="trim", scripts=("Latin",)))
    with pytest.raises(UsageError, match="share"):
        compare(setting(source), deleted_share=1.0)
    with pytest.raises(UsageError, match="no method has what it needs"):
        compare(setting(source), methods=("omp",))
    with pytest.raises(UsageError, match="unknown method"):
        compare(setting(source), methods=("constituants",))


def test_shuffling_keeps_the_rows_and_moves_them(tokenizers: Any) -> None:
    src, tgt = Vocabulary.of(tokenizers["roberta"]), Vocabulary.of(tokenizers["bert"])
    plan, control = constituents(src, tgt), shuffled_constituents(src, tgt, seed=0)
    composed = plan.origins == Origin.COMPOSED
    np.testing.assert_array_equal(control.origins, plan.origins)
    moved = plan.differing_rows(control)
    assert composed[moved].all()
    assert len(moved) > 0.8 * composed.sum()

    def rows(one: Any) -> list[bytes]:
        return sorted(row.tobytes() for row in one.weights[np.flatnonzero(composed)].toarray())

    assert rows(plan) == rows(control)


def result(name: str, *, p: float, centred: float, bits: float) -> MethodResult:
    closeness = Closeness(0.5, centred, 0.0)
    return MethodResult(
        name,
        retrieval=Retrieval(100, p, p, p),
        recreated=Recreated(10, closeness),
        bits_per_byte=BitsPerByte("masked", bits, 1, 1, 0),
    )


def test_the_order_is_by_the_most_telling_figure() -> None:
    failed = MethodResult("failed", note="why", failed=True)
    good = [result("a", p=0.1, centred=0.9, bits=3.0), failed, result("b", p=0.5, centred=0.1, bits=2.0)]
    ordered, by = in_order(good)
    assert ([one.method for one in ordered], by[:9]) == (["b", "a", "failed"], "retrieval")
    chance = [result("b", p=0.02, centred=0.1, bits=2.0), failed, result("a", p=0.01, centred=0.9, bits=3.0)]
    ordered, by = in_order(chance)
    assert ([one.method for one in ordered], by[:9]) == (["a", "b", "failed"], "recreated")
    bits = [
        MethodResult(name, bits_per_byte=BitsPerByte("causal", figure, 1, 1, 0))
        for name, figure in (("a", 3.0), ("b", 2.0))
    ]
    ordered, by = in_order([failed, *bits])
    assert ([one.method for one in ordered], by) == (["b", "a", "failed"], "bits per byte")


def test_peak_memory_sees_what_was_freed() -> None:
    with PeakMemory() as memory:
        block = np.ones(64 << 17)  # 64 MiB
        del block
    if memory.mib is None:
        pytest.skip("this system does not let a process reset its high-water mark")
    assert 60 < memory.mib < 200
    with PeakMemory() as nothing:
        pass
    assert nothing.mib is not None
    assert nothing.mib < 20
