"""A submission has the form of its sample, and its labels are those that the training table wrote."""

import json
import re

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.reading.photo_list import PhotoList
from kiyome.reading.submission import known_label_texts, submission_form

NAMES = ("blight", "healthy", "rust")
NUMBERED = known_label_texts(NAMES, ("0", "1", "2"))
NAMED = known_label_texts(NAMES, NAMES)
BINARY = ("benign", "malignant")


def listed(**columns):
    """Photos `a` and `b` with these columns beside their ids, each filled with one value."""
    values = {name: value if isinstance(value, list) else [value] * 2 for name, value in columns.items()}
    return PhotoList(
        image_ids=("b", "a"), paths=("", ""), id_column="id", columns={"id": ["b", "a"], **values}
    )


def written(form, *probs):
    """The header, and the cells of the first row."""
    header, first, _ = form.rows(("b", "a"), np.array([probs, probs]))
    return header, first


@pytest.mark.parametrize("value", ["4", "0", "-1", "2.0", ""])
def test_numbers_stay_numbers_whatever_number_the_sample_holds(value):
    form = submission_form(listed(diagnosis=value), NUMBERED)
    assert written(form, 0.1, 0.2, 0.7) == (["id", "diagnosis"], ["b", "2"])
    assert bool(form.notes) == (value in ("4", "-1"))
    assert "as in the training data: '0', '1', '2'" in form.description


def test_names_are_written_where_the_sample_has_names_or_the_table_had():
    for ways, value in ((NUMBERED, "rust"), (NAMED, "rust"), (NAMED, ""), (NAMED, " Rust ")):
        form = submission_form(listed(label=value), ways)
        assert written(form, 0.1, 0.2, 0.7)[1] == ["b", "rust"]
    assert written(submission_form(listed(), NUMBERED), 0, 1, 0) == (["id", "label"], ["b", "1"])


@pytest.mark.parametrize("value", ["4", "0", "unknown"])
def test_labels_that_nothing_explains_are_refused_and_never_alphabetical_numbers(value):
    with pytest.raises(
        InputError, match=rf"in column 'label' .* not those of the run: '{value}'; the run has 'blight'"
    ):
        submission_form(listed(label=value), NAMED)
    form = submission_form(listed(label=value), NAMED, form="labels")
    assert written(form, 0, 1, 0)[1] == ["b", "healthy"]


@pytest.mark.parametrize(
    "content",
    [{"5": "rust", "6": "blight", "7": "healthy"}, {"rust": 5, "healthy": 7, "blight": 6}],
)
def test_a_class_map_gives_the_numbers_of_a_sample_their_meaning(content, tmp_path):
    (tmp_path / "label_num_to_disease_map.json").write_text(json.dumps(content))
    sample = tmp_path / "sample.csv"
    beside = known_label_texts(NAMES, NAMES, sample=sample)
    given = known_label_texts(NAMES, NAMES, class_map=tmp_path / "label_num_to_disease_map.json")
    for ways in (beside, given):
        form = submission_form(listed(label="7"), ways)
        assert written(form, 0.1, 0.2, 0.7)[1] == ["b", "5"]
        assert "as in label_num_to_disease_map.json: '6', '7', '5'" in form.description


def test_a_class_map_of_other_classes_is_refused_when_given_and_passed_over_when_beside(tmp_path):
    path = tmp_path / "label_num_to_disease_map.json"
    path.write_text('{"0": "cat", "1": "dog"}')
    assert known_label_texts(NAMES, NAMES, sample=tmp_path / "sample.csv") == NAMED
    with pytest.raises(InputError, match=r"label_num.* has the classes 'cat', 'dog'; the run has 'blight'"):
        known_label_texts(NAMES, NAMES, class_map=path)


@pytest.mark.parametrize(
    "columns",
    [
        ("rust", "blight", "healthy"),
        ("Rust", "BLIGHT", "healthy"),
        ("p_rust", "p_blight", "p_healthy"),
        ("rust_prob", "blight_prob", "healthy_prob"),
        ("2", "0", "1"),
        ("class_2", "class_0", "class_1"),
    ],
)
@pytest.mark.parametrize("value", ["0.33", "0", ""])
def test_one_column_a_class_holds_probabilities_in_the_samples_order(columns, value):
    form = submission_form(listed(**dict.fromkeys(columns, value)), NUMBERED)
    assert written(form, 0.25, 0.25, 0.5) == (["id", *columns], ["b", "0.5", "0.25", "0.25"])
    assert form.description.startswith("probabilities, one column a class: ")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("rust", "healthy"), ": no column for 'blight'."),
        (("rust", "healthy", "scab"), ": no column for 'blight'; no class called 'scab'."),
        (("rust", "healthy", "blight", "Usage"), ": no class called 'Usage'."),
        (("p_rust", "p_healthy"), ": no column for 'blight'."),
        (("rust", "healthy", "Rust"), ": no column for 'blight'"),
        (
            ("c0", "c1", "c2"),
            ": no column for 'blight', 'healthy', 'rust'; no class called 'c0', 'c1', 'c2'.",
        ),
    ],
)
def test_columns_that_are_not_the_classes_are_named(columns, message):
    with pytest.raises(InputError, match="The columns of the sample are not the classes of the run") as error:
        submission_form(listed(**dict.fromkeys(columns, "0.3")), NAMED)
    assert message in str(error.value)
    assert "--class-map" in error.value.remedy


@pytest.mark.parametrize("value", ["0.5", "0", "1", ["0.2", "0.9"], "0.0"])
@pytest.mark.parametrize(
    ("column", "texts", "positive"),
    [
        ("target", ("0", "1"), 1),
        ("target", ("1", "0"), 0),
        ("target", ("False", "True"), 1),
        ("malignant", BINARY, 1),
        ("is_benign", BINARY, 0),
    ],
)
def test_one_column_of_a_binary_target_holds_the_probability_of_the_positive_class(
    value, column, texts, positive
):
    form = submission_form(listed(**{column: value}), known_label_texts(BINARY, texts))
    assert written(form, 0.25, 0.75) == (["id", column], ["b", ["0.25", "0.75"][positive]])
    assert form.description == f"the probability of {BINARY[positive]!r} in column {column!r}"


def test_labels_0_and_1_in_a_sample_are_labels_and_a_guess_is_noted():
    ways = known_label_texts(BINARY, ("0", "1"))
    form = submission_form(listed(target=["0", "1"]), ways)
    assert written(form, 0.25, 0.75)[1] == ["b", "1"]
    guessed = submission_form(listed(target="0"), ways)
    assert "holds only '0', taken for a probability; `kiyome predict --form labels`" in guessed.notes[0]
    assert written(submission_form(listed(target="0"), ways, form="labels"), 0.25, 0.75)[1] == ["b", "1"]
    assert not submission_form(listed(target="0.5"), ways).notes


def test_a_probability_whose_class_is_not_known_is_refused_until_a_map_numbers_the_classes(tmp_path):
    sample = listed(target="0.5")
    with pytest.raises(
        InputError, match=r"'target' .* one class of 'benign', 'malignant', but does not tell which"
    ) as error:
        submission_form(sample, known_label_texts(BINARY, BINARY))
    (tmp_path / "map.json").write_text(re.search(r"{.*}", error.value.remedy)[0])
    ways = known_label_texts(BINARY, BINARY, class_map=tmp_path / "map.json")
    assert written(submission_form(sample, ways), 0.25, 0.75)[1] == ["b", "0.75"]
    with pytest.raises(InputError, match="one whose column is named like the class"):
        submission_form(sample, NAMED)
    assert (
        submission_form(listed(rust="0.5"), NAMED).description == "the probability of 'rust' in column 'rust'"
    )


def test_columns_without_meaning_for_the_form_are_left_out_and_noted():
    form = submission_form(listed(sex=["f", "m"], label=["0", "1"], age=["40", "70"]), NUMBERED)
    assert written(form, 0, 1, 0) == (["id", "label"], ["b", "1"])
    assert "'sex', 'age'" in form.notes[0]


def test_the_form_can_be_given_where_no_sample_decides():
    form = submission_form(PhotoList(image_ids=("b", "a"), paths=("", "")), NUMBERED, form="probabilities")
    assert written(form, 0.5, 0.25, 0.25) == (["image_id", "0", "1", "2"], ["b", "0.5", "0.25", "0.25"])
    with pytest.raises(InputError, match=r"form='probs' is unknown. Expected labels or probabilities"):
        submission_form(listed(), NUMBERED, form="probs")
    with pytest.raises(
        InputError, match=r"has one column a class, which cannot hold labels. Leave --form out"
    ):
        submission_form(listed(rust="0", blight="0", healthy="0"), NUMBERED, form="labels")
