"""Every state is an address: shared, reloaded, and gone back to."""

from typing import Any

import numpy as np
import pytest


def test_each_view_has_an_address(serve: Any, open_page: Any) -> None:
    served = serve(num_rows=20)
    page = open_page(served)
    for view in ("one", "grid", "map", "people"):
        page.goto(f"{served.address}/?view={view}")
        page.wait_for_selector(f"main.view-{view} > div")
        assert page.locator("nav a[aria-current=page]").count() == 1
        assert page.locator("nav a[aria-current=page]").inner_text().lower() == view


def test_an_address_gives_another_person_the_same_photo(
    serve: Any, open_page: Any, shows: Any, saved: Any
) -> None:
    served = serve()
    rows, names = served.items.ranking, served.items.class_names
    page = open_page(served, "/?order=suspicion&state=all")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    shows(page, "#position", "3 of 60")
    saved(page)
    page.wait_for_url(f"**row={rows[2]}*")
    other = open_page(served, page.url.removeprefix(served.address), name="Ben")
    shows(other, "#position", "3 of 60")
    assert other.inner_text(".given dd") == names[served.items.given_labels[rows[2]]]
    other.keyboard.press("ArrowLeft")
    shows(other, ".others", "Ann: dropped")


def test_filters_are_addresses_with_a_way_back(serve: Any, open_page: Any, shows: Any) -> None:
    served = serve()
    name = served.items.class_names[2]
    number = int((served.items.given_labels == 2).sum())
    page = open_page(served)
    page.click("#filter-button")
    page.select_option("label:has-text('Given label') select", name)
    shows(page, "#position", f"1 of {number}")
    page.fill("label:has-text('Probability from') input", "50")
    page.keyboard.press("Tab")
    shows(page, ".chips", "probability from 50 %")
    page.go_back()
    shows(page, "#position", f"1 of {number}")
    page.go_back()
    shows(page, "#position", "1 of 60")
    page.go_forward()
    shows(page, "#position", f"1 of {number}")
    page.click(".chips button:has-text('given')")
    shows(page, "#position", "1 of 60")


def test_rows_of_a_split_are_marked_and_can_be_shown_alone(serve: Any, open_page: Any, shows: Any) -> None:
    splits = np.array(["train", "train", "test"], object)[np.arange(60) % 3]
    for kind in ("plain", "blind"):
        served = serve(kind, splits=splits)
        page = open_page(served, "/?view=grid", name="Ann")
        page.click("#filter-button")
        assert "RowDecision" not in page.inner_text(".panel")  # the name of a type
        page.select_option("label:has-text('Split') select", "test")
        shows(page, ".chips", "test rows")
        shows(page, ".selected", "20 rows")
        assert set(page.locator(".tile .split").all_inner_texts()) == {"test"}
        assert page.locator(".tile").first.get_attribute("aria-label").startswith("test, ")
        page.goto(f"{served.address}/?split=test&state=all")
        shows(page, "#position", "1 of 20")
        shows(page, ".labels .split", "Row of test")
    page = open_page(serve())
    page.click("#filter-button")
    assert page.locator("label:has-text('Split')").count() == 0
    assert page.locator(".split").count() == 0


def test_an_updated_list_begins_at_its_start_not_at_the_row_of_the_address(
    serve: Any, open_page: Any, shows: Any
) -> None:
    served = serve()
    last = int(served.items.ranking[-1])
    page = open_page(served, f"/?row={last}")
    shows(page, "#position", "60 of 60")
    page.keyboard.press("x")
    page.click("text=Update the list")
    shows(page, "#position", "1 of 59")


def test_a_row_outside_of_the_list_is_shown_all_the_same(serve: Any, open_page: Any, shows: Any) -> None:
    served = serve()
    outside = int(served.items.ranking[-1])
    page = open_page(served, f"/?flagged=true&row={outside}")
    shows(page, "#position", "not in the list")
    shows(page, ".notice", "The filters exclude this photo")
    assert page.locator(f".holder[data-row='{outside}']").count() == 1
    page.click(".notice button")
    shows(page, "#position", "1 of")


def test_odd_addresses_open_the_plain_view(serve: Any, open_page: Any, shows: Any) -> None:
    page = open_page(serve(num_rows=20), "/?view=../x&row=-1&unknown=<b>&zoom=9")
    shows(page, "#position", "1 of 20")
    page = open_page(serve(num_rows=20), "/?row=99999")
    shows(page, ".notice", "There is no row 99999.")
    page.trouble.clear()  # the browser itself writes down the 404


@pytest.mark.slow
def test_a_forgotten_list_is_made_anew(serve: Any, open_page: Any, shows: Any, saved: Any) -> None:
    served = serve(num_rows=450)
    page = open_page(served)
    page.keyboard.press("x")
    saved(page)
    served.stop()
    served.start()
    page.keyboard.press("End")  # its page of the list was not read yet
    shows(page, "#position", "of 449")
    page.wait_for_selector("[data-state=ready] img")
    page.keyboard.press("x")
    saved(page)
    assert len(served.verdicts()) == 2
    page.trouble.clear()
