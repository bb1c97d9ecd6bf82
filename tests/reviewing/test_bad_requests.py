"""What no page would send: every answer is a refusal in three parts, never a file, never a 500."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from PIL import Image

from kiyome.decisions.items import ReviewItems
from kiyome.reviewing.routes.decisions import MAX_ENTRIES

BAD_PATHS = [
    *("../", "..", "/etc/passwd", "//etc/passwd", "..\\..\\secret.jpg", "%2e%2e%2fsecret.jpg"),
    *("%5c..%5csecret.jpg", "../secret.jpg", "....//secret.jpg", "a.jpg", "a.jpg\x00", "\x00"),
    *(
        "0/../secret.jpg",
        "0\x00",
        "x" * 300,
        "~root",
        "file:///etc/passwd",
        "http://evil.com/a.jpg",
        "\ud800",
    ),
    *(
        "0x0",
        "1e0",
        "-1",
        "--1",
        "²",
        "+",
        " ",
        "9" * 5000,
        str(2**31),
        str(2**63),
        "NaN",
        "null",
        "true",
        "[0]",
    ),
    *("out.jpg", "pipe.jpg", "main.js/../../guard.py", "__init__.py", "../__init__.py", "vendor", "vendor/"),
    *("vendor/../../session.py", ".", "./main.js", "MAIN.JS", ""),
]


def act(*entries: Any, **other: Any) -> dict[str, Any]:
    return {"key": "k", "reviewer": "Ann", "entries": list(entries), **other}


KEEP = {"row": 0, "version": 0, "verdict": "keep"}
BAD_ENTRIES: list[dict[str, Any]] = [
    *({}, {"row": 0}, KEEP | {"label": "cat"}, KEEP | {"verdict": "relabel"}, KEEP | {"verdict": "KEEP"}),
    *(KEEP | {"verdict": None}, KEEP | {"verdict": "relabel", "label": "no class"}, KEEP | {"other": 1}),
    *(KEEP | {"row": row} for row in (-1, 13, 2**31, 10**23, "0", 0.0, True, None, [0])),
    *(KEEP | {"version": version} for version in (-1, 2**63, "0", 0.5, True, None, {})),
    *(KEEP | {"verdict": "relabel", "label": label} for label in ("\ud800", "\0", "", "x" * 9999, 3, None)),
]
BAD_ACTS: list[Any] = [
    *(act(entry) for entry in BAD_ENTRIES),
    *(
        act(),
        act(KEEP, KEEP),
        act(KEEP) | {"other": 1},
        act() | {"entries": None},
        act() | {"entries": {"0": KEEP}},
    ),
    *(act(KEEP, key=key) for key in ("", "k" * 999, "\0", "\ud800", 7, None)),
    *(
        act(KEEP, reviewer=name)
        for name in ("", " ", "x" * 65, "\n", "\0", "\ud800", "\x1b[2J", " Ann", None)
    ),
    *(act(KEEP, milliseconds=value) for value in (-1, 1.5, "3", 10**23, True, [1])),
    *(act(KEEP, seen=value) for value in (None, [], "x", {"view": "x" * 99}, {"other": 1}, {"position": -1})),
    *(act(KEEP, seen={"view": text}) for text in ("\0", "\ud800")),
    *([], 1, "x", act(*[KEEP] * (MAX_ENTRIES + 1))),
]
BAD_BODIES = [
    *(b"9" * 5000, b"", b"{", b"[" * 100_000, b"nul", b"null", b"\xff\xfe", b"\x00", b'{"key": NaN}'),
    *(
        b'{"a": ' * 5000,
        b"\xef\xbb\xbf{}",
        b'"\\ud800"',
        b'{"milliseconds": 1e999}',
        b"Infinity",
        b"9" * 5000,
    ),
    b'{"key":"k","reviewer":"Ann","entries":[{"row":NaN,"version":0,"verdict":"keep"}]}',
    b'{"key":"k","reviewer":"Ann","entries":[{"row":1e999,"version":0,"verdict":"keep"}]}',
    b'{"key":"k","reviewer":"Ann","milliseconds":NaN,"entries":[{"row":0,"version":0,"verdict":"keep"}]}',
]
BAD_QUESTIONS = [
    *("order=none", "state=x", "verdict=x", "min_chance=2", "min_chance=nan", "max_chance=inf"),
    *("max_chance=1e999", "min_chance=0.9&max_chance=0.1", "flagged=perhaps", "given=no+class"),
    *("likely=%ED%A0%80", "given=%00", "count=0", "count=501", "count=1000000", "count=", "count=1&count=x"),
    *("start=-1", "start=1e3", f"start={10**23}", "at=-1", "at=x", "unknown=1"),
    *(f"{name}={'x' * 300}" for name in ("me", "queue", "reviewer", "search")),
]


@pytest.fixture(scope="module")
def app(items: ReviewItems, tmp_path_factory: pytest.TempPathFactory, ask: Any) -> Iterator[Any]:
    """One review for all: nothing here changes it."""
    with ask.opened(items, tmp_path_factory.mktemp("review")) as session:
        yield ask.guarded(session)
        assert session.store.events_after() == []


def is_refusal(answer: Any) -> bool:
    return answer.status in (400, 404, 422) and {*answer.json["error"]} == {"problem", "expected", "remedy"}


@pytest.mark.parametrize("sent", BAD_ACTS, ids=lambda sent: json.dumps(sent)[:60])
def test_a_bad_act_is_refused(app: Any, ask: Any, sent: Any) -> None:
    answer = ask.post(app, "/api/decisions", sent)
    assert answer.status == 422
    assert is_refusal(answer)


@pytest.mark.parametrize("route", ["/api/decisions", "/api/undo", "/api/redo"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", "x"])
def test_a_body_that_is_no_json_is_refused(app: Any, ask: Any, route: str, kind: str) -> None:
    for body in BAD_BODIES:
        headers = [*ask.own, ("x-csrf-token", ask.csrf), ("content-type", kind)]
        assert is_refusal(ask(app, "POST", route, headers=headers, body=body)), body[:80]


@pytest.mark.parametrize("query", BAD_QUESTIONS)
def test_a_bad_question_is_refused(app: Any, ask: Any, query: str) -> None:
    answer = ask(app, "GET", "/api/queue", query=query)
    assert answer.status == 422
    assert is_refusal(answer)


def test_no_path_leads_to_a_file(app: Any, ask: Any) -> None:
    for route in ("/static/", "/photos/", "/thumbnails/", "/api/rows/", "/"):
        for path in BAD_PATHS:
            quoted = {quote(path, safe=safe, errors="replace") for safe in ("", "/")}
            for form in {path, *quoted} - ({""} if route == "/" else set()):
                answer = ask(app, "GET", route + form)
                assert is_refusal(answer), route + form
                assert ask.secret not in answer.body
                assert b"root:" not in answer.body


@pytest.mark.parametrize("side", [256, 800, 1600, 3200])
def test_photos_are_written_anew_or_not_at_all(app: Any, ask: Any, items: ReviewItems, side: int) -> None:
    for row in range(len(items)):
        for path, longest in ((f"/photos/{row}", min(side, 400)), (f"/thumbnails/{row}", 256)):
            answer = ask(app, "GET", path, query=f"side={side}" * path.startswith("/photos"))
            assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
            assert not any(content in answer.body for content in ask.verbatim)
            assert b"alert" not in answer.body
            if row < 2:  # the others only look like photos
                assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
                with Image.open(io.BytesIO(answer.body)) as image:
                    assert (image.format, max(image.size)) == ("JPEG", longest)
            else:
                assert is_refusal(answer)
                assert "/" not in answer.json["error"]["problem"]


@pytest.mark.parametrize("side", ["100", "0", "-1", "1e9", "x", "9" * 20, "", "800&side=x"])
def test_photos_come_in_four_sizes(app: Any, ask: Any, side: str) -> None:
    assert is_refusal(ask(app, "GET", "/photos/0", query=f"side={side}"))


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("examples", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_no_generated_request_makes_the_server_fail(session: Any, ask: Any, mode: str, examples: int) -> None:
    """D11: every operation of the schema, with what it allows and with what it forbids; a fixed seed."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    app = ask.guarded(session)  # of its own: what the schema allows is written
    schema = schemathesis.openapi.from_dict(app.app.openapi())
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        cases = found.ok().as_strategy(generation_mode=schemathesis.GenerationMode[mode])

        @seed(7)
        @settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=cases)
        def check(case: Any) -> None:
            answer = asked_as(case, app, ask)
            statuses[answer.status] += 1
            assert answer.status < 500, (case.method, case.formatted_path, case.query, case.body)
            assert answer.headers["x-content-type-options"] == "nosniff"

        with suppress(Unsatisfiable):  # an operation without fields has nothing to forbid
            check()
    assert sum(statuses.values()) > 40
    assert mode == "NEGATIVE" or statuses[200] > 10


def asked_as(case: Any, app: Any, ask: Any) -> Any:
    """What the app answers to a generated case, with the headers that let it past the guard."""
    said = case.body if case.body is None or isinstance(case.body, (dict, list, str, int, float)) else {}
    body = case.body if isinstance(case.body, bytes) else json.dumps(said).encode()
    headers = [*ask.own, ("x-csrf-token", ask.csrf), ("content-type", "application/json")]
    query = urlencode(case.query or {}, doseq=True, errors="replace")
    path = unquote(case.formatted_path, errors="replace")
    return ask(app, case.method, path, query=query, headers=headers, body=body)
