"""Nobody's decision is lost, nothing is shown that should not be, and no name is ever more than text."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "${alert(3)}",
    "\u202etac",
    "=1+1",
    "健康",
    "a&amp;b",
    "__proto__",
]


def test_hostile_names_are_text(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve(
        "named",
        names=HOSTILE,
        title="<script>alert(8)</script>",
        shown_ids=[f"../{n}<b onclick=alert(4)>" for n in range(60)],
    )
    first = served.items.ranking[0]
    given = HOSTILE[served.items.given_labels[first]]
    page = open_page(served, name="<i>Zoë</i>")
    shows(page, ".given dd", given)
    assert page.inner_text("h1") == "<script>alert(8)</script>"
    shows(page, ".details .id", f"../{first}<b onclick=alert(4)>")
    page.keyboard.press("/")
    page.keyboard.type("onerror")
    assert page.inner_text("#found bdi") == HOSTILE[0]
    page.keyboard.press("Enter")
    saved(page)
    for view in ("grid", "map", "people", "one"):
        page.click(f"nav a:has-text('{view.title()}')")
        page.wait_for_selector(f"main.view-{view} > div")
    page.click("#filter-button")
    page.select_option("label:has-text('Likely class') select", HOSTILE[1])
    shows(page, ".chips", HOSTILE[1])
    assert page.locator("main img[src=x], main script, main b[onclick]").count() == 0
    assert set(served.verdicts("<i>Zoë</i>")) == {first}


def test_nothing_of_a_label_reaches_a_blind_page(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve("blind")
    told: list[str] = []
    page = open_page(served)
    page.on("response", lambda answer: told.append(answer.text()) if "/api/" in answer.url else None)
    page.reload()
    page.wait_for_selector("[data-state=ready] img")
    shows(page, ".blind", "hidden")
    for missing in (
        ".given",
        ".likely",
        ".chance",
        ".strip",
        "button.accept",
        "button.keep",
        ".classes .bar",
    ):
        assert page.locator(missing).count() == 0, missing
    names = served.items.class_names
    assert [each.inner_text() for each in page.locator(".classes bdi").all()] == list(names)
    page.keyboard.press("Enter")
    shows(page, ".notice", "A blind review suggests no class")
    page.keyboard.press("k")
    shows(page, ".notice", "choose the class that you see")
    page.keyboard.press("2")
    saved(page)
    assert list(served.verdicts().values()) == [("relabel", names[1])]
    page.keyboard.press("z")
    saved(page)
    for view in ("grid", "map", "people"):
        page.goto(f"{served.address}/?view={view}")
        page.wait_for_selector(f"main.view-{view} > div")
        assert not any(name in page.inner_text("main") for name in names)
    assert all(word not in text for text in told for word in ('"given":"', '"suggested":"', '"chance":0'))


def test_an_audit_says_what_a_gap_costs(serve: Any, open_page: Any, shows: Any) -> None:
    page = open_page(serve("audit"))
    page.keyboard.press("ArrowRight")
    shows(page, "dialog", "without a gap")
    page.click("dialog button.strong")
    shows(page, "#position", "1 of 60")
    page.keyboard.press("1")
    shows(page, "#position", "2 of 60")
    page.keyboard.press("ArrowRight")
    page.click("dialog button.plain")
    shows(page, "#position", "3 of 60")
    page.click("#filter-button")
    assert page.locator("label:has-text('Order')").count() == 0


def test_a_row_that_nobody_labeled_has_no_label_to_keep(
    serve: Any, open_page: Any, saved: Any, shows: Any
) -> None:
    served = serve("audit", splits=np.full(60, "unlabeled", object))
    page = open_page(served)
    shows(page, ".labels .blind", "Blind: no label was given, and the prediction is hidden.")
    shows(page, ".labels .split", "Row of unlabeled")
    assert page.locator(".act.keep, .act.accept").count() == 0
    for view in ("one", "grid"):
        page.goto(f"{served.address}/?view={view}")
        page.wait_for_selector(f"main.view-{view} > div")
        text = page.inner_text("main")
        assert not any(word in text for word in ("-1", "null", "undefined", "Keep", "Given"))
    page.goto(served.address)
    page.wait_for_selector("[data-state=ready] img")
    page.keyboard.press("k")
    shows(page, ".notice", "No label was given: choose the class that you see.")
    page.keyboard.press("Enter")
    shows(page, ".notice", "A blind review suggests no class")
    assert served.decisions() == 0
    page.keyboard.press("2")
    saved(page)
    assert served.verdicts() == {0: ("relabel", served.items.class_names[1])}


def test_what_is_decided_offline_arrives_later(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    rows = served.items.ranking.tolist()
    page = open_page(served)
    page.wait_for_load_state("networkidle")  # the photos ahead are here
    page.context.set_offline(True)
    for key in "xukx":
        page.keyboard.press(key)
    shows(page, "button.saved", "4 stored here")
    page.context.set_offline(False)
    saved(page)
    assert [served.verdicts()[row][0] for row in rows[:4]] == ["drop", "unsure", "keep", "drop"]
    assert served.decisions() == 4
    page.trouble.clear()  # the browser itself writes down what did not load


def test_what_the_server_missed_survives_a_reload(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    page = open_page(served)
    page.wait_for_load_state("networkidle")
    served.stop()
    page.keyboard.press("x")
    page.keyboard.press("u")
    page.keyboard.press("z")
    shows(page, "button.saved", "3 stored here")
    served.start()
    page.reload()
    saved(page)
    assert [verdict for verdict, _ in served.verdicts().values()] == ["drop", None]
    assert served.decisions() == 3
    page.trouble.clear()


def test_a_lost_answer_is_asked_for_again_and_written_once(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve()
    page = open_page(served)
    lost: list[str] = []

    def lose_first(route: Any) -> None:
        if not lost:
            lost.append(route.fetch().text())
            return route.abort()
        return route.continue_()

    page.route("**/api/decisions", lose_first)
    with page.expect_response("**/api/decisions"):
        page.keyboard.press("x")
        page.keyboard.press("u")
    saved(page)
    assert len(lost) == 1
    assert served.decisions() == 2
    page.trouble.clear()


def test_two_pages_of_one_person_do_not_overwrite(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    row = served.items.ranking[0]
    first, second = open_page(served), open_page(served)
    second.wait_for_load_state("networkidle")  # it has seen that nothing stands
    first.keyboard.press("x")
    saved(first)
    second.keyboard.press("u")
    shows(second, "dialog", "There is a newer decision")
    shows(second, "dialog td:nth-of-type(1)", "dropped")
    assert served.verdicts()[row] == ("drop", None)
    second.click("text=Use mine")
    saved(second)
    assert served.verdicts()[row] == ("unsure", None)
    second.trouble.clear()

    first.keyboard.press("ArrowLeft")
    first.keyboard.press("Home")
    shows(first, ".decision", "unsure")  # its details tell of the other page
    second.keyboard.press("Home")
    second.keyboard.press("x")
    saved(second)
    first.keyboard.press("k")
    shows(first, "dialog", "There is a newer decision")
    first.click("text=Keep the current one")
    saved(first)
    assert served.verdicts()[row] == ("drop", None)
    assert served.decisions() == 3
    first.trouble.clear()


def test_two_people_on_one_row_both_keep_their_word(
    serve: Any, open_page: Any, saved: Any, shows: Any
) -> None:
    served = serve()
    row = served.items.ranking[0]
    ann, ben = open_page(served, name="Ann"), open_page(served, name="Ben")
    ann.keyboard.press("x")
    saved(ann)
    ben.keyboard.press("k")
    saved(ben)
    assert (served.verdicts("Ann")[row], served.verdicts("Ben")[row]) == (("drop", None), ("keep", None))
    cleo = open_page(served, "/?view=people", name="Cleo")
    shows(cleo, ".people-view", "1 row is disputed")
    shows(cleo, ".people-view", "Ann and Ben")
    cleo.click("text=Review them")
    shows(cleo, "#position", "1 of 1")
    shows(cleo, ".given dt", "disputed")
    shows(cleo, ".others", "Ben: kept")


def test_a_refusal_says_what_to_do(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    page = open_page(served)
    remedy = "Open the address that the server printed."
    refusal = json.dumps({"error": {"problem": "No token.", "expected": "", "remedy": remedy}})
    page.route(
        "**/api/decisions",
        lambda route: route.fulfill(status=401, content_type="application/json", body=refusal),
    )
    page.keyboard.press("x")
    shows(page, "dialog", remedy)
    page.click("text=Later")
    shows(page, "button.saved", "1 not saved")
    page.unroute("**/api/decisions")
    page.click("button.saved")
    page.click("text=Send again")
    saved(page)
    assert served.decisions() == 1

    page.route(
        "**/api/decisions",
        lambda route: route.fulfill(status=422, content_type="application/json", body="{}"),
    )
    page.keyboard.press("x")
    page.click("text=Discard this one")
    saved(page)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    shows(page, ".decision", "Not decided by you")
    assert served.decisions() == 1
    page.trouble.clear()


def test_the_way_in_shows_no_token_and_leads_in(serve: Any, browser: Any) -> None:
    served = serve()
    token = served.entrance.partition("token=")[2]
    context = browser.new_context()
    page = context.new_page()
    assert page.goto(served.address).status == 401
    assert token not in served.way
    page.goto(served.way)
    page.wait_for_selector("[data-state=ready] img")
    assert page.url.startswith(f"{served.address}/")
    assert token not in page.url
    assert page.evaluate("document.cookie") == ""
    page.reload()
    page.wait_for_selector("[data-state=ready] img")
    served.stop()
    assert not Path(urlsplit(served.way).path).exists()
    context.close()


@pytest.mark.slow
def test_a_restarted_server_is_found_again(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve()
    page = open_page(served)
    served.stop()
    served.start()  # with another CSRF token, and another token at the door
    page.keyboard.press("x")
    page.wait_for_timeout(100)
    saved(page)
    assert served.decisions() == 1
    page.trouble.clear()


def test_a_name_is_asked_for_where_none_is_known(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve(reviewer=None)
    page = open_page(served)
    shows(page, "dialog", "Who is reviewing?")
    page.keyboard.press("Escape")
    page.keyboard.type("Dora")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-state=ready] img")
    page.keyboard.press("x")
    saved(page)
    assert len(served.verdicts("Dora")) == 1
    page.reload()
    shows(page, ".name", "Dora")
