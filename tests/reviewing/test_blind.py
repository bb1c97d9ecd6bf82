"""In a blind review the server itself is silent: every answer is searched for what it should not hold."""

import csv
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.decisions.items import ReviewItems, read_items, review_secret
from kiyome.errors import StaleArtifact
from kiyome.reviewing.routes.page import static_files
from kiyome.testing import write_digits
from kiyome.workflows.audit_sample import audit_sample, read_sample
from kiyome.workflows.find import find

HIDDEN = {"given", "suggested", "probability", "flagged", "likely", "others", "disputed", "flagged_decided"}
STATES = ("left", "mine", "open", "decided", "all")
CLOSED = ["/api/outlook", "/api/matrix", "/api/matrix?reading=reviewed", "/api/agreement"]
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
    """A run on class folders: an image id tells the given label, and rows lie in order of their labels."""
    place = tmp_path_factory.mktemp("find")
    write_digits(place / "digits", num_photos=120)
    for line in csv.DictReader((place / "digits" / "train.csv").read_text().splitlines()):
        photo = place / "folders" / line["label"] / line["image_id"]
        photo.parent.mkdir(parents=True, exist_ok=True)
        (place / "digits" / "train_images" / line["image_id"]).rename(photo)
    find(place / "folders", backbone="tiny", output=place / "run", cache_folder=place)
    return place / "run"


@pytest.fixture(params=["run", "sample"])
def blind(run: Path, tmp_path: Path, request: pytest.FixtureRequest) -> ReviewItems:
    """A run that is reviewed blind, and a sample for an audit."""
    if request.param == "run":
        return read_items(run, blind=True)
    audit_sample(run, n=40, output=tmp_path / "sample")
    return read_items(tmp_path / "sample")


def values_of(answer: Any) -> list[tuple[str, Any]]:
    """Every name in a JSON value, with what it stands for."""
    if isinstance(answer, list):
        return [pair for each in answer for pair in values_of(each)]
    if not isinstance(answer, dict):
        return []
    return [*answer.items(), *(pair for each in answer.values() for pair in values_of(each))]


def test_no_answer_tells_a_label_a_guess_or_a_colleague(
    blind: ReviewItems, run: Path, tmp_path: Path, ask: Any
) -> None:
    seeing = read_items(run)
    with ask.opened(blind, tmp_path) as session:
        app = ask.guarded(session)
        ann, zoe = ask.browser(app), ask.browser(app)
        label = blind.class_names[3]
        for browser, reviewer, verdict in ((zoe, "Zoe", "relabel"), (ann, "Ann", "drop")):
            entries = [
                {"row": r, "version": 0, "verdict": verdict, "label": label if verdict == "relabel" else None}
                for r in (0, 1)
            ]
            sent = {"key": reviewer, "reviewer": reviewer, "entries": entries}
            assert browser.post("/api/decisions", sent).status == 200
        stale = {"row": 0, "version": 0, "verdict": "keep"}
        answers = [
            ann("GET", "/api/review"),
            ann("GET", "/api/queue", query="me=Ann&count=500"),
            *(ann("GET", "/api/queue", query=f"me=Ann&state={state}") for state in STATES),
            *(ann("GET", f"/api/rows/{row}", query="me=Ann") for row in range(len(blind))),
            ann("GET", "/api/progress", query="me=Ann"),
            ann.post("/api/decisions", {"key": "late", "reviewer": "Ann", "entries": [stale]}),
            *(ann("GET", path.partition("?")[0], query=path.partition("?")[2]) for path in CLOSED + EXPORTS),
            *(ann("GET", "/api/queue", query=query) for query in TELLING),
            ann.post("/api/undo", {"key": "u", "reviewer": "Ann"}),
            ann.post("/api/redo", {"key": "r", "reviewer": "Ann"}),
        ]
        for answer in answers:
            assert b"Zoe" not in answer.body
            assert b"relabel" not in answer.body
            for name, value in values_of(answer.json):
                assert name not in HIDDEN or value is None, (name, value)
            for image_id in seeing.image_ids:
                assert image_id.encode() not in answer.body
        pages = [ann("GET", path) for path in ("/", "/photos/0", "/thumbnails/0")]
        for page in pages:
            assert not any(image_id.encode() in page.body for image_id in seeing.image_ids)
            assert not any(image_id in str(page.headers) for image_id in seeing.image_ids)
        assert ann.get("/api/progress", "me=Ann")["decided"] == 2


@pytest.mark.parametrize("path", CLOSED + EXPORTS)
def test_what_tells_of_all_is_closed(blind_session: Any, ask: Any, path: str) -> None:
    route, _, query = path.partition("?")
    answer = ask(ask.guarded(blind_session), "GET", route, query=query)
    assert answer.status == 403
    assert answer.json["error"]["problem"].startswith("A blind review shows")


def test_no_question_tells_by_what_it_finds(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    for query in TELLING:
        assert ask(app, "GET", "/api/queue", query=query).status == 422, query
    for query in ("search=a.jpg", "search=leaves", "search=%E5%81%A5"):  # shown names only
        assert ask.get(app, "/api/queue", query)["total"] == 0


def test_a_split_may_be_asked_for_and_tells_no_label(
    blind_subject: ReviewItems, tmp_path: Path, ask: Any
) -> None:
    splits = np.array(["train", "test"], object)[np.arange(len(blind_subject)) % 2]
    with ask.opened(replace(blind_subject, splits=splits), tmp_path) as session:
        app = ask.guarded(session)
        assert ask.get(app, "/api/review")["splits"] == ["train", "test"]
        found = ask.get(app, "/api/queue", "split=test")
        assert [row["row"] for row in found["rows"]] == np.flatnonzero(splits == "test").tolist()
        assert {row["split"] for row in found["rows"]} == {"test"}
        assert all(row[name] is None for row in found["rows"] for name in HIDDEN & row.keys())
        assert ask(app, "GET", "/api/queue", query="split=unlabeled").status == 422


def all_that_ann_sees(ann: Any) -> list[Any]:
    paths = ("/api/progress", "/api/rows/0", "/api/rows/1", "/api/rows/2")
    queues = [ann.get("/api/queue", f"me=Ann&state={state}") for state in STATES]
    return [ann.get("/api/review"), *(ann.get(path, "me=Ann") for path in paths), *queues]


def decide(browser: Any, reviewer: str, row: int, verdict: str = "keep", *, key: str = "") -> Any:
    entry = {"row": row, "version": 0, "verdict": verdict}
    sent = {"key": key or f"{reviewer}{row}", "reviewer": reviewer, "entries": [entry]}
    return browser.post("/api/decisions", sent)


def test_a_colleagues_decision_moves_no_figure_that_i_see(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    ann, zoe = ask.browser(app), ask.browser(app)
    decide(ann, "Ann", 0)
    before = all_that_ann_sees(ann)
    for row, verdict in ((0, "drop"), (1, "unsure"), (2, "keep")):
        assert decide(zoe, "Zoe", row, verdict).status == 200
    assert all_that_ann_sees(ann) == before


def test_a_name_belongs_to_the_browser_that_used_it_first(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    ann, bob = ask.browser(app), ask.browser(app)
    assert bob("GET", "/api/queue", query="me=Ann").status == 200  # as nothing is hers yet
    assert decide(ann, "Ann", 3, "drop").status == 200
    step = {"key": "u", "reviewer": "Ann"}
    answers = [
        bob("GET", "/api/rows/3", query="me=Ann"),
        bob("GET", "/api/rows/3", query="me=Ann&me=Bob"),
        bob("GET", "/api/progress", query="me=Ann"),
        bob("GET", "/api/queue", query="me=Ann"),
        bob("GET", "/api/queue", query="me=Ann&reviewer=Ann&verdict=drop"),
        decide(bob, "Ann", 3, key="stale"),
        decide(bob, "Ann", 4, key="other"),
        bob.post("/api/undo", step),
        bob.post("/api/redo", step),
    ]
    for answer in answers:
        assert answer.status == 423
        assert answer.json["error"]["expected"].startswith("In a blind review a name belongs to")
        assert "current" not in answer.json
        assert b"drop" not in answer.body
    assert len(blind_session.store.events_after()) == 1
    assert ann.get("/api/rows/3", "me=Ann")["mine"]["verdict"] == "drop"
    assert ann.post("/api/undo", step).status == 200
    assert decide(bob, "Bob", 3).status == 200
    assert decide(ann, "Ann of the other lab", 5).status == 200
    assert ann.get("/api/progress", "me=Ann")["mine"] == 0  # the first name is still hers


def test_a_name_is_mine_from_the_first_act_on_while_its_answer_is_on_the_way(
    blind_session: Any, ask: Any
) -> None:
    ann = ask.browser(ask.guarded(blind_session))
    before = dict(ann.cookies)
    assert decide(ann, "Ann", 3).status == 200
    ann.cookies = before  # as the page asks for the next photo before it has the answer, or never gets it
    assert ann.get("/api/rows/3", "me=Ann")["mine"]["verdict"] == "keep"
    assert decide(ann, "Ann", 3).status == 200


def test_whoever_uses_a_new_name_at_the_same_instant_learns_nothing(
    blind_session: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ask.guarded(blind_session)
    ann, bob = ask.browser(app), ask.browser(app)
    append = type(blind_session.store).append

    def after_ann(store: Any, *acts: Any, **about: Any) -> Any:
        monkeypatch.undo()
        assert decide(ann, "Ann", 3, "drop").status == 200
        return append(store, *acts, **about)

    monkeypatch.setattr(type(blind_session.store), "append", after_ann)
    answer = decide(bob, "Ann", 3, key="late")
    assert (answer.status, "current" in answer.json) == (423, False)


def test_the_cookie_of_a_name_cannot_be_made(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    ann, bob, page = ask.browser(app), ask.browser(app), ask(app, "GET", "/")
    settings = {each.lower() for each in page.headers["set-cookie"].split("; ")[1:]}
    assert settings == {"httponly", "samesite=strict", "path=/", "max-age=31536000"}
    decide(ann, "Ann", 3)
    [(name, hers)], [his] = ann.cookies.items(), bob.cookies.values()
    logged = blind_session.store.events_after()[0].seen["browser"]
    for made in ("", his, hers[:-1], hers.upper(), "0" * 32, logged, f"{his}.{hers[::-1]}"):
        bob.cookies = {name: made}
        assert bob("GET", "/api/rows/3", query="me=Ann").status == 423, made
    bob.cookies = {name: f"{his}.{hers}"}
    assert bob("GET", "/api/rows/3", query="me=Ann").status == 200


def test_without_a_cookie_nothing_is_decided_blind(blind_session: Any, ask: Any) -> None:
    nobody = ask.browser(ask.guarded(blind_session))
    nobody.cookies.clear()
    answer = decide(nobody, "Ann", 3)
    assert (answer.status, answer.json["error"]["remedy"]) == (
        423,
        "Allow cookies for this page, and load it again.",
    )
    assert blind_session.store.events_after() == []


def test_who_runs_the_server_gives_a_name_back(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    decide(ask.browser(app), "Ann", 3, "drop")
    ann = ask.browser(app)  # her old one forgot
    word = blind_session.secret.word("Ann")
    led = ann("GET", "/", query=f"view=grid&word={word}")
    assert (led.status, led.headers["location"]) == (303, "/?view=grid")
    for number in range(20):
        assert ann.get("/api/rows/3", "me=Ann")["mine"]["verdict"] == "drop", number
        ann("GET", "/", query=f"word={number % 3:032x}")  # other names do not push hers out at once
    for odd in ("", "x" * 32, word + "%0d%0aSet-Cookie:%20a=b", "0" * 5000):
        other = ask.browser(app)
        assert "Set-Cookie" not in other("GET", "/", query=f"word={odd}").headers.get("set-cookie", "")
        assert other("GET", "/api/rows/3", query="me=Ann").status == 423


def test_a_link_to_the_page_takes_no_name_away(blind_session: Any, ask: Any) -> None:
    ann = ask.browser(ask.guarded(blind_session))
    decide(ann, "Ann", 3)
    before = dict(ann.cookies)
    ann.cookies.clear()  # as no browser sends strict cookies along with what another site began
    linked = [("host", "127.0.0.1:8642"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
    led = ask(ann.app, "GET", "/", query="view=grid", headers=linked)
    assert b"0;url=/?view=grid" in led.body
    assert "set-cookie" not in led.headers
    ann.cookies |= before
    assert ann.get("/api/rows/3", "me=Ann")["mine"]["verdict"] == "keep"


def test_where_everyone_is_shown_names_are_taken_on_trust(session: Any, ask: Any) -> None:
    app = ask.guarded(session)
    ann, bob = ask.browser(app), ask.browser(app)
    assert decide(ann, "Ann", 3).status == 200
    assert ann.cookies == {}
    assert "browser" not in session.store.events_after()[0].seen
    assert bob.get("/api/rows/3", "me=Ann")["mine"]["verdict"] == "keep"
    assert bob.post("/api/undo", {"key": "u", "reviewer": "Ann"}).status == 200


def places_in_table(blind: ReviewItems, seeing: ReviewItems) -> np.ndarray:
    return np.array([seeing.row_of[image_id] for image_id in blind.image_ids])


def test_rows_of_a_run_lie_in_no_order_of_the_table(run: Path) -> None:
    seeing, blind = read_items(run), read_items(run, blind=True)
    places = places_in_table(blind, seeing)
    assert sorted(places) == list(range(len(seeing)))
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.3


def test_the_order_is_that_of_the_folder_and_of_no_other(run: Path, tmp_path: Path) -> None:
    here, copies = read_items(run, blind=True), [tmp_path / name for name in ("with", "without")]
    assert read_items(run, blind=True).image_ids == here.image_ids
    for copy in copies:
        shutil.copytree(run, copy)
    (copies[1] / "review" / "secret").unlink()
    carried, new = (read_items(copy, blind=True) for copy in copies)
    assert carried.image_ids == here.image_ids
    assert new.image_ids != here.image_ids


def sent_by(app: Any, ask: Any, num_rows: int) -> Iterator[bytes]:
    """Every byte that a server sends to one who looks at everything, answers to mistakes among it."""
    visitor = ask.browser(app)
    paths = [path for path in app.app.openapi()["paths"] if "{" not in path]
    paths += [
        f"/{kind}/{row}" for kind in ("api/rows", "photos", "thumbnails") for row in range(0, num_rows, 9)
    ]
    paths += [*(f"/static/{name}" for name in static_files()), "/no/such", "/api/rows/9999"]
    queries = ("", "me=Ann&count=500", "me=Ann&order=random&state=left", "word=0", "order=table", "queue=x")
    for path, method in product(paths, ("GET", "HEAD", "POST")):
        yield repr(visitor(method, path)).encode()
    for path, query in product(paths[: -len(static_files())], queries):
        yield repr(visitor("GET", path, query=query)).encode()
    for answer in (*(decide(visitor, "Ann", 0, key=key) for key in ("k1", "k2")), decide(visitor, "", -1)):
        yield repr(answer).encode()
    for route in ("undo", "redo", "redo"):
        yield repr(visitor.post(f"/api/{route}", {"key": route, "reviewer": "Ann"})).encode()


def numbers_in(text: bytes) -> set[int]:
    """Whatever a generator could be seeded with: digits as they stand there, hexadecimal ones from 8 on."""
    found = {int(run[:60]) for run in re.findall(rb"[0-9]+", text)}
    for run in re.findall(rb"[0-9A-Fa-f]{2,}", text):
        found |= {int(run[:size], 16) for size in (8, 16, 32, 64)}
    return found


def permutations_of(seed: int, size: int) -> Iterator[np.ndarray]:
    """What the generators of numpy and Python make of a seed, to and fro."""
    shuffled = np.arange(size).tolist()
    random.Random(seed).shuffle(shuffled)
    for order in (
        np.random.default_rng(seed).permutation(size),
        np.random.RandomState(seed % 2**32).permutation(size),
        np.random.Generator(np.random.MT19937(seed)).permutation(size),
        np.array(shuffled),
    ):
        yield order
        yield np.argsort(order)


def most_labels_told(labels: np.ndarray, seeds: Iterable[int]) -> float:
    """The share of labels that the best of the seeds tells to who knows how large the classes are."""
    known = np.sort(labels)
    return max(
        float((known[order] == labels).mean())
        for seed in seeds
        for order in permutations_of(seed, len(labels))
    )


def test_nothing_that_is_sent_or_lies_open_tells_how_rows_were_shuffled(
    blind: ReviewItems, run: Path, tmp_path: Path, ask: Any
) -> None:
    seeing = read_items(run)
    assert (np.diff(seeing.given_labels) >= 0).all()  # as in every set of class folders
    if blind.audit is None:
        labels = seeing.given_labels[places_in_table(blind, seeing)]
        seen = []
    else:
        sample = read_sample(tmp_path / "sample")
        labels = sample.labels[sample.design.rows]
        seen = [path for path in sample.folder.rglob("*") if path.suffix != ".parquet"]
    with ask.opened(blind, tmp_path) as session:
        told = b" ".join(sent_by(ask.guarded(session), ask, len(blind)))
    assert seeing.fingerprint[:16].encode() not in told
    assert blind.fingerprint[:16].encode() not in told
    told += b" ".join(str(path).encode() + path.read_bytes() for path in seen if path.is_file())
    seeds = numbers_in(told) | set(range(100))
    assert len(seeds) > 500
    by_chance = 0.35 if len(labels) > 100 else 0.5
    assert most_labels_told(labels, seeds) < by_chance
    old = int(seeing.fingerprint[:16], 16)  # the search does find what the seed tells
    order = np.random.default_rng(old).permutation(len(labels))
    assert most_labels_told(np.sort(labels)[order], numbers_in(seeing.fingerprint.encode())) == 1


def test_two_servers_that_start_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from kiyome.decisions.items import review_secret as s; print(s(sys.argv[1]).key.hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "review")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
    assert [path.name for path in (tmp_path / "review").iterdir()] == ["secret"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_secret_that_was_changed_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(StaleArtifact, match=r"does not hold a key of 32 bytes.*or delete it"):
        review_secret(tmp_path)
