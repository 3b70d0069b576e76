"""The speed benchmark's tokeniser, its extrapolation, and one small run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import wordalign_speed


def test_tokens_are_runs_of_letters_marks_and_digits_or_single_characters():
    line = "Don't stop --\tma\u0301s 3.5_x \u0915\u094d\u0937!"
    expected = "don ' t stop - - ma\u0301s 3 . 5 _ x \u0915\u094d\u0937 !"
    assert wordalign_speed._tokens(line) == expected
    assert list(wordalign_speed._line("a", " ")) == []


def test_growth_of_linear_costs():
    sizes = [
        {"pairs": n, "train_s": n / 100, "rows": n**0.5, "peak_rss_mib": 200 + n / 64} for n in (8000, 16000)
    ]
    growth = wordalign_speed._growth(sizes)
    np.testing.assert_allclose(growth["time_exponent"], 1)
    np.testing.assert_allclose(growth["rows_exponent"], 0.5)
    assert growth["kib_a_pair"] == 16
    assert growth["pairs_in_24_gib"] == (24 * 1024 - 200) * 64


@pytest.mark.slow
def test_our_process_reports_what_it_did(tmp_path):
    lines = [f"w{n % 7} x{n % 5} ||| v{n % 7} y{n % 5} ." for n in range(60)]
    cost = wordalign_speed._ours(wordalign_speed._write(tmp_path / "text.txt", lines))
    assert (cost["pairs"], cost["tokens"]) == (60, [120, 180])
    assert cost["links"] >= 100
    assert cost["wall_s"] > cost["train_s"] > 0
    assert cost["peak_rss_mib"] > 50
    links = (tmp_path / "text.links").read_text().splitlines()
    assert len(links) == 60
    assert sum(len(line.split()) for line in links) == cost["links"]
