import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.report.render import HIDDEN_CATEGORIES, JOINERS, chance, count, percent, score, shown

any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


@given(any_text, st.integers(10, 100))
@settings(derandomize=True, deadline=None)
def test_what_is_shown_is_one_visible_bounded_line_that_can_be_written(text: str, limit: int) -> None:
    line = shown(text, limit)
    assert line
    assert len(line.splitlines()) == 1
    assert len(line) <= 10 * limit
    assert all(unicodedata.category(c) not in HIDDEN_CATEGORIES or c in JOINERS for c in line)
    line.encode("utf-8")


@pytest.mark.parametrize(
    "text", ["leaf_001.jpg", "キャッサバ", "سالم", "می\u200cخواهم", "<b>&amp;</b>", "naïve café", "👍"]
)
def test_ordinary_names_are_left_alone(text: str) -> None:
    assert shown(text) == text


def test_a_long_name_keeps_both_ends() -> None:
    line = shown("train/" + "x" * 5000 + "_0042.jpg")
    assert line.startswith("train/")
    assert line.endswith("_0042.jpg")
    assert len(line) == 80


def test_an_empty_name_is_said_to_be_empty() -> None:
    assert shown("") == "(empty)"


def test_numbers_read_as_a_person_writes_them() -> None:
    assert (count(1_234_567), percent(1.0), percent(0.0005)) == ("1,234,567", "100.0\u00a0%", "0.1\u00a0%")
    assert [chance(p) for p in (1.0, 0.99, 0.5, 0.0)] == [f"{p}\u00a0%" for p in (">99", 99, 50, "<1")]
    assert (score(1.0), score(0.0005)) == ("1.000", "0.001")
