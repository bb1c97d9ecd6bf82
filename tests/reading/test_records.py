"""A CSV read at once, a CSV read line by line, and our own tables: the same rows by every way."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import TableError
from kiyome.reading import files as room
from kiyome.reading.files import read_records
from kiyome.reading.photos import PhotoFinder
from kiyome.reading.table_photos import find_photos

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
plain = st.text("a1 .-'=;_ä葉", max_size=4)


def outcome(read, path):
    """The columns and row numbers, or the error."""
    try:
        found = read(path)
    except TableError as error:
        return str(error)
    return dict(found.columns), list(found.row_numbers)


def by_lines(path):
    return room._read_quoted_csv(room._decoded(path), path)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(plain | cells, plain, plain), max_size=5),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([",", ";", "\t"]),
    st.booleans(),
)
def test_a_csv_read_at_once_holds_what_reading_line_by_line_holds(rows, end, delimiter, is_closed):
    text = end.join(delimiter.join(row) for row in [("id", "label", "x"), *rows]) + (end if is_closed else "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        path.write_bytes(text.encode())
        assert outcome(read_records, path) == outcome(by_lines, path)


def test_a_large_plain_csv_is_read_at_once(tmp_path):
    (tmp_path / "train.csv").write_text("id,label\n" + "".join(f"{n}.jpg,{n % 3}\n" for n in range(100)))
    assert room._read_plain_csv(room._decoded(tmp_path / "train.csv"), tmp_path / "train.csv") is not None


@pytest.mark.parametrize("line", ["5.jpg", "5.jpg,1,2", '"5.jpg,1', "", "5\r.jpg,1"])
def test_a_line_that_is_not_plain_has_the_error_of_the_line_reader(tmp_path, line):
    path = tmp_path / "train.csv"
    rows = [f"{n}.jpg,{n % 3}" for n in range(5)]
    path.write_bytes("\n".join(["id,label", *rows, line, "6.jpg,0", ""]).encode())
    assert room._read_plain_csv(room._decoded(path), path) is None
    assert outcome(read_records, path) == outcome(by_lines, path)


@pytest.mark.parametrize(
    "texts",
    [["a.jpg"], ["a"], ["A.JPG"], ["sub/b.jpg"], ["./a.jpg"], ["caf%C3%A9.jpg", "x"], ["e\u0301.jpg"]],
)
def test_one_look_into_a_folder_hides_no_photo(tmp_path, lay, texts):
    lay(tmp_path, "a.jpg", "sub/b.jpg", "caf\u00e9.jpg", "\u00e9.jpg")
    finder = PhotoFinder(tmp_path)
    found = [finder.find(text)[0] for text in texts]
    assert finder.may_find(texts) or not any(found)
    (tmp_path / "train.csv").write_text("id\nx\n")
    records = read_records(tmp_path / "train.csv")
    assert find_photos(records, texts, tmp_path, allow_missing=True, missing_list=None).paths == found
