"""One matcher of names: what a name may mean, and what it must not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiyome.reading.names import AMBIGUOUS, UNKNOWN, match_names

PATHS = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "Caf\u00e9/IMG_0003.JPG"]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("cat/2.jpg", 1),
        (" cat/2.jpg ", 1),
        ("./cat/2.jpg", 1),
        ("cat\\2.jpg", 1),
        ("C:\\photos\\cat\\2.jpg", 1),
        ("file:///home/ann/cat/2.jpg", 1),
        ("/kaggle/input/pets/cat/2.jpg", 1),
        ("2.jpg", 1),
        ("2", 1),
        ("cat/2", 1),
        ("cat/2.png", 1),
        ("CAT/2.JPG", 1),
        ("cafe\u0301/img_0003.jpg", 3),
        ("img_0003", 3),
        ("cat/002", 1),
        ("02.png", 1),
        ("img_3", UNKNOWN),
        ("https:/host/x/cat/2.jpg", 1),
        ("t/2.jpg", UNKNOWN),
        ("1.jpg", AMBIGUOUS),
        ("bird/1.jpg", UNKNOWN),
        ("bird/2.jpg", UNKNOWN),
        ("../../etc/passwd", UNKNOWN),
        ("", UNKNOWN),
        ("/", UNKNOWN),
        ("jpg", UNKNOWN),
    ],
)
def test_a_name_means_a_row(name: str, row: int) -> None:
    assert match_names([name], PATHS).rows.tolist() == [row]


def test_a_loose_way_counts_only_one_to_one() -> None:
    assert match_names(["a.png", "a.jpg"], ["a"]).rows.tolist() == [AMBIGUOUS, AMBIGUOUS]
    assert match_names(["a.png", "a.jpg"], ["a"], one_to_one=False).rows.tolist() == [0, 0]
    assert match_names(["a", "a.jpg"], ["a"]).rows.tolist() == [0, AMBIGUOUS]
    assert match_names(["a.jpg", "a.jpg"], ["a"]).rows.tolist() == [0, 0]


def test_a_name_may_lack_the_ending_and_hold_points() -> None:
    known = ["cat.v1.jpg", "cat.v2.jpg", "x/dog.png"]
    assert match_names(["cat.v2", "data/cat.v1", "x/dog"], known).rows.tolist() == [1, 0, 2]


def test_an_id_goes_before_a_path() -> None:
    assert match_names(["a", "b", "c"], ["a", "b"], ["b", "c"]).rows.tolist() == [0, 1, 1]


def test_leading_zeros_count_where_both_names_are_in_use() -> None:
    assert match_names(["1.jpg", "01.jpg"], ["01.jpg", "1.jpg"]).rows.tolist() == [1, 0]
    assert match_names(["1", "01"], ["001.jpg"]).rows.tolist() == [AMBIGUOUS, AMBIGUOUS]
    assert match_names(["7", "12"], ["0012.jpg", "0007.jpg"]).counts == {"leading zeros": 2}


def test_what_was_not_exact_is_counted() -> None:
    match = match_names(["cat/1.jpg", "dog\\1.jpg", "2"], PATHS)
    assert match.counts == {"separator": 1, "ending and folder": 1}
    assert match.note("ids") == (
        "2 ids differ from those of the table and were matched: 1 by separator, 1 by ending and folder."
    )
    assert match_names(PATHS, PATHS).note() is None


@given(st.lists(st.text(), unique=True), st.randoms())
def test_exact_names_come_first_whatever_they_look_like(names: list[str], random) -> None:
    shuffled = random.sample(names, len(names))
    rows = match_names(shuffled, names).rows
    assert [names[row] for row in rows] == shuffled


@given(st.lists(st.text(max_size=8)), st.lists(st.text(max_size=8), unique=True))
def test_different_names_never_share_a_row(asked: list[str], known: list[str]) -> None:
    rows = match_names(asked, known).rows
    assert ((rows >= AMBIGUOUS) & (rows < max(len(known), 0))).all() if len(rows) else True
    taken: dict[int, str] = {}
    for name, row in zip(asked, rows.tolist(), strict=True):
        if row >= 0:
            assert taken.setdefault(row, name) == name


def test_order_never_decides() -> None:
    names = ["x/1.jpg", "1", "x\\1.jpg"]
    known = ["x/1.jpg", "y/1.jpg"]
    forward, backward = match_names(names, known).rows, match_names(names[::-1], known).rows
    assert np.array_equal(forward, backward[::-1])
