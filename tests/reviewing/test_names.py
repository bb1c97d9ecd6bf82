"""One person is one name: accents however they are written, nothing unseen, a word where names look alike."""

from typing import Any

import pytest

from kiyome.decisions.events import look_alikes

COMPOSED, DECOMPOSED = "Ren\u00e9", "Rene\u0301"


def decide(asker: Any, app: Any, name: str, row: int = 0, verdict: str = "keep", version: int = 0) -> Any:
    entry = {"row": row, "version": version, "verdict": verdict}
    sent = {"key": f"{name} {row} {version}", "reviewer": name, "entries": [entry]}
    return asker.post(app, "/api/decisions", sent)


def test_accents_make_one_person_however_a_keyboard_writes_them(app: Any, ask: Any, session: Any) -> None:
    assert decide(ask, app, DECOMPOSED).status == 200
    assert decide(ask, app, COMPOSED).status == 409  # the same person decided about the row
    assert decide(ask, app, COMPOSED, verdict="drop", version=1).status == 200
    assert ask.get(app, "/api/review")["reviewers"] == [COMPOSED]
    for name in ("Ren%C3%A9", "Rene%CC%81"):
        assert ask.get(app, "/api/rows/0", f"me={name}")["mine"]["verdict"] == "drop"
        assert ask.get(app, "/api/progress", f"me={name}")["mine"] == 1
        assert ask.get(app, "/api/queue", f"reviewer={name}&verdict=drop")["total"] == 1
    assert ask.post(app, "/api/undo", {"key": "u", "reviewer": DECOMPOSED}).status == 200
    assert {event.reviewer for event in session.store.events_after()} == {COMPOSED}


@pytest.mark.parametrize("name", ["Ann\u200b", "An\u00adn", "\u202eAnn", "Ann\u2066", "\ufeffAnn"])
def test_what_cannot_be_seen_is_no_part_of_a_name(app: Any, ask: Any, session: Any, name: str) -> None:
    answer = decide(ask, app, name)
    assert answer.status == 422
    error = answer.json["error"]
    assert error["problem"] == f"The reviewer's name {name!a} contains an invisible character."
    assert error["remedy"] == "Remove it from the name."
    assert session.store.events_after() == []


@pytest.mark.parametrize("other", ["\u0410nn", "ann", "A\uff4en", "Ann "[:3].upper(), "\u0391nn"])
def test_a_name_that_looks_like_another_is_told_once(app: Any, ask: Any, other: str) -> None:
    assert "note" not in decide(ask, app, "Ann").json
    first = decide(ask, app, other)
    assert first.status == 200
    assert first.json["note"].startswith("This name looks like 'Ann'")
    assert "note" not in decide(ask, app, other, row=1).json
    assert "note" not in decide(ask, app, "Ben").json


def test_in_a_blind_review_the_word_names_nobody(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    for name, word in (("Zoe", None), ("ZOE", "This name looks like another reviewer's")):
        entry = {"row": 0, "version": 0, "verdict": "keep"}
        answer = ask.browser(app).post(
            "/api/decisions", {"key": word or "k", "reviewer": name, "entries": [entry]}
        )
        assert (answer.json.get("note") or "")[:39] == (word or "")
        assert b"Zoe" not in answer.body


def test_a_name_of_a_blind_review_is_taken_however_it_is_written(blind_session: Any, ask: Any) -> None:
    app = ask.guarded(blind_session)
    entry = {"row": 0, "version": 0, "verdict": "keep"}
    sent = {"key": "k", "reviewer": COMPOSED, "entries": [entry]}
    assert ask.browser(app).post("/api/decisions", sent).status == 200
    other = ask.browser(app)
    assert other("GET", "/api/rows/0", query="me=Rene%CC%81").status == 423
    assert other.post("/api/decisions", sent | {"key": "o", "reviewer": DECOMPOSED}).status == 423


def test_names_that_differ_to_the_eye_do_not_look_alike() -> None:
    assert look_alikes("Ann", ["Anna", "Anne", "Ben", "\u5b89", "Ann"]) == []
