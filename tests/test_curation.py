"""A new version of the table: who stays, who teaches, what is believed; and what may not be lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.artifacts.issues import Issues
from kiyome.artifacts.table import Table
from kiyome.curation import curate_table
from kiyome.decisions.events import Decision
from kiyome.errors import InputError

N, K = 12, 3


def leaves() -> Table:
    return Table(
        root=Path(),
        image_ids=[f"{row}.jpg" for row in range(N)],
        paths=[""] * N,
        given_labels=np.arange(N) % K,
        class_names=("a", "b", "c"),
        folds=np.arange(N) % 2,
    )


def found(*flagged: int, chance: float = 0.9) -> Issues:
    is_issue = np.isin(np.arange(N), flagged)
    labels = leaves().given_labels
    return Issues(
        is_label_issue=is_issue,
        probability=np.where(is_issue, chance, 0.1),
        suggested_labels=np.where(is_issue, (labels + 1) % K, labels).astype(np.int32),
    )


@given(st.sets(st.integers(0, 5)), st.sampled_from(["drop", "relabel", "weight", "keep"]))
@settings(derandomize=True, deadline=None)
def test_rows_given_labels_and_folds_never_change_and_the_old_version_stays(
    flagged: set[int], action
) -> None:
    table = leaves()
    before = table.content_digest
    curated = curate_table(table, found(*flagged), action=action).table
    assert table.content_digest == before
    assert curated.fingerprint == table.fingerprint
    assert np.array_equal(curated.given_labels, table.given_labels)
    assert np.array_equal(curated.folds, table.folds)
    untouched = ~np.isin(np.arange(N), list(flagged))
    assert np.array_equal(curated.labels[untouched], table.labels[untouched])
    assert curated.weights is None or (curated.weights[untouched] == 1).all()


def test_each_action_does_what_it_says() -> None:
    table, issues = leaves(), found(0, 4, chance=0.75)
    assert curate_table(table, issues, action="drop").table.weights[[0, 1, 4]].tolist() == [0, 1, 0]
    assert curate_table(table, issues, action="relabel").table.labels[[0, 1, 4]].tolist() == [1, 1, 2]
    assert curate_table(table, issues, action="weight").table.weights[[0, 1]].tolist() == [0.25, 1]
    kept = curate_table(table, issues, action="keep")
    assert kept.num_changed == {}
    assert kept.table.content_digest == table.content_digest


def test_softened_labels_lean_by_the_chance_of_being_wrong() -> None:
    probs = np.tile([0.2, 0.7, 0.1], (N, 1))
    curated = curate_table(leaves(), found(0, chance=0.5), action="soften", pred_probs=probs)
    assert curated.targets[0].tolist() == pytest.approx([0.6, 0.35, 0.05])
    assert curated.targets[1:].tolist() == np.eye(K)[leaves().given_labels[1:]].tolist()


def test_people_come_before_flags_and_the_unsure_are_left_alone() -> None:
    said = {
        "0.jpg": Decision(image_id="0.jpg", verdict="keep"),
        "4.jpg": Decision(image_id="4.jpg", verdict="unsure"),
        "1.jpg": Decision(image_id="1.jpg", verdict="relabel", label="c"),
        "2.jpg": Decision(image_id="2.jpg", verdict="drop"),
        "5.jpg": Decision(image_id="5.jpg", verdict="none_of_these"),
    }
    curated = curate_table(leaves(), found(0, 4, 8), action="drop", decisions=said)
    assert curated.actions[[0, 1, 2, 4, 8]].tolist() == ["keep", "relabel", "drop", "keep", "drop"]
    assert (curated.actions[5], curated.table.weights[5]) == ("drop", 0)
    assert curated.table.labels[1] == 2
    assert curated.table.weights[[0, 2, 4, 8]].tolist() == [1, 0, 1, 0]
    assert np.flatnonzero(curated.by_people).tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("action", ["drop", "relabel", "weight", "soften"])
def test_a_photo_of_two_classes_keeps_its_label_whatever_is_flagged(action: str) -> None:
    both = {"0.jpg": Decision(image_id="0.jpg", verdict="both")}
    probs = np.full((N, K), 1 / K) if action == "soften" else None
    curated = curate_table(leaves(), found(0, 4), action=action, decisions=both, pred_probs=probs)
    assert curated.actions[[0, 4]].tolist() == ["keep", action]
    assert curated.table.labels[0] == leaves().labels[0]
    assert curated.table.weights is None or curated.table.weights[0] == 1


def test_leaked_rows_are_dropped_whatever_people_say_and_count_for_no_share() -> None:
    leaked = np.isin(np.arange(N), [0, 3])
    keep = {"0.jpg": Decision(image_id="0.jpg", verdict="keep")}
    curated = curate_table(leaves(), found(6, 9), decisions=keep, leaked=leaked, max_left_out=0.5)
    assert np.flatnonzero(curated.actions == "drop").tolist() == [
        0,
        3,
        6,
    ]
    with pytest.raises(InputError, match="Decisions or leaks drop or relabel all 4 rows of 'a'"):
        curate_table(leaves(), found(), leaked=np.arange(N) % K == 0)


def test_flags_act_on_rows_of_train_only() -> None:
    table = replace(leaves(), folds=None, splits=np.where(np.arange(N) < 6, "train", "test").astype(object))
    curated = curate_table(table, found(0, 6, 9), action="drop")
    assert np.flatnonzero(curated.actions == "drop").tolist() == [0]


def test_only_sure_rows_are_acted_on_where_asked() -> None:
    issues = found(0, 1)
    issues.probability[1] = 0.5
    assert curate_table(leaves(), issues, min_chance=0.8).num_changed == {"drop": 1}


def test_weights_of_an_earlier_version_are_kept() -> None:
    first = curate_table(leaves(), found(0), action="drop").table
    second = curate_table(first, found(1), action="weight").table
    assert second.weights[[0, 1, 2]].tolist() == pytest.approx([0, 0.1, 1])


@pytest.mark.parametrize(("action", "done"), [("drop", "left out"), ("relabel", "relabeled")])
@pytest.mark.parametrize(
    ("flagged", "share", "taken"),
    [((0, 3, 6), 0.5, 2), ((0, 3, 6), 0.75, 3), ((0, 3, 6, 9), 1.0, 3), ((0, 3), 0.49, 1), ((0, 3), 0.0, 0)],
)
def test_flags_take_a_share_of_a_class_and_the_surest_rows_stay(
    action: str, done: str, flagged: tuple[int, ...], share: float, taken: int
) -> None:
    issues = found(*flagged, 1)
    issues.probability[list(flagged)] = 0.9 - 0.1 * np.arange(len(flagged))  # the first is wrong most surely
    curated = curate_table(leaves(), issues, action=action, max_left_out=share)
    acted = np.flatnonzero(curated.actions == action)
    assert acted[acted % K == 0].tolist() == list(flagged[:taken])
    assert (curated.actions[1] == action) == (share > 0)
    said = [note for note in curated.notes if "'a'" in note]
    kept = f"class 'a': {len(flagged)} of 4 flagged, {taken} {done}, the surest kept"
    assert said == ([kept] if taken < len(flagged) else [])


def test_what_people_decided_stands_whatever_share_it_takes() -> None:
    said = {f"{row}.jpg": Decision(image_id=f"{row}.jpg", verdict="drop") for row in (0, 3, 6)}
    curated = curate_table(leaves(), found(9), action="drop", decisions=said)
    assert curated.table.weights[[0, 3, 6, 9]].tolist() == [0, 0, 0, 1]  # the last row is not taken by a flag
    with pytest.raises(InputError, match=r"drop or relabel all 4 rows of 'a'\. Expected at least one row"):
        curate_table(
            leaves(),
            found(),
            decisions=said | {"9.jpg": Decision(image_id="9.jpg", verdict="relabel", label="b")},
        )


def test_rows_that_an_earlier_version_dropped_count_no_more() -> None:
    first = curate_table(leaves(), found(0, 3), action="drop").table
    second = curate_table(first, found(0, 3, 6, 9), action="drop")
    assert second.table.weights[[0, 3, 6, 9]].tolist() == [0, 0, 0, 1]
    assert second.notes == ("class 'a': 2 of 2 flagged, 1 left out, the surest kept",)


def test_a_class_without_rows_loses_nothing() -> None:
    table = Table(
        root=Path(), image_ids=["x", "y"], paths=["", ""], given_labels=[0, 1], class_names=("a", "b", "none")
    )
    issues = Issues(
        is_label_issue=np.array([True, True]), probability=np.ones(2), suggested_labels=np.int32([2, 2])
    )
    assert curate_table(table, issues).num_changed == {}


UNKNOWN = Decision(image_id="x.jpg", verdict="keep")
MOSS = Decision(image_id="0.jpg", verdict="relabel", label="moss")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "erase"}, "The action .* is unknown. Expected one of keep, drop"),
        ({"action": "soften"}, "action='soften' came without pred_probs"),
        ({"action": "drop", "pred_probs": np.ones((N, K)) / K}, "action='drop' came with pred_probs"),
        (
            {"decisions": {"x.jpg": Decision(image_id="x.jpg", verdict="keep")}},
            "1 decisions are about ids that are not in the table, such as 'x.jpg'",
        ),
        (
            {"decisions": {"0.jpg": Decision(image_id="0.jpg", verdict="relabel", label="moss")}},
            "The label 'moss' is not a class",
        ),
        ({"max_left_out": 37.0}, "max_left_out=37 is not a proportion. Expected a number from 0 to 1"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        curate_table(leaves(), found(0), **options)
