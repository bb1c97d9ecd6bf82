"""In a blind review the server itself is silent: every answer is searched for what it should not hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.recipes.audit_sample import audit_sample
from kiyome.recipes.find import find
from kiyome.reviewing.subject import Subject, read_subject
from kiyome.testing import write_digits

HIDDEN = {"given", "suggested", "chance", "flagged", "likely", "others", "disputed", "flagged_decided"}
STATES = ("left", "mine", "open", "decided", "all")
CLOSED = ["/api/matrix", "/api/matrix?reading=reviewed", "/api/agreement"]
EXPORTS = [
    f"/api/export?format={name}"
    for name in ("csv", "parquet", "jsonl", "corrected", "label_studio", "cvat", "fiftyone")
]
TELLING = [
    *("order=suspicion", "order=gain", "order=pair", "order=table", "given=3", "likely=3", "flagged=true"),
    *("flagged=false", "min_chance=0.5", "max_chance=0.5", "state=disputed"),
    *("reviewer=Bob", "verdict=drop", "verdict=drop&reviewer=Bob", "me=Ann&verdict=unsure"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose image ids tell the given label, as those of class folders do."""
    place = tmp_path_factory.mktemp("find")
    write_digits(place / "digits", num_photos=120)
    table = (place / "digits").rglob("*.csv")
    find(next(table, place / "digits"), backbone="tiny", output=place / "run", cache_folder=place)
    return place / "run"


@pytest.fixture(params=["run", "sample"])
def blind(run: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Subject:
    """A run that is reviewed blind, and a sample for an audit."""
    if request.param == "run":
        return read_subject(run, blind=True)
    audit_sample(run, n=40, output=tmp_path / "sample")
    return read_subject(tmp_path / "sample")


def values_of(answer: Any) -> list[tuple[str, Any]]:
    """Every name in a JSON value, with what it stands for."""
    if isinstance(answer, list):
        return [pair for each in answer for pair in values_of(each)]
    if not isinstance(answer, dict):
        return []
    return [*answer.items(), *(pair for each in answer.values() for pair in values_of(each))]


def test_no_answer_tells_a_label_a_guess_or_a_colleague(
    blind: Subject, run: Path, tmp_path: Path, ask: Any
) -> None:
    seeing = read_subject(run)
    with ask.opened(blind, tmp_path) as desk:
        app = ask.guarded(desk)
        label = blind.class_names[3]
        for reviewer, verdict in (("Zoe", "relabel"), ("Ann", "drop")):
            entries = [
                {"row": r, "version": 0, "verdict": verdict, "label": label if verdict == "relabel" else None}
                for r in (0, 1)
            ]
            sent = {"key": reviewer, "reviewer": reviewer, "entries": entries}
            assert ask.post(app, "/api/decisions", sent).status == 200
        stale = {"row": 0, "version": 0, "verdict": "keep"}
        answers = [
            ask(app, "GET", "/api/review"),
            ask(app, "GET", "/api/queue", query="me=Ann&count=500"),
            *(ask(app, "GET", "/api/queue", query=f"me=Ann&state={state}") for state in STATES),
            *(ask(app, "GET", f"/api/rows/{row}", query="me=Ann") for row in range(len(blind))),
            ask(app, "GET", "/api/progress", query="me=Ann"),
            ask.post(app, "/api/decisions", {"key": "late", "reviewer": "Ann", "entries": [stale]}),
            *(
                ask(app, "GET", path.partition("?")[0], query=path.partition("?")[2])
                for path in CLOSED + EXPORTS
            ),
            *(ask(app, "GET", "/api/queue", query=query) for query in TELLING),
            ask.post(app, "/api/undo", {"key": "u", "reviewer": "Ann"}),
            ask.post(app, "/api/redo", {"key": "r", "reviewer": "Ann"}),
        ]
        for answer in answers:
            assert b"Zoe" not in answer.body
            assert b"relabel" not in answer.body
            for name, value in values_of(answer.json):
                assert name not in HIDDEN or value is None, (name, value)
            for image_id in seeing.image_ids:
                assert image_id.encode() not in answer.body
        pages = [ask(app, "GET", path) for path in ("/", "/photos/0", "/thumbnails/0")]
        for page in pages:
            assert not any(image_id.encode() in page.body for image_id in seeing.image_ids)
            assert not any(image_id in str(page.headers) for image_id in seeing.image_ids)
        assert ask.get(app, "/api/progress", "me=Ann")["decided"] == 2


@pytest.mark.parametrize("path", CLOSED + EXPORTS)
def test_what_tells_of_all_is_closed(blind_desk: Any, ask: Any, path: str) -> None:
    route, _, query = path.partition("?")
    answer = ask(ask.guarded(blind_desk), "GET", route, query=query)
    assert answer.status == 403
    assert answer.json["error"]["must"].startswith("A blind review shows")


def test_no_question_tells_by_what_it_finds(blind_desk: Any, ask: Any) -> None:
    app = ask.guarded(blind_desk)
    for query in TELLING:
        assert ask(app, "GET", "/api/queue", query=query).status == 422, query
    for query in ("search=a.jpg", "search=leaves", "search=%E5%81%A5"):  # shown names only
        assert ask.get(app, "/api/queue", query)["total"] == 0


def all_that_ann_sees(app: Any, ask: Any) -> list[Any]:
    paths = ("/api/progress", "/api/rows/0", "/api/rows/1", "/api/rows/2")
    queues = [ask.get(app, "/api/queue", f"me=Ann&state={state}") for state in STATES]
    return [ask.get(app, "/api/review"), *(ask.get(app, path, "me=Ann") for path in paths), *queues]


def test_a_colleagues_decision_moves_no_figure_that_i_see(blind_desk: Any, ask: Any) -> None:
    app = ask.guarded(blind_desk)
    mine = {"key": "a", "reviewer": "Ann", "entries": [{"row": 0, "version": 0, "verdict": "keep"}]}
    ask.post(app, "/api/decisions", mine)
    before = all_that_ann_sees(app, ask)
    for row, verdict in ((0, "drop"), (1, "unsure"), (2, "keep")):
        entry = {"row": row, "version": 0, "verdict": verdict}
        ask.post(app, "/api/decisions", {"key": f"z{row}", "reviewer": "Zoe", "entries": [entry]})
    assert all_that_ann_sees(app, ask) == before


def test_rows_of_a_run_lie_in_no_order_of_the_table(run: Path) -> None:
    seeing, blind = read_subject(run), read_subject(run, blind=True)
    places = np.array([seeing.row_of[image_id] for image_id in blind.image_ids])
    assert sorted(places) == list(range(len(seeing)))
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.3
