"""The same work with a mouse, and many photos at once."""

from typing import Any

import pytest


def tile(page: Any, place: int) -> Any:
    return page.locator(f"#tile-{place}")


def selected(page: Any) -> int:
    return page.locator("[role=option][aria-selected=true]").count()


def test_a_round_by_mouse(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve()
    rows = served.items.ranking
    page = open_page(served)
    page.click("button.accept")
    page.click("button.keep")
    page.click("button.drop")
    page.keyboard.press("u")  # a click leaves the keys as they were
    second = page.inner_text(".classes li:nth-child(2) bdi")
    page.click(".classes li:nth-child(2) button")
    page.click("button[aria-label='Previous photo']")
    page.wait_for_selector(f".classes button[aria-pressed=true]:has-text('{second}')")
    saved(page)
    assert [served.verdicts()[row][0] for row in rows[:5]] == ["relabel", "keep", "drop", "unsure", "relabel"]
    page.click("button[aria-label=Undo]")
    saved(page)
    assert served.verdicts()[rows[4]] == (None, None)


def test_the_wheel_enlarges_and_a_drag_moves(serve: Any, open_page: Any) -> None:
    page = open_page(serve())
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, -400)
    page.wait_for_selector(".stage.zoomed")
    before = page.evaluate("document.querySelector('.holder').style.transform")
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 240)
    page.mouse.up()
    assert page.evaluate("document.querySelector('.holder').style.transform") != before
    page.mouse.dblclick(box["x"] + 260, box["y"] + 240)
    page.wait_for_selector(".stage:not(.zoomed)")
    page.fill("input[type=range]", "1.5")
    assert page.evaluate("document.querySelector('.holder').style.filter") == "brightness(1.5)"


def test_many_are_selected_and_decided_at_once(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve()
    rows = served.items.ranking.tolist()
    page = open_page(served, "/?view=grid")
    tile(page, 0).click()
    tile(page, 3).click(modifiers=["Shift"])
    assert selected(page) == 4
    tile(page, 5).click(modifiers=["Control"])
    assert page.inner_text(".selected") == "5 selected"
    page.click(".bulk .drop")
    page.wait_for_selector("text=5 rows: dropped.")
    assert selected(page) == 0
    saved(page)
    assert served.verdicts() == dict.fromkeys([*rows[:4], rows[5]], ("drop", None))
    assert tile(page, 0).locator(".verdict").inner_text() == "dropped"

    page.click(".notice button")
    saved(page)
    assert set(served.verdicts().values()) == {(None, None)}
    assert tile(page, 0).locator(".verdict").count() == 0


def test_a_sweep_selects(serve: Any, open_page: Any) -> None:
    page = open_page(serve(), "/?view=grid")
    tile(page, 1).wait_for()
    start, end = tile(page, 1).bounding_box(), tile(page, 9).bounding_box()
    page.mouse.move(start["x"] + 20, start["y"] + 20)
    page.mouse.down()
    page.mouse.move(end["x"] + 10, end["y"] + 10, steps=6)
    page.mouse.move(end["x"] + 30, end["y"] + 30, steps=3)
    page.mouse.up()
    assert selected(page) == 9
    page.keyboard.press("Escape")
    assert selected(page) == 0


@pytest.mark.slow
def test_all_of_a_filter_take_their_likely_class(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve(num_rows=450)
    flagged = served.items.is_label_issue.nonzero()[0].tolist()
    page = open_page(served, "/?view=grid&flagged=true")
    page.wait_for_selector("#tile-0")
    page.keyboard.press("Control+a")
    page.wait_for_selector(f"text={len(flagged)} selected")
    page.keyboard.press("Enter")
    saved(page)
    suggested = served.items.suggested_labels
    names = served.items.class_names
    assert served.verdicts() == {row: ("relabel", names[suggested[row]]) for row in flagged}


def test_a_class_for_many_by_typing(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve()
    name = served.items.class_names[3]
    page = open_page(served, "/?view=grid")
    page.focus("#grid")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == 3
    page.keyboard.press("/")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    saved(page)
    given = served.items.given_labels
    said = served.verdicts()
    assert set(said) == set(served.items.ranking[:3].tolist())
    assert all(
        verdict == (("keep", None) if given[row] == 3 else ("relabel", name)) for row, verdict in said.items()
    )


@pytest.mark.slow
def test_a_long_grid_holds_only_what_is_in_sight(serve: Any, open_page: Any, shows: Any) -> None:
    page = open_page(serve(num_rows=900), "/?view=grid")
    page.wait_for_selector("#tile-0 img")
    assert page.locator(".tile").count() < 120
    page.keyboard.press("End")
    page.wait_for_selector("#tile-899 img")
    page.keyboard.press("o")
    shows(page, "#position", "900 of 900")


def test_a_cell_of_the_map_leads_to_its_rows(serve: Any, open_page: Any, shows: Any) -> None:
    served = serve()
    given, likely = served.items.given_labels, served.items.likely_labels
    row = served.items.ranking[0]
    pair = given[row], likely[row]
    number = int(((given == pair[0]) & (likely == pair[1])).sum())
    page = open_page(served, "/?view=map")
    page.click(f".heat tbody tr:nth-child({pair[0] + 1}) td:nth-of-type({pair[1] + 1}) a")
    shows(page, "#position", f"1 of {number}")
    names = served.items.class_names
    assert page.inner_text(".given dd") == names[pair[0]]
    assert f"given {names[pair[0]]}" in page.inner_text(".chips")


def test_many_classes_are_a_list_of_pairs(serve: Any, open_page: Any) -> None:
    page = open_page(serve("many"), "/?view=map")
    page.wait_for_selector(".pairs li")
    assert page.locator(".heat").count() == 0
    page.click(".pairs li:first-child a")
    page.wait_for_selector(".one [data-state=ready] img")


def test_the_outlook_of_the_whole_table_is_a_click_away(
    serve: Any, open_page: Any, saved: Any, shows: Any
) -> None:
    served = serve()
    page = open_page(served)
    page.keyboard.press("x")
    page.keyboard.press("k")
    saved(page)
    page.click("#outlook-button")
    shows(page, "#outlook", "1 wrong label in 2 rows")
    shows(page, "#outlook", "start the review with --measure 10%")
    page.keyboard.press("Escape")
    page.goto(f"{served.address}/?view=people")
    shows(page, ".people-view", "When to stop")
