"""What goes out as a file comes back as it was, whatever photos, classes and reviewers are called."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kiyome.artifacts.escapes import FORMULA_STARTS
from kiyome.decisions.events import Decision
from kiyome.decisions.exchange.answers import ParsedFile, ReviewedRows
from kiyome.decisions.exchange.columns import COLUMNS
from kiyome.decisions.exchange.cvat import NOT_XML
from kiyome.decisions.exchange.formats import FORMATS, format_named, format_of_file, parse_file
from kiyome.errors import InputError
from kiyome.reading.files import read_records
from kiyome.reading.names import match_names, without_ending

HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    "../../etc/passwd",
    "=HYPERLINK(1)",
    "'=HYPERLINK(1)",
    "''=x",
    '"quoted", and, comma',
    "line\nbreak\r\ntab\t",
    "日本語/葉.png",
    "]]>&amp;<!DOCTYPE x>",
    "{[json]}",
    "\u2028\u2029\x85",
    "+1",
    "@SUM(A1)",
    "&lt;",
    " spaces ",
    "null",
    "\U0001f33f",
    "a'b",
)
names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
)
people = st.sampled_from(["anna", "=ben", "ц", "a,b"])


@st.composite
def reviews(draw: st.DrawFn) -> ReviewedRows:
    ids = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    classes = tuple(draw(st.lists(names, min_size=2, max_size=4, unique=True)))
    num_rows, num_classes = len(ids), len(classes)
    labels = st.lists(st.integers(0, num_classes - 1), min_size=num_rows, max_size=num_rows)
    given_labels = np.array(draw(labels))
    who = draw(st.lists(st.tuples(st.integers(0, num_rows - 1), people), unique=True, max_size=8))
    decided = []
    for row, reviewer in sorted(who):
        verdict = draw(st.sampled_from(["keep", "relabel", "drop", "unsure"]))
        others = [name for place, name in enumerate(classes) if place != given_labels[row]]
        label = draw(st.sampled_from(others)) if verdict == "relabel" else None
        seconds = draw(st.none() | st.floats(0, 1e6))
        decided.append(
            Decision(
                image_id=ids[row], verdict=verdict, label=label, reviewer=reviewer, seconds=seconds, run="r,1"
            )
        )
    by_id: dict[str, list[Decision]] = {}
    for each in decided:
        by_id.setdefault(each.image_id, []).append(each)
    agreed = {
        image_id: all_[0]
        for image_id, all_ in by_id.items()
        if len({(d.verdict, d.label) for d in all_}) == 1
    }
    return ReviewedRows(
        run="run",
        class_names=classes,
        image_ids=ids,
        photo_names=ids,
        given_labels=given_labels,
        suggested_labels=np.array(draw(labels)),
        probability=np.linspace(0, 1, num_rows),
        decisions=decided,
        agreed=agreed,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exchange")


def read_back(reviewed: ReviewedRows, name: str, place: Path) -> ParsedFile:
    path = place / FORMATS[name].file_name
    path.write_bytes(FORMATS[name].write(reviewed).content)
    return parse_file(path, reviewed.class_names)


def rows_of(parsed: ParsedFile, reviewed: ReviewedRows) -> list[int]:
    asked = [each.image_id for each in parsed.decisions]
    return match_names(asked, reviewed.image_ids, reviewed.photo_names, one_to_one=False).rows.tolist()


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
@settings(derandomize=True, deadline=None, max_examples=150)
@given(reviewed=reviews())
def test_columns_come_back_exactly(name: str, place: Path, reviewed: ReviewedRows) -> None:
    parsed = read_back(reviewed, name, place)
    assert rows_of(parsed, reviewed) == [reviewed.row_of[each.image_id] for each in reviewed.decisions]
    for found, each in zip(parsed.decisions, reviewed.decisions, strict=True):
        assert (found.reviewer, found.image_id) == (each.reviewer, each.image_id)
        assert found.label == reviewed.label_of(each)
        assert found.verdict == (each.verdict if found.label is None else "relabel")


@pytest.mark.parametrize("name", ["csv", "corrected"])
@settings(derandomize=True, deadline=None, max_examples=150)
@given(reviewed=reviews())
def test_a_spreadsheet_runs_no_cell(name: str, reviewed: ReviewedRows) -> None:
    content = FORMATS[name].write(reviewed).content.decode()
    header, *rows = csv.reader(io.StringIO(content, newline=""))
    assert tuple(header) == (COLUMNS if name == "csv" else ("image_id", "label"))
    assert not [cell for row in rows for cell in row if cell.startswith(FORMULA_STARTS)]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(reviewed=reviews())
def test_label_studio_keeps_reviewers_apart(place: Path, reviewed: ReviewedRows) -> None:
    parsed = read_back(reviewed, "label_studio", place)
    assert rows_of(parsed, reviewed) == [reviewed.row_of[each.image_id] for each in reviewed.decisions]
    for found, each in zip(parsed.decisions, reviewed.decisions, strict=True):
        assert found.reviewer == each.reviewer
        assert found.label == (label := reviewed.label_of(each))
        assert found.verdict == ("unsure" if label is None else "relabel")


@pytest.mark.parametrize("name", ["cvat", "fiftyone"])
@settings(derandomize=True, deadline=None, max_examples=150)
@given(reviewed=reviews())
def test_one_label_a_photo_comes_back_where_people_agree(
    name: str, place: Path, reviewed: ReviewedRows
) -> None:
    ids, classes = reviewed.image_ids, reviewed.class_names
    if name == "cvat":
        assume(not any(NOT_XML.search(text) for text in (*ids, *classes)))
    else:
        assume(len({without_ending(image_id) for image_id in ids}) == len(ids))
    written = FORMATS[name].write(reviewed)
    parsed = read_back(reviewed, name, place)
    rows = [reviewed.image_ids[row] for row in rows_of(parsed, reviewed) if row is not None]
    labels = dict(zip(rows, [each.label for each in parsed.decisions], strict=True))
    assert labels == reviewed.agreed_labels()
    decided_ids = {each.image_id for each in reviewed.decisions}
    assert sum(written.left_out.values()) == len(decided_ids) - len(labels)
    assert sum(parsed.skipped.values()) == len(ids) - len(labels)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(reviewed=reviews())
def test_corrected_labels_are_the_given_ones_but_for_what_people_agree_on(
    place: Path, reviewed: ReviewedRows
) -> None:
    assert FORMATS["corrected"].write_raw is not None
    content = FORMATS["corrected"].write_raw(reviewed).content.decode()
    header, *rows = csv.reader(io.StringIO(content, newline=""))
    assert header == ["image_id", "label"]
    expected = []
    for image_id in reviewed.image_ids:
        agreed = reviewed.agreed.get(image_id)
        label = reviewed.given_label(image_id)
        if agreed is not None and agreed.verdict == "relabel":
            label = agreed.label
        if agreed is None or agreed.verdict != "drop":
            expected.append([image_id, label])
    assert rows == expected
    (place / "corrected_labels.csv").write_bytes(FORMATS["corrected"].write(reviewed).content)
    read_back = read_records(place / "corrected_labels.csv")
    assert list(map(list, zip(*read_back.columns.values(), strict=True))) == expected


def test_label_studio_tasks_carry_the_suggestion_and_where_the_photo_lies() -> None:
    reviewed = ReviewedRows(
        run="leaves",
        class_names=("healthy", "rust"),
        image_ids=["a b.jpg", "c.jpg"],
        photo_names=["x/a b.jpg", "x/c.jpg"],
        given_labels=np.array([0, 1]),
        suggested_labels=np.array([1, 1]),
        probability=np.array([0.75, 0.1]),
        decisions=[
            Decision(image_id="a b.jpg", verdict="relabel", label="rust", reviewer="anna", seconds=1.5)
        ],
    )
    first, second = json.loads(FORMATS["label_studio"].write(reviewed).content)
    assert first["data"]["image"] == "/data/local-files/?d=x/a%20b.jpg"
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["rust"]}}
    assert first["annotations"] == [{"result": [choice], "was_cancelled": False, "lead_time": 1.5}]
    assert first["predictions"] == [{"model_version": "leaves", "score": 0.75, "result": [choice]}]
    assert second == {
        "data": {"image": "/data/local-files/?d=x/c.jpg", "image_id": "c.jpg", "given_label": "rust"}
    }


def test_an_audit_goes_out_without_labels_that_stay_sealed() -> None:
    decided = [Decision(image_id="s1", verdict="unsure", reviewer="anna")]
    blind = ReviewedRows(
        run="r-audit", class_names=("a", "b"), image_ids=["s1"], photo_names=["s1.jpg"], decisions=decided
    )
    for name in ("csv", "jsonl", "label_studio", "cvat", "fiftyone"):
        content = FORMATS[name].write(blind).content
        assert b"predictions" not in content
        assert content.count(b"given_label") <= 1  # the name of an empty column


def test_names_that_a_format_cannot_hold_are_refused() -> None:
    def named(*ids: str) -> ReviewedRows:
        return ReviewedRows(run="r", class_names=("a", "b"), image_ids=ids, photo_names=ids)

    with pytest.raises(InputError, match=r"The name 'bell\\x07' and 0 more have control characters"):
        FORMATS["cvat"].write(named("bell\x07"))
    with pytest.raises(InputError, match=r"1 names of photos differ in the ending .* such as 'x'"):
        FORMATS["fiftyone"].write(named("x.jpg", "x.png"))
    with pytest.raises(InputError, match=r"The format .* is unknown. Expected one of csv, parquet, jsonl"):
        format_named("excel")
    with pytest.raises(InputError, match=r"The ending of 'a\.xlsx' does not tell the format"):
        format_of_file(Path("a.xlsx"))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(names, min_size=1, max_size=6, unique=True), st.randoms())
def test_every_id_finds_its_row_whatever_the_paths_are(ids: list[str], random) -> None:
    paths = random.sample(ids, len(ids))
    assert match_names(ids, ids, paths, one_to_one=False).rows.tolist() == list(range(len(ids)))
