"""A round of review without a mouse: every key does what the help says, and all of it is in the log."""

from typing import Any


def label_of(served: Any, row: int, kind: str = "given") -> str:
    """The name of a row's given or suggested class."""
    labels = {"given": served.items.given_labels, "suggested": served.items.suggested_labels}[kind]
    return served.items.class_names[labels[row]]


def position(page: Any) -> str:
    return page.inner_text("#position")


def test_a_full_round_by_keyboard(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    rows = served.items.ranking
    page = open_page(served)
    assert position(page) == "1 of 60"

    page.keyboard.press("Enter")
    page.keyboard.press("k")
    page.keyboard.press("x")
    page.keyboard.press("u")
    page.keyboard.press("n")
    third = page.inner_text(".classes li:nth-child(3) bdi")
    said = ("keep", None) if third == label_of(served, rows[5]) else ("relabel", third)
    page.keyboard.press("3")
    saved(page)
    assert position(page) == "7 of 60"
    assert served.verdicts() == {
        rows[0]: ("relabel", label_of(served, rows[0], "suggested")),
        rows[1]: ("keep", None),
        rows[2]: ("drop", None),
        rows[3]: ("unsure", None),
        rows[4]: ("none_of_these", None),
        rows[5]: said,
    }

    page.keyboard.press("z")
    shows(page, "#position", "6 of 60")
    page.keyboard.press("Control+z")
    saved(page)
    assert position(page) == "5 of 60"
    assert served.verdicts()[rows[5]] == served.verdicts()[rows[4]] == (None, None)
    page.keyboard.press("y")
    page.keyboard.press("Control+Shift+z")
    saved(page)
    assert served.verdicts()[rows[4]] == ("none_of_these", None)
    assert served.verdicts()[rows[5]] == said
    assert served.decisions() == 10


def test_keys_move_zoom_and_change_the_view(serve: Any, open_page: Any, shows: Any) -> None:
    page = open_page(serve())
    for key, where in [("ArrowRight", 2), ("l", 3), ("j", 2), ("ArrowLeft", 1), ("End", 60), ("Home", 1)]:
        page.keyboard.press(key)
        shows(page, "#position", f"{where} of 60")
    page.keyboard.press("+")
    assert "scale(1.5)" in page.evaluate("document.querySelector('.holder').style.transform")
    page.keyboard.press("-")
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert page.evaluate("document.querySelector('.holder').style.transform") == ""
    page.keyboard.press("g")
    page.wait_for_selector("#grid")
    page.keyboard.press("m")
    page.wait_for_selector(".heat")
    page.keyboard.press("m")
    page.wait_for_selector(".one")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.help")
    page.keyboard.press("x")  # keys rest while a dialog is open
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.help", state="detached")
    assert page.evaluate("document.activeElement.id") == "view"


def test_undo_and_redo_after_a_reload(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    rows = served.items.ranking
    page = open_page(served)
    page.keyboard.press("x")
    page.keyboard.press("u")
    saved(page)
    page.wait_for_url(f"**/?row={rows[2]}")
    page.reload()
    page.wait_for_selector("[data-state=ready] img")
    assert position(page) == "3 of 60"
    page.keyboard.press("z")
    shows(page, "#position", "2 of 60")
    page.keyboard.press("z")
    shows(page, "#position", "1 of 60")
    assert served.verdicts() == {rows[0]: (None, None), rows[1]: (None, None)}
    page.reload()
    page.wait_for_selector("[data-state=ready] img")
    page.keyboard.press("y")
    page.wait_for_selector(".decision .verdict.drop")
    page.keyboard.press("z")
    page.wait_for_selector(".decision:not(:has(.verdict))")
    page.keyboard.press("z")
    page.wait_for_selector("text=There is nothing to undo.")
    page.trouble.clear()  # the browser itself writes down the 404


def test_any_of_300_classes_by_typing(serve: Any, open_page: Any, saved: Any) -> None:
    served = serve("many")
    page = open_page(served)
    page.keyboard.press("/")
    page.wait_for_selector("dialog.classes")
    shown = page.evaluate(
        """async () => {
          const input = document.querySelector('dialog input');
          input.value = 'species 2';
          input.dispatchEvent(new Event('input', {bubbles: true}));
          await new Promise(requestAnimationFrame);
          return document.querySelectorAll('#found li').length;
        }"""
    )
    assert shown == 50
    page.fill("dialog input", "")
    page.keyboard.type("217")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.classes", state="detached")
    saved(page)
    assert list(served.verdicts().values()) == [("relabel", "species 217")]
    assert position(page) == "2 of 60"


def test_letters_belong_to_whoever_types(serve: Any, open_page: Any) -> None:
    served = serve()
    page = open_page(served)
    page.click("#filter-button")
    page.focus("input[type=search]")
    page.keyboard.type("xku/000")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=No row matches")
    assert served.decisions() == 0


def test_single_keys_can_be_switched_off(serve: Any, open_page: Any, shows: Any) -> None:
    served = serve()
    page = open_page(served)
    page.keyboard.press("?")
    page.click("text=Decide with single keys")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    shows(page, "#position", "2 of 60")
    assert served.decisions() == 0


def test_a_decision_starts_no_animation(serve: Any, open_page: Any) -> None:
    """One that changes the layout would lay the page out nine times for each photo."""
    page = open_page(serve())
    running = "[document.getAnimations().map((each) => each.animationName ?? each.transitionProperty)]"
    page.evaluate(f"addEventListener('keydown', () => requestAnimationFrame(() => window.found = {running}))")
    for key in "xuk":
        page.keyboard.press(key)
        page.wait_for_function("window.found")
        assert page.evaluate("window.found.pop()") == []
        page.evaluate("window.found = null")
