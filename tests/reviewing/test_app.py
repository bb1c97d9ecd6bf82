"""What the routes answer: decisions that are kept once, queues that stand still, and nothing but photos."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.decisions.items import ReviewItems
from kiyome.reviewing.session import MAX_SNAPSHOTS


def keep(row: int, version: int = 0, **other: Any) -> dict[str, Any]:
    return {"row": row, "version": version, "verdict": "keep", **other}


def act(*entries: dict[str, Any], key: str = "k1", reviewer: str = "Ann", **other: Any) -> dict[str, Any]:
    return {"key": key, "reviewer": reviewer, "entries": list(entries), **other}


def test_a_decision_is_kept_and_shown(app: Any, ask: Any) -> None:
    label = ask.classes[0]
    sent = act(keep(3), {"row": 4, "version": 0, "verdict": "relabel", "label": label}, milliseconds=900)
    answer = ask.post(
        app, "/api/decisions", sent | {"seen": {"order": "suspicion", "view": "one", "position": 7}}
    )
    assert answer.status == 200
    assert answer.json == {
        "decisions": [
            {"row": 3, "verdict": "keep", "label": None, "version": 1},
            {"row": 4, "verdict": "relabel", "label": label, "version": 1},
        ],
        "batch": "k1",
    }
    row = ask.get(app, "/api/rows/4", "me=Ann")
    assert row["mine"] == {"verdict": "relabel", "label": label, "version": 1}
    assert row["others"] == []
    assert [(each["reviewer"], each["kind"], each["label"]) for each in row["history"]] == [
        ("Ann", "decide", label)
    ]
    assert ask.get(app, "/api/rows/4", "me=Bob")["others"] == [
        {"reviewer": "Ann", "verdict": "relabel", "label": label}
    ]


def test_what_was_seen_is_written_down_as_the_server_knows_it(app: Any, ask: Any, session: Any) -> None:
    ask.post(app, "/api/decisions", act(keep(0), seen={"order": "gain", "view": "grid", "blind": True}))
    event = session.store.events_after()[0]
    assert event.seen == {"order": "gain", "view": "grid", "blind": False, "position": None}
    assert (event.run, event.table_content) == ("leaves", "t" * 64)


def test_the_same_act_again_is_written_once(app: Any, ask: Any, session: Any) -> None:
    first = ask.post(app, "/api/decisions", act(keep(0), keep(1)))
    assert ask.post(app, "/api/decisions", act(keep(0), keep(1))).body == first.body
    other = ask.post(app, "/api/decisions", act(keep(0)))
    assert (other.status, "key" in other.json["error"]["problem"]) == (422, True)
    assert len(session.store.events_after()) == 2


def test_a_stale_decision_is_refused_with_what_stands(app: Any, ask: Any, session: Any) -> None:
    ask.post(app, "/api/decisions", act(keep(0)))
    answer = ask.post(app, "/api/decisions", act(keep(1), {**keep(0), "verdict": "drop"}, key="k2"))
    assert answer.status == 409
    assert answer.json["current"] == [{"row": 0, "verdict": "keep", "label": None, "version": 1}]
    assert {*answer.json["error"]} == {"problem", "expected", "remedy"}
    assert len(session.store.events_after()) == 1


def test_people_do_not_overwrite_each_other(app: Any, ask: Any) -> None:
    assert ask.post(app, "/api/decisions", act(keep(0))).status == 200
    drop = {"row": 0, "version": 0, "verdict": "drop"}
    assert ask.post(app, "/api/decisions", act(drop, key="k2", reviewer="Bob")).status == 200
    shown = ask.get(app, "/api/rows/0", "me=Ann")
    assert shown["disputed"]
    assert shown["mine"]["verdict"] == "keep"
    assert shown["others"] == [{"reviewer": "Bob", "verdict": "drop", "label": None}]
    assert ask.get(app, "/api/queue", "state=disputed")["total"] == 1
    told = ask.get(app, "/api/agreement")
    assert (told["disputes"], told["pairs"][0]["rows"], told["pairs"][0]["agreed"]) == (1, 1, 0)
    assert ask.get(app, "/api/review")["reviewers"] == ["Ann", "Bob"]


def test_undo_and_redo_walk_through_acts_and_are_safe_to_send_again(app: Any, ask: Any, session: Any) -> None:
    ask.post(app, "/api/decisions", act(keep(0), keep(1), key="one"))
    ask.post(app, "/api/decisions", act({**keep(0, 1), "verdict": "drop"}, key="two"))

    def step(route: str, key: str, reviewer: str = "Ann") -> Any:
        return ask.post(app, f"/api/{route}", {"key": key, "reviewer": reviewer})

    undone = step("undo", "u1")
    assert undone.json["decisions"] == [{"row": 0, "verdict": "keep", "label": None, "version": 3}]
    assert step("undo", "u1").body == undone.body
    assert [each["verdict"] for each in step("undo", "u2").json["decisions"]] == [None, None]
    assert ask.get(app, "/api/rows/1", "me=Ann")["mine"] == {"verdict": None, "label": None, "version": 2}
    assert step("undo", "u3").status == 404
    assert step("undo", "b1", "Bob").status == 404  # nobody undoes what others did
    assert [each["verdict"] for each in step("redo", "r1").json["decisions"]] == ["keep", "keep"]
    assert step("redo", "r2").json["decisions"][0]["verdict"] == "drop"
    assert step("redo", "r3").status == 404
    for route, key, reviewer in (("redo", "u1", "Ann"), ("undo", "u1", "Bob"), ("undo", "one", "Ann")):
        assert step(route, key, reviewer).status == 422, "a key names one act"
    assert ask.get(app, "/api/rows/0", "me=Ann")["mine"]["verdict"] == "drop"
    assert len(session.store.events_after()) == 9


def test_a_queue_stands_still_while_one_works_through_it(app: Any, ask: Any) -> None:
    first = ask.get(app, "/api/queue", "state=left&me=Ann&count=5")
    rows = [row["row"] for row in first["rows"]]
    ask.post(app, "/api/decisions", act(*(keep(row) for row in rows)))
    again = ask.get(app, "/api/queue", f"queue={first['queue']}&me=Ann&count=5")
    assert [row["row"] for row in again["rows"]] == rows
    assert all(row["mine"]["verdict"] == "keep" for row in again["rows"])
    anew = ask.get(app, "/api/queue", "state=left&me=Ann&count=500")
    assert (anew["total"], first["total"]) == (8, 13)
    assert not {row["row"] for row in anew["rows"]} & {*rows}
    assert ask(app, "GET", "/api/queue", query="queue=no-such-queue").status == 410


def test_old_queues_are_let_go(app: Any, ask: Any, session: Any) -> None:
    name = ask.get(app, "/api/queue", "count=1")["queue"]
    for number in range(1, MAX_SNAPSHOTS + 1):  # everyone is left with other rows
        rows = [row for row in range(12) if number >> row & 1]
        ask.post(app, "/api/decisions", act(*map(keep, rows), key=f"k{number}", reviewer=f"R{number}"))
        ask.get(app, "/api/queue", f"count=1&state=left&me=R{number}")
    assert ask(app, "GET", "/api/queue", query=f"queue={name}").status == 410
    assert len(session._snapshots) == MAX_SNAPSHOTS


def test_a_deep_link_finds_the_page_of_its_row(app: Any, ask: Any) -> None:
    order = [row["row"] for row in ask.get(app, "/api/queue", "count=500")["rows"]]
    page = ask.get(app, "/api/queue", f"count=4&at={order[9]}")
    assert (page["start"], [row["row"] for row in page["rows"]]) == (8, order[8:12])
    assert ask.get(app, "/api/queue", "count=4&at=999")["start"] == 0
    beyond = ask.get(app, "/api/queue", "start=1000&count=4")
    assert (beyond["rows"], beyond["total"]) == ([], 13)


def test_the_matrix_counts_rows(app: Any, ask: Any, items: ReviewItems) -> None:
    counts = np.array(ask.get(app, "/api/matrix")["counts"])
    assert items.given_labels is not None
    assert items.likely_labels is not None
    pairs = zip(items.given_labels, items.likely_labels, strict=True)
    expected = np.zeros_like(counts)
    for given, likely in pairs:
        expected[given, likely] += 1
    assert (counts == expected).all()
    assert np.trace(np.array(ask.get(app, "/api/matrix", "flagged=true")["counts"])) == 0
    ask.post(app, "/api/decisions", act(keep(0), {**keep(1), "verdict": "relabel", "label": ask.classes[2]}))
    reviewed = np.array(ask.get(app, "/api/matrix", "reading=reviewed")["counts"])
    assert reviewed.sum() == 2
    assert reviewed[items.given_labels[1], 2] >= 1


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl", "corrected", "label_studio", "cvat", "fiftyone"])
def test_decisions_go_out_as_files(app: Any, ask: Any, name: str) -> None:
    ask.post(app, "/api/decisions", act(keep(0)))
    answer = ask(app, "GET", "/api/export", query=f"format={name}")
    if name == "cvat":  # XML holds no control character, and an id here has one
        assert answer.status in (200, 422)
        return
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert len(answer.body) > 20
    assert ask(app, "GET", "/api/export", query="format=exe").status == 422


def test_progress_counts_what_is_decided(app: Any, ask: Any) -> None:
    ask.post(app, "/api/decisions", act(keep(0), keep(1)))
    told = ask.get(app, "/api/progress", "me=Ann")
    assert (told["rows"], told["decided"], told["mine"]) == (13, 2, 2)
    assert ask.get(app, "/api/progress")["mine"] == 0


class Tags(HTMLParser):
    """Every tag of a page, with its attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.inline += data.strip()


def test_the_page_holds_no_script_but_its_files_and_no_text_becomes_a_tag(app: Any, ask: Any) -> None:
    answer = ask(app, "GET", "/", query="view=one&given=%3Cscript%3Ealert(9)%3C/script%3E")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Tags(answer.body.decode())
    assert page.inline == ""
    names = [name for _, attributes in page.tags for name in attributes]
    assert not [name for name in names if name == "style" or name.startswith("on")]
    assert [attributes["src"] for tag, attributes in page.tags if tag == "script"] == ["/static/main.js"]
    assert ("meta", {"name": "csrf", "content": ask.csrf}) in page.tags
    assert b"alert(9)" not in answer.body
    files = [value for _, a in page.tags for name in ("src", "href") if (value := a.get(name))]
    assert len(files) > 2
    for file in files:
        assert ask(app, "GET", file).status == 200, file


def test_files_of_the_page_are_asked_for_again_only_when_they_change(app: Any, ask: Any) -> None:
    first = ask(app, "GET", "/static/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    again = ask(app, "GET", "/static/main.js", headers=[*ask.own, ("if-none-match", first.headers["etag"])])
    assert (again.status, again.body) == (304, b"")


def test_a_browser_keeps_photos_of_this_start_only(app: Any, ask: Any) -> None:
    key = ask.get(app, "/api/review")["photo_key"]
    kept = ask(app, "GET", "/photos/0", query=f"side=256&v={key}")
    assert "immutable" in kept.headers["cache-control"]
    for other in ("", "&v=", "&v=0"):
        assert (
            ask(app, "GET", "/photos/0", query="side=256" + other).headers["cache-control"]
            == "private, no-cache"
        )
    seen = [*ask.own, ("if-none-match", kept.headers["etag"])]
    assert ask(app, "GET", "/photos/0", query="side=256", headers=seen).status == 304
    assert ask(app, "GET", "/photos/1", query="side=256", headers=seen).status == 200


def test_head_is_get_without_the_body(app: Any, ask: Any) -> None:
    for path in ("/", "/static/main.js", "/api/review", "/photos/0", "/thumbnails/1"):
        get, head = ask(app, "GET", path), ask(app, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers == get.headers


def test_a_defect_shows_nothing_of_itself(app: Any, ask: Any) -> None:
    def fail() -> None:
        raise RuntimeError("/home/someone/secret")

    app.app.add_api_route("/api/fail", fail)
    answer = ask(app, "GET", "/api/fail")
    assert answer.status == 500
    assert answer.json["error"]["problem"] == "The server failed; its log has the reason."
    assert b"secret" not in answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_there_is_no_schema_to_read(app: Any, ask: Any) -> None:
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        assert ask(app, "GET", path).status == 404


def test_a_store_that_cannot_be_read_is_said_so(app: Any, ask: Any, session: Any, tmp_path: Path) -> None:
    ask.post(app, "/api/decisions", act(keep(0)))
    for file in tmp_path.glob("decisions.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    answer = ask.post(app, "/api/decisions", act(keep(1), key="k2"))
    assert answer.status == 503
    assert {*answer.json["error"]} == {"problem", "expected", "remedy"}


def test_servers_on_one_store_agree(
    items: ReviewItems, tmp_path: Path, ask: Any, new_postgres_database: Any
) -> None:
    from dataclasses import replace

    from kiyome.decisions.store import open_decisions
    from kiyome.reviewing.session import open_session

    url, about = (
        new_postgres_database(),
        {"fingerprint": items.fingerprint, "class_names": items.class_names},
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        open_decisions(url, **about) as here,
        open_decisions(url, **about) as there,
        open_session(items, here, folder=tmp_path / "a") as one,
        open_session(items, there, folder=tmp_path / "b") as two,
    ):
        apps = [ask.guarded(replace(session, csrf=ask.csrf)) for session in (one, two)]
        for number in range(10):
            sent = act(keep(number), key=f"k{number}", reviewer=f"R{number % 2}")
            assert ask.post(apps[number % 2], "/api/decisions", sent).status == 200
        assert ask.post(apps[1], "/api/decisions", act(keep(0), key="late", reviewer="R0")).status == 409
        assert ask.post(apps[0], "/api/decisions", act(keep(1), key="k1", reviewer="R1")).status == 200
        assert ask.post(apps[1], "/api/undo", {"key": "u", "reviewer": "R0"}).status == 200
        told = [ask.get(app, "/api/progress", "me=R0") for app in apps]
        assert told[0] == told[1]
        assert (told[0]["decided"], told[0]["mine"]) == (9, 4)
