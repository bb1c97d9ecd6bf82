"""What both engines promise alike: one suite, run on SQLite and on a real PostgreSQL server."""

import dataclasses
import subprocess
import sys
import threading
from collections import defaultdict
from itertools import count

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.decisions.engine import MIGRATIONS, bring_up_to_date, new_engine, transaction, url_of
from kiyome.decisions.log import EVENTS, METADATA
from kiyome.decisions.store import Decision, Event, open_decisions
from kiyome.errors import DecisionConflict, InputError, StoreUnavailable

CLASSES = ("cat", "dog", "<img src=x onerror=alert(1)>")
FACTS = {"run": "runs/x", "table_content": "c" * 64, "seen": {"view": "one", "position": 3}}


def opened(url, fingerprint="f" * 64):
    return open_decisions(url, fingerprint=fingerprint, class_names=CLASSES)


def keep(image_id, version=0):
    return Decision(image_id=image_id, version=version, verdict="keep", label=None)


def relabel(image_id, label, version=0):
    return Decision(image_id=image_id, version=version, verdict="relabel", label=label)


def decide(store, *acts, key, reviewer="Ann", **changes):
    return store.append(acts, key=key, reviewer=reviewer, **FACTS | changes)


@pytest.fixture
def store(store_url):
    with opened(store_url) as store:
        yield store


@pytest.fixture(scope="module")
def shared_store(new_store_url):
    """For what is refused before the store is reached: it stays empty."""
    with opened(new_store_url()) as store:
        yield store


def test_what_is_appended_is_read_back_as_it_was(store, store_url):
    acts = (relabel("b.png", CLASSES[2]), keep("../../etc/passwd"), keep("café\n\u202e.png"))
    written = decide(store, *acts, key="k1", reviewer="Zoë", milliseconds=812)
    assert [(e.number, e.sequence, e.image_id, e.label) for e in written] == [
        (1, 1, "b.png", CLASSES[2]),
        (2, 1, "../../etc/passwd", None),
        (3, 1, "café\n\u202e.png", None),
    ]
    assert written[0].decided_at.endswith("+00:00")
    assert written[0].milliseconds == 812
    assert store.events_after() == store.events_of("k1") == written
    assert store.events_after(2) == written[2:]
    with opened(store_url) as again:
        assert again.events_after() == written


def test_a_stale_version_is_a_conflict_and_nothing_is_written(store):
    first = decide(store, keep("a"), keep("b"), key="k1")
    decide(store, keep("a"), key="other reviewers do not matter", reviewer="Bob")
    with pytest.raises(
        DecisionConflict, match="2 of 3 rows have newer decisions by 'Ann', such as 'b'"
    ) as caught:
        decide(store, keep("c"), keep("b"), relabel("a", "dog"), key="k2")
    assert caught.value.current == [first[1], first[0]]
    with pytest.raises(DecisionConflict) as caught:
        decide(store, keep("never seen", version=4), key="k3")
    assert caught.value.current == []
    assert len(store.events_after()) == 3
    assert decide(store, relabel("a", "dog", version=1), key="k2")[0].sequence == 2


def test_a_key_names_one_act(store):
    written = decide(store, relabel("a", "cat"), keep("b"), key="k1", milliseconds=5)
    assert decide(store, relabel("a", "cat"), keep("b"), key="k1", milliseconds=5) == written
    for other in (
        lambda: decide(store, relabel("a", "dog"), keep("b"), key="k1", milliseconds=5),
        lambda: decide(store, keep("b"), relabel("a", "cat"), key="k1", milliseconds=5),
        lambda: decide(store, relabel("a", "cat"), keep("b"), key="k1", milliseconds=6),
        lambda: decide(store, relabel("a", "cat"), keep("b"), key="k1", milliseconds=5, reviewer="Bob"),
        lambda: decide(store, keep("b", version=1), key="k1"),
    ):
        with pytest.raises(InputError, match=r"The key 'k1' was used before for another batch"):
            other()
    assert store.events_after() == written


def test_undo_and_redo_are_events_about_ones_own_batches(store):
    decide(store, keep("a"), key="k1")
    nothing = Decision(image_id="a", version=1, verdict=None, label=None)
    undone = decide(store, nothing, key="k2", kind="undo", undoes="k1")
    redone = decide(store, keep("a", version=2), key="k3", kind="redo", undoes="k2")
    assert [(e.kind, e.undoes, e.verdict) for e in undone + redone] == [
        ("undo", "k1", None),
        ("redo", "k2", "keep"),
    ]
    with pytest.raises(InputError, match=r"undo of 'k1', which 'Bob' did not write"):
        decide(store, keep("b"), key="k4", kind="undo", undoes="k1", reviewer="Bob")
    with pytest.raises(InputError, match=r"redo of 'k9', which 'Ann' did not write"):
        decide(store, keep("b"), key="k5", kind="redo", undoes="k9")


def test_reviews_of_another_table_are_apart(store, store_url):
    decide(store, keep("a"), key="k1")
    with opened(store_url, fingerprint="e" * 64) as other:
        assert other.events_after() == other.events_of("k1") == []
        written = decide(other, keep("a"), key="k1")
        assert (written[0].sequence, written[0].number) == (1, 2)
        with pytest.raises(InputError, match="did not write"):
            decide(store, keep("b"), key="k2", kind="undo", undoes="unknown")
    assert len(store.events_after()) == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Ann", "ann", "Zoë"]),
        st.lists(st.sampled_from("ABab"), min_size=1, max_size=3, unique=True),
        st.sampled_from(["keep", "relabel", "drop", "unsure"]),
        st.sampled_from(["fresh", "stale", "repeated"]),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_any_sequence_of_acts_replays_to_what_a_plain_model_says(hypothesis_store, steps):
    """The oracle is a dict of lists; the store must agree on every answer and on what stands at the end."""
    url, numbers = hypothesis_store
    fingerprint = f"review {next(numbers)}"
    model, acts_before = defaultdict(list), []
    with opened(url, fingerprint) as store:
        for step, (reviewer, rows, verdict, how) in enumerate(steps):
            if how == "repeated" and acts_before:
                key, reviewer, acts = acts_before[-1]
                assert decide(store, *acts, key=key, reviewer=reviewer) == store.events_of(key)
                continue
            stale = how == "stale"
            label = "dog" if verdict == "relabel" else None
            acts = [
                Decision(
                    image_id=row, version=len(model[reviewer, row]) + stale, verdict=verdict, label=label
                )
                for row in rows
            ]
            if stale:
                with pytest.raises(DecisionConflict) as caught:
                    decide(store, *acts, key=str(step), reviewer=reviewer)
                known = [model[reviewer, row][-1] for row in rows if model[reviewer, row]]
                assert [(e.sequence, e.verdict) for e in caught.value.current] == known
                continue
            decide(store, *acts, key=str(step), reviewer=reviewer)
            acts_before.append((str(step), reviewer, acts))
            for row in rows:
                model[reviewer, row].append((len(model[reviewer, row]) + 1, verdict))
        replayed = defaultdict(list)
        for event in store.events_after():
            replayed[event.reviewer, event.image_id].append((event.sequence, event.verdict))
    assert replayed == {row: history for row, history in model.items() if history}


@pytest.fixture(scope="module")
def hypothesis_store(new_store_url):
    return new_store_url(), count()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reviewer": ""}, "The reviewer's name cannot be ''. Expected 1 to 64 characters"),
        ({"reviewer": " Ann"}, "no blank at either end"),
        ({"reviewer": "A\tB"}, "no control character"),
        ({"reviewer": "A\u2028B"}, "no control character"),
        ({"reviewer": "n" * 65}, "1 to 64 characters"),
        ({"reviewer": "A\0"}, "valid Unicode without NUL"),
        ({"reviewer": "A\ud800"}, "valid Unicode without NUL"),
        ({"reviewer": None}, "valid Unicode without NUL"),
        ({"key": ""}, "The key of the batch cannot be ''. Expected 1 to 200 characters"),
        ({"key": "k" * 201}, "1 to 200"),
        ({"kind": "update"}, "The kind 'update' is unknown. Expected one of decide, undo, redo, import"),
        ({"kind": "undo"}, "undoes is None for the kind undo. Expected the key of a batch"),
        ({"undoes": "k0"}, "undoes is 'k0' for the kind decide. Expected the key of a batch"),
        ({"run": "r\udce9"}, "The name of the run cannot be"),
        ({"milliseconds": -1}, "is not a valid value for milliseconds. Expected a whole number"),
        ({"milliseconds": 2**53}, "is not a valid value for milliseconds. Expected a whole number"),
        ({"milliseconds": 1.5}, "is not a valid value for milliseconds. Expected a whole number"),
        ({"milliseconds": True}, "is not a valid value for milliseconds. Expected a whole number"),
        ({"seen": {"chance": float("nan")}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {"chance": float("inf")}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {"name": "half \ud800"}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {"a": ["NUL \0"]}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {"k\0": 1}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {1: 2}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {"a": {2}}}, "seen cannot be .* Expected a JSON object"),
        ({"seen": {"a": "x" * 20_000}}, "at most 16,384 characters"),
        ({"seen": ["no object"]}, "seen cannot be .* Expected a JSON object"),
    ],
)
def test_what_a_database_would_bend_is_refused_before(shared_store, changes, said):
    facts = FACTS | {"key": "k1", "reviewer": "Ann"} | changes
    with pytest.raises(InputError, match=said):
        shared_store.append([keep("a")], **facts)
    assert shared_store.events_after() == []


def test_what_was_seen_may_not_nest_without_end(store):
    seen: dict = {}
    for _ in range(100_000):
        seen = {"deeper": seen}
    with pytest.raises(InputError, match="nested too deeply"):
        decide(store, keep("a"), key="k1", seen=seen)
    while seen:  # taken apart by hand: Python itself would recurse
        seen = seen.pop("deeper")


@pytest.mark.parametrize(
    ("acts", "said"),
    [
        ([], "The batch has no decisions"),
        ([keep("a"), keep("a")], "two decisions about one row"),
        ([keep("")], "The image id is empty"),
        ([keep("a\0")], "The image id cannot be .* Expected valid Unicode"),
        ([keep("a\udce9")], "The image id cannot be .* Expected valid Unicode"),
        ([keep("é" * 1025)], "at most 2,048 bytes in UTF-8"),
        ([keep("a", version=-1)], "is not a valid value for the version of a row"),
        ([keep("a", version=True)], "is not a valid value for the version of a row"),
        ([relabel("a", "Cat")], "The label 'Cat' is not a class .* The classes are 'cat', 'dog'"),
        (
            [Decision(image_id="a", version=0, verdict=None, label=None)],
            "about 'a' has no verdict. Only an undo or a redo may leave none",
        ),
    ],
)
def test_acts_that_mean_nothing_are_refused(shared_store, acts, said):
    with pytest.raises(InputError, match=said):
        shared_store.append(acts, key="k1", reviewer="Ann", **FACTS)
    assert shared_store.events_after() == []


@pytest.mark.parametrize(
    ("verdict", "label", "message"),
    [
        ("relabel", None, "The verdict relabel comes with no label. Expected a label with relabel"),
        ("keep", "cat", "The verdict keep comes with the label 'cat'. Expected a label with relabel"),
        (None, "cat", "The verdict None comes with the label 'cat'"),
        (
            "maybe",
            None,
            "The verdict 'maybe' is unknown. Expected one of keep, relabel, both, none_of_these, drop",
        ),
    ],
)
def test_a_decision_is_whole(verdict, label, message):
    with pytest.raises(InputError, match=message):
        Decision(image_id="a", verdict=verdict, label=label)


def test_text_is_kept_to_the_letter_and_case(store):
    """Both engines tell case, forms of Unicode and trailing blanks apart; order is the order of writing."""
    ids = [
        "\u00c9",
        "\u00e9",
        "e\u0301",
        "E\u0301",
        "a",
        "A",
        "a ",
        "\u00df",
        "ss",
        "%",
        "_",
        "'",
        "b" * 2048,
        "10",
        "9",
    ]
    seen = {"Ä": [None, 1e300, -0.0, 2**60, "🥭", {"b": 1, "a": 2}]}
    written = decide(store, *map(keep, ids), key="k1", seen=seen, reviewer="🥭" * 64)
    read = store.events_after()
    assert [event.image_id for event in read] == ids
    assert read == written
    assert list(read[0].seen["Ä"][5]) == ["b", "a"]


def test_the_longest_of_everything_fits_the_indexes(store):
    noise = "".join(chr(0x4E00 + (i * 7919) % 20_000) for i in range(682))  # PostgreSQL cannot squeeze it
    written = decide(store, keep(noise), key=noise[:200], reviewer=noise[:64], run=noise, table_content=noise)
    assert store.events_after() == written


def test_a_bulk_act_and_one_larger_than_a_statement_takes(store):
    acts = [keep(f"{row}.png") for row in range(12_000)]
    written = decide(store, *acts, key="all", kind="import")
    assert [event.number for event in written] == list(range(1, 12_001))
    with pytest.raises(DecisionConflict, match="12,000 of 12,000 rows have newer decisions"):
        decide(store, *acts, key="again", kind="import")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decision_events SET reviewer = 'Eve'",
        "UPDATE decision_events SET reviewer = reviewer WHERE number = 0",
        "DELETE FROM decision_events",
        "DELETE FROM decision_events WHERE number = 1",
    ],
)
def test_the_database_itself_refuses_to_change_or_remove_an_event(store, store_url, statement):
    """On SQLite the trigger fires for each row, so a statement about no row does nothing."""
    written = decide(store, keep("a"), key="k1")
    engine = sqlalchemy.create_engine(url_of(store_url))
    touches_no_row = statement.endswith("number = 0") and engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if touches_no_row:
            connection.exec_driver_sql(statement)
        else:
            with pytest.raises(sqlalchemy.exc.DBAPIError, match="decision events are only ever added"):
                connection.exec_driver_sql(statement)
        connection.rollback()
    engine.dispose()
    assert store.events_after() == written


def test_the_database_refuses_to_replace_or_empty(store, store_url):
    written = decide(store, keep("a"), key="k1")
    engine = sqlalchemy.create_engine(url_of(store_url))
    columns = ", ".join(column.name for column in EVENTS.columns if column.name != "number")
    statements = ["TRUNCATE decision_events"]
    if engine.dialect.name == "sqlite":
        statements = [
            f"INSERT OR REPLACE INTO decision_events SELECT {number}, {columns} FROM decision_events"
            for number in ("number", "number + 1")
        ]
    for statement in statements:
        with (
            engine.connect() as connection,
            pytest.raises(sqlalchemy.exc.DBAPIError, match="decision events are only ever added"),
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert store.events_after() == written


def test_the_database_checks_what_reaches_it_past_us(store, store_url):
    written = decide(store, relabel("a", "cat"), key="k1")[0]
    row = vars(written) | {"review": "f" * 64, "place": 0, "seen": "{}", "number": 2}
    engine = sqlalchemy.create_engine(url_of(store_url))
    fresh = row | {"sequence": 2, "batch": "k2"}
    for wrong in (
        row | {"sequence": 2},
        row | {"batch": "k2"},
        fresh | {"verdict": "maybe"},
        fresh | {"label": None},
        fresh | {"verdict": None},
        fresh | {"kind": "update"},
        fresh | {"sequence": 0},
        fresh | {"reviewer": None},
    ):
        with engine.connect() as connection, pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(EVENTS.insert(), wrong)
    with engine.begin() as connection:
        connection.execute(EVENTS.insert(), fresh)
    engine.dispose()
    assert len(store.events_after()) == 2


def test_the_tables_are_those_that_the_migrations_make(store_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = new_engine(url_of(store_url))
    with bring_up_to_date(engine):
        pass
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "decision_migrations"})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_store_from_before_keeps_its_events_and_learns_the_new_verdict(store_url):
    from alembic.command import upgrade
    from alembic.config import Config

    engine = new_engine(url_of(store_url))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with transaction(engine) as connection:
        config.attributes.update(connection=connection, version_table="decision_migrations")
        upgrade(config, "0001")
    event = Event(
        number=1,
        batch="k1",
        kind="decide",
        undoes=None,
        reviewer="Ann",
        image_id="a",
        sequence=1,
        verdict="drop",
        label=None,
        milliseconds=None,
        decided_at="2026-01-01T00:00:00+00:00",
        **FACTS | {"seen": {}},
    )
    row = vars(event) | {"review": "f" * 64, "place": 0, "seen": "{}"}
    with transaction(engine) as connection:
        connection.execute(EVENTS.insert(), row)
    with pytest.raises(sqlalchemy.exc.IntegrityError), transaction(engine) as connection:
        connection.execute(EVENTS.insert(), row | {"number": 2, "batch": "k2", "verdict": "none_of_these"})
    engine.dispose()
    with opened(store_url) as store:
        assert store.events_after() == [event]
        none = Decision(image_id="a", version=1, verdict="none_of_these", label=None)
        later = decide(store, none, key="k2")
        both = Decision(image_id="a", version=2, verdict="both", label=None)
        latest = decide(store, both, key="k3")
        assert store.events_after() == [event, *later, *latest]


def test_a_store_of_a_newer_version_is_refused(store_url):
    opened(store_url).close()
    engine = sqlalchemy.create_engine(url_of(store_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decision_migrations SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(InputError) as caught:
        opened(store_url)
    assert caught.value.problem == "The store of decisions is at revision 9999, made by a newer kiyome."
    assert caught.value.expected == "This version reads revisions up to 0003."
    assert caught.value.remedy == "Update kiyome: pip install -U kiyome"


def test_eight_threads_decide_at_once_and_all_is_there(store_url):
    """Four stores in one process, two threads each: the locks of one store do not know those of another."""
    stores = [opened(store_url) for _ in range(4)]
    failed = []

    def work(number):
        try:
            for turn in range(15):
                acts = [keep(f"{row}", version=turn) for row in range(3)]
                decide(stores[number % 4], *acts, key=f"{number} {turn}", reviewer=f"reviewer {number}")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    events = stores[0].events_after()
    for store in stores:
        store.close()
    assert [event.number for event in events] == list(range(1, 8 * 15 * 3 + 1))
    assert {(e.reviewer, e.image_id, e.sequence) for e in events} == {
        (f"reviewer {n}", str(row), turn) for n in range(8) for row in range(3) for turn in range(1, 16)
    }
    together = defaultdict(list)
    for event in events:
        together[event.batch].append(event.number)
    assert all(numbers == list(range(numbers[0], numbers[0] + 3)) for numbers in together.values())


def test_two_windows_of_one_reviewer_never_overwrite_each_other(store):
    """Read, think, write with the version that was read: whoever comes late is told, and nothing is lost."""
    answered, late = [], []

    def work(name):
        for turn in range(10):
            seen = [e for e in store.events_after() if e.image_id == "a"]
            try:
                answered.extend(decide(store, keep("a", version=len(seen)), key=f"{name} {turn}"))
            except DecisionConflict as error:
                late.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered) + len(late) == 30
    assert sorted(answered, key=lambda e: e.number) == store.events_after()
    assert [event.sequence for event in store.events_after()] == list(range(1, len(answered) + 1))


def test_first_opens_at_the_same_instant_make_one_store(store_url):
    stores, failed, gate = [], [], threading.Barrier(8)

    def work():
        gate.wait()
        try:
            stores.append(opened(store_url))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, store in enumerate(stores):
        decide(store, keep("a", version=number), key=str(number))
    assert not failed
    assert len(stores[0].events_after()) == 8
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "decisions.sqlite",
        "",
        "sqlite:///a?mode=ro",
    ],
)
def test_what_is_no_store_is_refused_without_showing_a_password(url):
    with pytest.raises(
        InputError, match="is neither a file of SQLite nor a database of PostgreSQL"
    ) as caught:
        opened(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_said_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(StoreUnavailable) as caught:
        opened(f"postgresql://ann:secret@/db?host={tmp_path}")
    assert "secret" not in str(caught.value)
    assert caught.value.remedy.startswith("Check its disk or server")


def test_events_are_values():
    event = Event(**dict.fromkeys((field.name for field in dataclasses.fields(Event)), None))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.reviewer = "Eve"


def test_without_the_extra_one_is_told_how_to_get_it(tmp_path):
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from kiyome.decisions.store import open_decisions\n"
        "open_decisions('sqlite:///decisions.sqlite', fingerprint='f', class_names=())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "MissingExtra: A store of decisions needs the extra 'review', which is" in shown.stderr


def test_events_alone_load_no_database():
    code = "import sys, kiyome.decisions.store; print({'sqlalchemy', 'alembic'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
