"""The queue against a plain loop, and what a blind review refuses."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.decisions.current import CurrentDecisions
from kiyome.decisions.items import ALONE, ReviewItems, Secret
from kiyome.errors import InputError
from kiyome.reviewing.outlook import design_of
from kiyome.reviewing.queue import ORDERS, Queue, QueueFilter, expected_gain, gain_with_copies

SECRET = Secret(key=b"k" * 32)
CLASSES = st.sampled_from([None, "class 0", "class 1", "class 2"])
asked = st.builds(
    QueueFilter,
    order=st.sampled_from(ORDERS),
    split=st.sampled_from([None, "train", "test"]),
    given=CLASSES,
    likely=CLASSES,
    flagged=st.sampled_from([None, True, False]),
    min_chance=st.sampled_from([0.0, 0.3]),
    max_chance=st.sampled_from([0.8, 1.0]),
    state=st.sampled_from(["open", "left", "mine", "decided", "disputed", "all"]),
    verdict=st.sampled_from([None, "keep", "relabel", "both", "none_of_these", "drop", "unsure"]),
    reviewer=st.sampled_from([None, "Ann", "Bob", "nobody"]),
    search=st.sampled_from(["", "1.PNG"]),
)


@pytest.fixture(scope="module")
def decided(items_of, log_of) -> CurrentDecisions:
    """Forty rows of train and test, half of them decided by one or two people."""
    items = items_of(40, splits=np.array(["train", "test", "test", "train"] * 10, object))
    current, log = CurrentDecisions(items), log_of(items)
    rng = np.random.default_rng(1)
    said = ["keep", "drop", "both", "none_of_these", "unsure", "class 0", "class 1", "class 2"]
    for name in ("Ann", "Bob"):
        for row in range(0, 40, 2 if name == "Ann" else 3):
            current.apply(log.append(name, {row: said[rng.integers(len(said))]}))
    return current


def passes(items: ReviewItems, current: CurrentDecisions, asked: QueueFilter, me: str, row: int) -> bool:
    held = {name: current.of(name, row) for name in current.reviewers}
    stands = {name: decided for name, decided in held.items() if decided.verdict}
    state = {
        "open": not stands,
        "left": me not in stands,
        "mine": me in stands,
        "decided": bool(stands),
        "disputed": bool(current.disputed[row]),
        "all": True,
    }[asked.state]
    by = [d for name, d in stands.items() if asked.reviewer in (None, name)]
    names = items.class_names
    return (
        state
        and asked.split in (None, items.splits[row])
        and (asked.given in (None, names[items.given_labels[row]]))
        and (asked.likely in (None, names[items.pred_probs[row].argmax()]))
        and (asked.flagged in (None, items.is_label_issue[row]))
        and asked.min_chance <= items.probability[row] <= asked.max_chance
        and (asked.verdict is None or any(d.verdict == asked.verdict for d in by))
        and (asked.reviewer is None or bool(by))
        and asked.search.lower() in items.image_ids[row]
    )


@settings(derandomize=True, deadline=None, max_examples=200)
@given(asked=asked)
def test_the_queue_holds_the_rows_that_a_plain_loop_finds(
    decided: CurrentDecisions, asked: QueueFilter
) -> None:
    queue = Queue(decided.items, SECRET)
    rows = queue.rows(asked, decided, me="Ann").tolist()
    expected = [row for row in range(40) if passes(decided.items, decided, asked, "Ann", row)]
    assert sorted(rows) == expected
    everything = queue.rows(QueueFilter(order=asked.order), decided).tolist()
    assert rows == [row for row in everything if row in set(rows)]


def test_orders(items_of) -> None:
    items = items_of(300)
    queue, nobody = Queue(items, SECRET), CurrentDecisions(items)
    rows = {order: queue.rows(QueueFilter(order=order), nobody) for order in ORDERS}
    for order in ORDERS:
        assert sorted(rows[order]) == list(range(300))
    assert rows["suspicion"].tolist() == items.ranking.tolist()
    assert rows["table"].tolist() == list(range(300))
    assert rows["random"].tolist() == Queue(items, SECRET).rows(QueueFilter(order="random"), nobody).tolist()
    other = Queue(items, Secret(key=b"o" * 32)).rows(QueueFilter(order="random"), nobody)
    assert sorted(other) == list(range(300))
    assert (other == rows["random"]).mean() < 0.1
    assert (np.diff(expected_gain(items)[rows["gain"]]) <= 0).all()


def test_copies_across_splits_come_first_each_beside_its_copy(items_of) -> None:
    items = items_of(6, ranking=np.arange(6), copies=np.array([[5, 2], [3, 2], [4, 0]]))
    queue = Queue(items, SECRET)
    rows = queue.rows(QueueFilter(order="leaks"), CurrentDecisions(items)).tolist()
    assert rows == [5, 2, 3, 4, 0, 1]
    assert "leaks" in queue.orders
    assert "leaks" not in Queue(items_of(6), SECRET).orders


def test_pairs_come_whole_the_largest_first(items_of) -> None:
    items = items_of(300)
    rows = Queue(items, SECRET).rows(QueueFilter(order="pair"), CurrentDecisions(items))
    flagged = items.is_label_issue[rows]
    assert flagged[: flagged.sum()].all()
    cells = [(items.given_labels[row], items.suggested_labels[row]) for row in rows[flagged]]
    changes = [cell for place, cell in enumerate(cells) if place == 0 or cells[place - 1] != cell]
    assert len(changes) == len(set(changes))  # none is torn apart
    sizes = [cells.count(cell) for cell in changes]
    assert sizes == sorted(sizes, reverse=True)
    place = {int(row): at for at, row in enumerate(items.ranking)}
    for cell in changes:
        inside = [place[int(row)] for row, of in zip(rows[flagged], cells, strict=True) if of == cell]
        assert inside == sorted(inside)


def test_gain_differs_from_suspicion_where_a_picture_lies_in_several_rows(items_of) -> None:
    items = items_of(
        6,
        given_labels=np.array([0, 0, 1, 1, 0, 2], np.int32),
        probability=np.array([0.9, 0.8, 0.6, 0.6, 0.1, 0.2]),
        ranking=np.array([0, 1, 2, 3, 5, 4]),
        duplicate_groups=np.array([-1, -1, 7, 7, 3, 3]),
    )
    rows = Queue(items, SECRET).rows(QueueFilter(order="gain"), CurrentDecisions(items)).tolist()
    assert expected_gain(items) == pytest.approx([0.9, 0.8, 1.2, 1.2, 1, 1])
    assert rows == [2, 3, 5, 4, 0, 1]  # two labels at a look; one of two that differ is wrong for sure
    alone = items_of(6, probability=items.probability, ranking=items.ranking)
    assert Queue(alone, SECRET).rows(QueueFilter(order="gain"), CurrentDecisions(alone)).tolist() == [
        0,
        1,
        2,
        3,
        5,
        4,
    ]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.integers(-1, 4)), min_size=1, max_size=30))
def test_gain_is_that_of_a_loop(rows: list[tuple[float, int, int]]) -> None:
    chances, labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = gain_with_copies(chances, labels, groups)
    for row, group in enumerate(groups):
        same = [row] if group == ALONE else np.flatnonzero(groups == group).tolist()
        frequent = max(Counter(labels[same].tolist()).values())
        assert found[row] == pytest.approx(max(chances[same].sum(), len(same) - frequent))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"order": "best"}, r"The order 'best' is unknown. Expected one of suspicion, .*"),
        ({"state": "done"}, r"The state 'done' is unknown. Expected one of open, .*"),
        ({"verdict": "maybe"}, r"The verdict 'maybe' is unknown. Expected one of keep, .*"),
        ({"min_chance": 0.5, "max_chance": 0.4}, r"are no range. Expected 0 <= min_chance"),
        ({"min_chance": float("nan")}, r"are no range. Expected 0 <= min_chance"),
        ({"search": "x" * 201}, r"has 201 characters. Expected at most 200"),
    ],
)
def test_bad_questions_are_refused(values, message: str) -> None:
    with pytest.raises(InputError, match=message):
        QueueFilter(**values)


def test_an_unknown_class_lists_the_known_ones(decided: CurrentDecisions) -> None:
    with pytest.raises(
        InputError, match=r"The class 'owl' is not .* The classes are class 0, class 1, class 2"
    ):
        Queue(decided.items, SECRET).rows(QueueFilter(given="owl"), decided)


@pytest.mark.parametrize(
    "values",
    [
        {"order": "suspicion"},
        {"given": "class 0"},
        {"likely": "class 0"},
        {"flagged": True},
        {"min_chance": 0.1},
        {"max_chance": 0.9},
        {"state": "disputed"},
        {"reviewer": "Bob"},
        {"verdict": "drop"},
    ],
)
def test_a_blind_review_tells_nothing(items_of, values) -> None:
    items = items_of(5, blind=True)
    with pytest.raises(InputError, match=r"is not possible in a blind review\. It shows photos"):
        Queue(items, SECRET).rows(
            QueueFilter(**({"order": "random"} | values)), CurrentDecisions(items), me="Ann"
        )


def test_in_a_blind_review_the_others_are_not_there(items_of, log_of) -> None:
    items = items_of(4, blind=True)
    current, log = CurrentDecisions(items), log_of(items)
    current.apply(log.append("Bob", {0: "class 1", 1: "class 1"}))
    current.apply(log.append("Ann", {1: "class 2"}))

    def rows(**values) -> list[int]:
        return Queue(items, SECRET).rows(QueueFilter(order="random", **values), current, me="Ann").tolist()

    assert Queue(items, SECRET).orders == ("random",)
    assert (rows(state="open"), rows(state="decided")) == ([0, 2, 3], [1])
    assert rows(reviewer="Ann", verdict="relabel") == [1]


def test_a_million_rows_are_put_in_line(items_of) -> None:
    items = items_of(1_000_000)
    queue, current = Queue(items, SECRET), CurrentDecisions(items)
    wanted = QueueFilter(order="suspicion", given="class 1", flagged=True, min_chance=0.2, state="open")
    rows = queue.rows(wanted, current)
    assert len(rows) > 1000
    assert queue.rows(wanted, current).tolist() == rows.tolist()


@pytest.mark.parametrize("order", ["suspicion", "gain", "pair"])
def test_random_rows_stand_between_those_of_each_order_by_worth(items_of, order):
    """One in ten, the same ones, marked as drawn where they come before their rank."""
    items = items_of(400)
    design = design_of(items, SECRET)
    queue = Queue(items, SECRET, design=design, share=0.1)
    rows = queue.rows(QueueFilter(order=order), CurrentDecisions(items))
    plain = Queue(items, SECRET).rows(QueueFilter(order=order), CurrentDecisions(items))
    assert sorted(rows) == list(range(400))
    assert np.isin(plain[:90], rows[:100]).all()
    assert np.isin(design.measured_order[:10], rows[:100]).all()
    if order == "suspicion":
        late = np.argsort(items.ranking) > 200
        assert queue.drawn[rows[:40]].tolist() == [
            bool(rank > turn) for turn, rank in enumerate(np.argsort(items.ranking)[rows[:40]])
        ]
        assert queue.drawn[design.measured_order[:10]][late[design.measured_order[:10]]].all()
    assert not Queue(items, SECRET).drawn.any()
